"""The public certificate authorities, set up as update-ca-certificates(8) would, in a thirtieth of its time.

Comes in:  a tree with the files of ca-certificates in it.
Goes out:  /etc/ca-certificates.conf, /etc/ssl/certs with the bundle and a link for each authority.
Not here:  links by hash: ``openssl rehash`` makes them, inside the root (REHASH).
"""

from __future__ import annotations

from runtime.image.assemble.tree import Tree

PACKAGE = "ca-certificates"
SHARED = "usr/share/ca-certificates"
CERTS = "etc/ssl/certs"
REHASH = "openssl rehash /etc/ssl/certs 2>&1"
HEAD = """\
# The certificates of /usr/share/ca-certificates that update-ca-certificates(8) trusts, one in a line;
# a line that begins with ! is one that is not trusted.
"""


def trust(tree: Tree) -> None:
    """Trust every authority that the package ships."""
    files = sorted((tree.upper / SHARED).rglob("*.crt"))
    names = [str(path.relative_to(tree.upper / SHARED)) for path in files]
    tree.file("etc/ca-certificates.conf", HEAD + "".join(f"{name}\n" for name in names))
    for name in names:
        last = name.rpartition("/")[2].removesuffix(".crt")
        tree.link(f"{CERTS}/{last}.pem", f"/{SHARED}/{name}")
    bundle = b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in files)
    tree.file(f"{CERTS}/ca-certificates.crt", bundle)
