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
from bundle_fix.model.symlinks import MAX_SYMLINKS, Unresolved
from bundle_fix.model.tree import (
    Directory,
    File,
    Metadata,
    Symlink,
    Tree,
    get_relative_path,
    resolve_path,
)

OPENAT2 = 437
RESOLVE_BENEATH = 8
UNRESOLVED_BY_ERRNO = {
    errno.ENOENT: Unresolved.MISSING,
    errno.ENOTDIR: Unresolved.MISSING,
    errno.EXDEV: Unresolved.OUTSIDE,
    errno.ELOOP: Unresolved.LOOP,
}
METADATA = Metadata(0o755)

names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
steps = st.sampled_from(["a", "b", "c", "..", ".", ""])
walks = st.lists(steps, min_size=1, max_size=6).map("/".join).map(lambda p: p.lstrip("/") or ".")
targets = walks | walks.map(lambda path: f"/{path}") | paths
members = st.lists(
    st.tuples(paths, st.sampled_from(["file", "directory", "symlink"]), targets), max_size=12
)


def create_members(root: Path, members: Sequence[tuple[str, str, str]]) -> None:
    """Create ``members``, except for those below a file or a symlink."""
    for path, kind, target in members:
        member = root / path
        if any(parent.is_symlink() for parent in member.parents):
            continue
        with suppress(FileExistsError, NotADirectoryError):
            member.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                member.touch(exist_ok=False)
            elif kind == "directory":
                member.mkdir()
            else:
                member.symlink_to(target)


def resolve_with_kernel(root: Path, path: str) -> str | Unresolved:
    """Return the path that the kernel resolves ``path`` to below ``root`` (openat2(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH)
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            fd = libc.syscall(OPENAT2, directory, os.fsencode(path), how, len(how))
            if fd >= 0 or ctypes.get_errno() != errno.EAGAIN:
                break
        if fd < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EPERM):
            pytest.skip("this kernel has no openat2, or a sandbox forbids it")
        if fd < 0:
            return UNRESOLVED_BY_ERRNO[ctypes.get_errno()]
        end = Path(f"/proc/self/fd/{fd}").readlink()
        os.close(fd)
        return os.path.relpath(end, root).removeprefix(".")
    finally:
        os.close(directory)


@settings(max_examples=300, deadline=None)
@given(members, st.lists(walks, min_size=1, max_size=12))
@example([("a", "file", "")], ["a/", "a/.", "a/..", "a/../a"])
@example([("a", "symlink", "b/."), ("b", "file", "")], ["a", "a/"])
@example([("a", "symlink", "b"), ("b", "symlink", "a")], ["a", "b/c"])
@example([("a/b", "symlink", "../c"), ("c/b", "file", "")], ["a/b/b", "a/b/../c"])
def test_a_path_resolves_as_in_the_kernel(
    contents: list[tuple[str, str, str]], queries: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        create_members(root, contents)
        tree = read_directory(root)
        for path in [*queries, *tree.nodes]:
            end = resolve_path(tree, path)
            assert end == resolve_with_kernel(root, path)
            if isinstance(end, str):
                assert os.path.realpath(root / path, strict=True) == str(root / end)


@pytest.mark.parametrize("count", [MAX_SYMLINKS, MAX_SYMLINKS + 1])
def test_the_limit_of_symlinks_is_that_of_the_kernel(tmp_path: Path, count: int) -> None:
    (tmp_path / "0").touch()
    for number in range(count):
        (tmp_path / f"{number + 1}").symlink_to(f"{number}")
    end = resolve_with_kernel(tmp_path, f"{count}")
    assert end == ("0" if count == MAX_SYMLINKS else Unresolved.LOOP)
    assert resolve_path(read_directory(tmp_path), f"{count}") == end


def test_a_symlink_without_a_target_does_not_resolve() -> None:
    tree = Tree({"lib/x.so": Symlink("", METADATA)})
    assert resolve_path(tree, "lib/x.so") is Unresolved.MISSING


def test_directories_without_an_entry_are_derived_from_the_paths() -> None:
    tree = Tree({"a/b/file": File(BytesContent(b""), METADATA), "c": Directory(METADATA)})
    assert tree.directories == {"", "a", "a/b", "c"}
    assert resolve_path(tree, "a/b/../../c/.") == "c"
    assert resolve_path(tree, "a/b/file/..") is Unresolved.MISSING


@given(paths, paths)
def test_a_relative_path_joined_to_its_start_is_the_path(path: str, start: str) -> None:
    assert os.path.normpath(f"/{start}/{get_relative_path(path, start)}") == f"/{path}"


@pytest.mark.parametrize(
    ("record", "mtime", "text"),
    [
        ("1700000000.123456789", 1700000000.123456789, "1700000000.123456789"),
        ("1700000000.5", 1700000000, None),
        ("inf", 0, None),
        ("1e5", 100000.0, None),
        ("", 5, None),
    ],
)
def test_the_digits_of_a_pax_time_are_used_if_they_match_the_time(
    record: str, mtime: float, text: str | None
) -> None:
    assert Metadata(0o644, mtime=mtime, extra={"mtime": record}).mtime_text == text
