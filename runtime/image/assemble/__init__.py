"""Images made from Debian's packages where no registry answers.

Comes in:  a reference, the store, a Runner for the packages' scripts.
Goes out:  offers, closest, assemble; errors of ``errors``.
Not here:  when to assemble rather than pull (image.pull).

The road: catalog > sources > archive (openpgp, fetch) > resolve > supply (deb) > unpack (tree) > dpkg.
"""

from runtime.image.assemble.assembly import LABEL, assemble
from runtime.image.assemble.catalog import closest, offers

__all__ = ["LABEL", "assemble", "closest", "offers"]
