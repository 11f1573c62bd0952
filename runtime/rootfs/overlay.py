"""Mount an overlay of any number of layers.

Comes in:  layer directories lowest first, upper and work directory, a mount point.
Goes out:  the mount.
Not here:  what the layers hold (``runtime.image``).
Source: Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.errors import RuntimeFailure
from runtime.kernel.mounts import Mount, mount

PAGE = 4096  # what mount(2) reads of its data at most, the final NUL included


def data(layers: Sequence[str], upper: str = "", work: str = "") -> str:
    """The options of an overlay mount; overlayfs wants the topmost layer first. No upper: read-only."""
    lower = ":".join(escape(layer, colon=True) for layer in reversed(layers))
    above = f",upperdir={escape(upper)},workdir={escape(work)}" if upper else ""
    return f"lowerdir={lower}{above},index=off"


def features(known: Collection[str]) -> str:
    """Options that turn off what a distribution may have turned on, as far as the kernel has ``known`` them.

    Redirects and copies of metadata alone in an upper directory would make no image layer, and a redirect
    in an image's layer must not be followed. Known: names below /sys/module/overlay/parameters.
    """
    return ",redirect_dir=nofollow,metacopy=off" if {"redirect_dir", "metacopy"} <= set(known) else ""


def escape(path: str, *, colon: bool = False) -> str:
    """Quote what separates options (and, in lowerdir, layers) for overlayfs."""
    text = path.replace("\\", "\\\\").replace(",", "\\,")
    return text.replace(":", "\\:") if colon else text


def make_upper(upper: str) -> None:
    """Make the writable layer; its mode is that of the container's "/", whatever the caller's umask."""
    with contextlib.suppress(FileExistsError):
        Path(upper).mkdir(0o755)
        Path(upper).chmod(0o755)


def mount_overlay(layers: Sequence[str], upper: str, work: str, target: Path) -> None:
    """Mount the overlay at ``target``.

    When the options do not fit a page, every directory is opened and named by its descriptor's
    number, relative to /proc/self/fd: about 1000 layers fit (the kernel takes 500).
    """
    _mount_stack(layers, (upper, work), target, Mount.NONE)


def mount_layers(layers: Sequence[str], target: Path) -> None:
    """Mount ``layers`` as one read-only tree at ``target``: what an image holds."""
    if len(layers) == 1:  # overlayfs wants two when there is no upper directory
        mount(layers[0], target, "", Mount.BIND)
        return
    _mount_stack(layers, (), target, Mount.RDONLY)


def _mount_stack(layers: Sequence[str], writable: Sequence[str], target: Path, flags: Mount) -> None:
    off = features(_known())
    options = data(layers, *writable) + off
    if len(os.fsencode(options)) < PAGE:
        _mount(target, options, flags)
        return
    with ExitStack() as undo:
        numbers = []
        for path in (*layers, *writable):
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, fd)
            numbers.append(str(fd))
        lower, above = numbers[: len(layers)], numbers[len(layers) :]
        here = Path.cwd()
        undo.callback(os.chdir, here)
        os.chdir("/proc/self/fd")
        _mount(target, data(lower, *above) + off, flags)


def _mount(target: Path, options: str, flags: Mount) -> None:
    try:
        mount("overlay", target, "overlay", flags, options)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise RuntimeFailure(
                "this kernel has no overlay file system", hint="load its module: modprobe overlay"
            ) from None
        raise


def _known() -> list[str]:
    try:
        return [path.name for path in Path("/sys/module/overlay/parameters").iterdir()]
    except FileNotFoundError:
        return []
