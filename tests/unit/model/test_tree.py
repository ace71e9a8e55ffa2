from __future__ import annotations

import ctypes
import errno
import os
import struct
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bundle_fix.archive.directory import read_directory
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import (
    MAX_SYMLINKS,
    Directory,
    File,
    Metadata,
    Symlink,
    Tree,
    Unresolved,
    get_relative_path,
    resolve_path,
)

OPENAT2 = 437
RESOLVE_BENEATH = 8
LOST = {
    errno.ENOENT: Unresolved.MISSING,
    errno.ENOTDIR: Unresolved.MISSING,
    errno.EXDEV: Unresolved.OUTSIDE,
    errno.ELOOP: Unresolved.LOOP,
}
STAMP = Metadata(0o755)

names = st.sampled_from(["a", "b", "c"])
places = st.lists(names, min_size=1, max_size=3).map("/".join)
steps = st.sampled_from(["a", "b", "c", "..", ".", ""])
walks = st.lists(steps, min_size=1, max_size=6).map("/".join).map(lambda p: p.lstrip("/") or ".")
targets = walks | walks.map(lambda path: f"/{path}") | places
members = st.lists(
    st.tuples(places, st.sampled_from(["file", "folder", "link"]), targets), max_size=12
)


def build(root: Path, wanted: Sequence[tuple[str, str, str]]) -> None:
    """Make what can be made of ``wanted``: what lies in a file or behind a link is left out."""
    for path, kind, target in wanted:
        place = root / path
        if any(parent.is_symlink() for parent in place.parents):
            continue
        with suppress(FileExistsError, NotADirectoryError):
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                place.touch(exist_ok=False)
            elif kind == "folder":
                place.mkdir()
            else:
                place.symlink_to(target)


def kernel_walk(root: Path, path: str) -> str | Unresolved:
    """Where the kernel ends when it may not leave ``root`` (openat2(2), RESOLVE_BENEATH)."""
    libc = ctypes.CDLL(None, use_errno=True)
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            fd = libc.syscall(OPENAT2, folder, os.fsencode(path), how, len(how))
            if fd >= 0 or ctypes.get_errno() != errno.EAGAIN:
                break
        if fd < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EPERM):
            pytest.skip("this kernel has no openat2, or a sandbox forbids it")
        if fd < 0:
            return LOST[ctypes.get_errno()]
        end = Path(f"/proc/self/fd/{fd}").readlink()
        os.close(fd)
        return os.path.relpath(end, root).removeprefix(".")
    finally:
        os.close(folder)


@settings(max_examples=300, deadline=None)
@given(members, st.lists(walks, min_size=1, max_size=12))
@example([("a", "file", "")], ["a/", "a/.", "a/..", "a/../a"])
@example([("a", "link", "b/."), ("b", "file", "")], ["a", "a/"])
@example([("a", "link", "b"), ("b", "link", "a")], ["a", "b/c"])
@example([("a/b", "link", "../c"), ("c/b", "file", "")], ["a/b/b", "a/b/../c"])
def test_a_path_ends_where_the_kernel_ends(
    wanted: list[tuple[str, str, str]], paths: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        build(root, wanted)
        tree = read_directory(root)
        for path in [*paths, *tree.nodes]:
            end = resolve_path(tree, path)
            assert end == kernel_walk(root, path)
            if isinstance(end, str):
                assert os.path.realpath(root / path, strict=True) == str(root / end)


@pytest.mark.parametrize("links", [MAX_SYMLINKS, MAX_SYMLINKS + 1])
def test_as_many_links_are_followed_as_the_kernel_follows(tmp_path: Path, links: int) -> None:
    (tmp_path / "0").touch()
    for number in range(links):
        (tmp_path / f"{number + 1}").symlink_to(f"{number}")
    assert kernel_walk(tmp_path, f"{links}") == ("0" if links == MAX_SYMLINKS else Unresolved.LOOP)
    assert resolve_path(read_directory(tmp_path), f"{links}") == kernel_walk(tmp_path, f"{links}")


def test_a_link_without_a_target_leads_to_nothing() -> None:
    tree = Tree({"lib/x.so": Symlink("", STAMP)})
    assert resolve_path(tree, "lib/x.so") is Unresolved.MISSING


def test_folders_are_also_those_that_only_their_files_tell() -> None:
    tree = Tree({"a/b/file": File(BytesContent(b""), STAMP), "c": Directory(STAMP)})
    assert tree.directories == {"", "a", "a/b", "c"}
    assert resolve_path(tree, "a/b/../../c/.") == "c"
    assert resolve_path(tree, "a/b/file/..") is Unresolved.MISSING


@given(places, places)
def test_a_relative_path_leads_back(path: str, start: str) -> None:
    assert os.path.normpath(f"/{start}/{get_relative_path(path, start)}") == f"/{path}"


@pytest.mark.parametrize(
    ("told", "mtime", "text"),
    [
        ("1700000000.123456789", 1700000000.123456789, "1700000000.123456789"),
        ("1700000000.5", 1700000000, None),
        ("inf", 0, None),
        ("1e5", 100000.0, None),
        ("", 5, None),
    ],
)
def test_all_digits_of_a_time_count_while_it_is_the_same_time(
    told: str, mtime: float, text: str | None
) -> None:
    assert Metadata(0o644, mtime=mtime, extra={"mtime": told}).mtime_text == text
