"""Path work in trees that a container or an image may change is done by ``runtime.inside`` and nothing else.

Read from the source: a module of ROOMS that opens, lists, links, mounts or changes something by its path
fails, unless ALLOWED says why that path is none that a container can lead elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = (
    *sorted((ROOT / "runtime/rootfs").glob("*.py")),
    *(
        ROOT / name
        for name in (
            "runtime/process/entry.py",
            "runtime/process/identity.py",
            "runtime/process/init.py",
            "runtime/process/launch.py",
            "runtime/process/streams.py",
            "runtime/process/terminal.py",
            "runtime/volume.py",
            "runtime/build/stubs.py",
            "runtime/image/cachemounts.py",
            "runtime/image/layer.py",
            "runtime/image/rootfs.py",
            "runtime/image/split.py",
            "compose/cli/commit.py",
            "compose/cli/df.py",
            "compose/cli/export.py",
        )
    ),
)
OS = frozenset(
    """access chmod chown getxattr lchown link listdir listxattr lstat makedirs mkdir mkfifo mknod
    open readlink remove removexattr rename renames replace rmdir scandir setxattr stat statvfs symlink
    truncate unlink utime walk fwalk""".split()  # noqa: SIM905
)
METHODS = frozenset(
    """chmod exists glob group hardlink_to is_dir is_file is_mount is_symlink iterdir lstat mkdir open owner
    read_bytes read_text readlink rename rglob rmdir stat symlink_to touch unlink write_bytes
    write_text""".split()  # noqa: SIM905
)
NAMES = frozenset(("open", "mount", "openat2", "clone_tree", "fill"))
OURS = "our own file or directory, beside what a container sees"
STAGING = "the staging directory, which is the runtime's own"
ALLOWED = {
    ("rootfs/apply.py", "Tree._open", "os.open"): STAGING,
    ("rootfs/apply.py", "detach", "mount"): "the whole mount namespace",
    ("rootfs/apply.py", "_clone_shared", "mount"): "a mount point of the host above the staging directory",
    ("rootfs/apply.py", "_clone_shared", "clone_tree"): "of a descriptor",
    ("rootfs/apply.py", "enter_root", "os.open"): "the host's root",
    ("rootfs/apply.py", "enter_root", "mount"): "the old root, entered by its descriptor",
    ("rootfs/apply.py", "bind_file", "os.open"): "the container's root, after pivot_root(2)",
    ("rootfs/apply.py", "bind_file", "mount"): "on a descriptor",
    ("rootfs/apply.py", "_bind_root", "mount"): STAGING,
    ("rootfs/apply.py", "_mount", "mount"): "on a descriptor",
    ("rootfs/apply.py", "_tmpfs", "mount"): "on a descriptor",
    ("rootfs/apply.py", "_bind", "clone_tree"): "of a descriptor",
    ("rootfs/apply.py", "_image", "os.open"): STAGING,
    ("rootfs/apply.py", "_fill", "fill"): "the room's own function",
    ("rootfs/apply.py", "_device", "os.stat"): "a device of the host",
    ("rootfs/apply.py", "_host_nodes", "os.scandir"): "devices of the host",
    ("rootfs/apply.py", "_host_nodes", ".is_symlink"): "devices of the host",
    ("rootfs/apply.py", "_host_nodes", ".stat"): "devices of the host",
    ("rootfs/apply.py", "_shm", "os.open"): "/proc of the host, and the working directory",
    ("rootfs/apply.py", "_cloned_in_root", "os.open"): "the root of the namespace that was joined",
    ("rootfs/apply.py", "_cloned_in_root", "clone_tree"): "of a descriptor",
    ("rootfs/apply.py", "_mask", "mount"): "on a descriptor",
    ("rootfs/overlay.py", "make_upper", ".mkdir"): OURS,
    ("rootfs/overlay.py", "make_upper", ".chmod"): OURS,
    ("rootfs/overlay.py", "mount_layers", "mount"): "a layer of the store at the staging directory",
    ("rootfs/overlay.py", "_mount_stack", "os.open"): "layers of the store, and our own directories",
    ("rootfs/overlay.py", "_mount", "mount"): STAGING,
    ("rootfs/overlay.py", "_known", ".iterdir"): "/sys of the host",
    ("process/entry.py", "_child", ".read_text"): "/proc of the host",
    ("process/entry.py", "_filter", ".read_bytes"): OURS,
    ("process/entry.py", "fork_into", "open"): "a pipe",
    ("process/identity.py", "oom_score", ".write_text"): "/proc of the host, before its root is left",
    ("process/launch.py", "_block_number", "os.stat"): "a device of the host",
    ("process/launch.py", "_device_rule", "os.stat"): "a device of the host",
    ("process/launch.py", "_join", "os.open"): "/proc of the host, before its root is left",
    ("process/launch.py", "_sysctls", ".write_text"): "/proc of the host, before its root is left",
    ("process/launch.py", "fork_first", "os.open"): "/proc of the host, before its root is left",
    ("volume.py", "create", ".is_dir"): OURS,
    ("volume.py", "create", ".mkdir"): OURS,
    ("volume.py", "create", ".chmod"): "_data, which has just been made",
    ("volume.py", "create", ".symlink_to"): OURS,
    ("volume.py", "create", ".exists"): OURS,
    ("volume.py", "exists", ".is_dir"): OURS,
    ("volume.py", "list", "os.scandir"): OURS,
    ("volume.py", "list", ".is_dir"): OURS,
    ("volume.py", "remove", ".rename"): OURS,
    ("volume.py", "attach", "os.open"): OURS,
    ("volume.py", "attach", "mount"): "_data itself, which no container can replace",
    ("volume.py", "is_attached", ".is_symlink"): OURS,
    ("volume.py", "is_attached", ".is_mount"): OURS,
    ("volume.py", "_document", ".read_bytes"): OURS,
    ("build/stubs.py", "prune", "os.open"): "the root of a layer",
    ("build/stubs.py", "_prune_parent", ".is_dir"): "what an lstat(2) has said",
    ("image/cachemounts.py", "_homes", ".is_dir"): "the root of a cache, in the store",
    ("image/cachemounts.py", "_homes", ".iterdir"): OURS,
    ("image/cachemounts.py", "_read", ".read_bytes"): OURS,
    ("image/cachemounts.py", "_used", ".stat"): OURS,
    ("image/cachemounts.py", "_write", ".rename"): OURS,
    ("image/cachemounts.py", "_write", ".write_text"): OURS,
    ("image/cachemounts.py", "note_use", ".touch"): OURS,
    ("image/layer.py", "member", "os.getxattr"): "of a descriptor",
    ("image/layer.py", "member", "os.listxattr"): "of a descriptor",
    ("image/layer.py", "_parts", "os.open"): "the root of a layer",
    ("image/layer.py", "_source", ".exists"): OURS,
    ("image/layer.py", "_source", ".open"): OURS,
    (
        "image/layer.py",
        "is_opaque",
        "os.getxattr",
    ): "a descriptor, or a layer of the store, which stays as it is",
    ("image/layer.py", "length", ".exists"): OURS,
    ("image/layer.py", "unpack", ".chmod"): "the root of a layer, which has just been made",
    ("image/layer.py", "unpack", ".mkdir"): "the root of a layer, which has just been made",
    ("image/rootfs.py", "commit", ".unlink"): OURS,
    ("image/rootfs.py", "export", "mount"): "the whole mount namespace",
    ("image/rootfs.py", "merged", ".mkdir"): OURS,
    ("image/split.py", "Recorder.__init__", ".open"): OURS,
    ("image/split.py", "Recorder.discard", ".unlink"): OURS,
    ("image/split.py", "_records", ".open"): OURS,
    ("image/split.py", "replay", "os.open"): "the root of a layer",
    ("compose/cli/df.py", "run", ".is_dir"): OURS,
    ("compose/cli/export.py", "run", ".open"): "what the user names",
    ("compose/cli/export.py", "run", ".rename"): "what the user names",
    ("compose/cli/export.py", "run", ".unlink"): "what the user names",
}


def calls(text: str) -> Iterator[tuple[str, str]]:
    """(function, call) of everything in the source ``text`` that works on a path."""

    def visit(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inner = where
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = (*where, child.name)
            if isinstance(child, ast.Call) and (name := _named(child.func)):
                yield ".".join(where), name
            yield from visit(child, inner)

    yield from visit(ast.parse(text), ())


def _named(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id if function.id in NAMES else ""
    if not isinstance(function, ast.Attribute):
        return ""
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if owner == "os":
        return f"os.{function.attr}" if function.attr in OS else ""
    if owner == "shutil":
        return f"shutil.{function.attr}"
    return f".{function.attr}" if function.attr in METHODS else ""


def found() -> set[tuple[str, str, str]]:
    """Every call by path in ROOMS."""
    return {
        (path.relative_to(ROOT).as_posix().removeprefix("runtime/"), *call)
        for path in ROOMS
        for call in calls(path.read_text())
    }


def test_only_the_room_works_on_paths_that_a_container_may_change() -> None:
    assert found() - ALLOWED.keys() == set(), "use runtime.inside, or say in ALLOWED why this path is safe"


def test_no_exception_outlives_its_reason() -> None:
    assert ALLOWED.keys() - found() == set()


def test_the_room_itself_follows_no_name() -> None:
    """There a path is opened from a descriptor, or it is one of the few that are the host's."""
    host = {
        ("attach.py", "enter_source"), ("fill.py", "fill"), ("remove.py", "delete"), ("walk.py", "usage"),
        ("attach.py", "propagates"),
    }  # fmt: skip
    loose = set()
    for path in sorted((ROOT / "runtime/inside").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or (path.name, node.name) in host:
                continue
            for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
                words = {word.arg for word in call.keywords}
                anchored = words & {"dir_fd", "src_dir_fd", "dst_dir_fd"}
                if _named(call.func).startswith("os.") and not anchored and not _by_descriptor(call):
                    loose.add((path.name, node.name, ast.unparse(call)))
    assert loose == set()


def _by_descriptor(call: ast.Call) -> bool:
    """Whether the first word is ``place(fd)``, a path made of a descriptor, or a descriptor itself."""
    text = ast.unparse(call.args[0]) if call.args else ""
    return text.startswith("place(") or "/proc/self/fd/" in text or text in (
        "fd", "path", "top", "target", "source", "reader", "draft", "tree",
    )  # fmt: skip


def test_a_call_by_path_is_seen() -> None:
    text = (
        "class A:\n  def b(self, p):\n    os.chmod(p, 0); p.read_text(); shutil.rmtree(p); open(p); p.s()\n"
    )
    assert [name for _, name in calls(text)] == ["os.chmod", ".read_text", "shutil.rmtree", "open"]
    assert {where for where, _ in calls(text)} == {"A.b"}
