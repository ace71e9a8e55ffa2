"""Directories that are read as artifacts and copied."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from archive.views import describe_directory, describe_tree, list_names
from archive.writers import write_tree
from bundle_fix.archive.directory import read_directory, write_directory
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def make_sample(directory: Path) -> Path:
    """Create a directory with members that are difficult to copy."""
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/server").write_bytes(os.urandom(2_500_000))
    (directory / "bin/server").chmod(0o4751)
    (directory / "bin/again").hardlink_to(directory / "bin/server")
    (directory / "conf").mkdir()
    (directory / "conf/secret").write_text("secret")
    (directory / "conf/secret").chmod(0o400)
    (directory / "lib").mkdir()
    (directory / "lib/link").symlink_to("../lib//./libx.so.1")
    (directory / "lib/outside").symlink_to("/etc/passwd")
    (directory / "lib/loop").symlink_to("loop")
    (directory / "lib/directory").symlink_to("../conf")
    (directory / "empty").mkdir()
    (directory / NOT_UTF8).write_text("name")
    for number, path in enumerate(sorted(directory.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_600_000_000_987_654_321 + number), follow_symlinks=False)
    (directory / "conf").chmod(0o500)
    (directory / "empty").chmod(0o2770)
    return directory


def describe_without_inodes(root: Path) -> dict[str, object]:
    return {
        path: (mode, owner, content if content is None else content[:2])
        for path, (mode, owner, content) in describe_directory(root).items()
    }


def assert_copied(original: Path, copy: Path) -> None:
    assert write_tree(read_directory(original), "dir", copy)
    assert describe_without_inodes(copy) == describe_without_inodes(original)
    assert (copy / "bin/again").samefile(copy / "bin/server")
    assert describe_tree(read_directory(copy)) == describe_tree(read_directory(original))
    for path in ("bin", "conf"):
        assert (copy / path).stat().st_mtime_ns == (original / path).stat().st_mtime_ns


def test_a_directory_is_copied_with_modes_symlinks_hard_links_and_times(tmp_path: Path) -> None:
    assert_copied(make_sample(tmp_path / "original"), tmp_path / "copy")


@pytest.mark.usefixtures("unprivileged_user")
def test_an_unprivileged_user_copies_a_directory(public_directory: Path) -> None:
    assert_copied(make_sample(public_directory / "original"), public_directory / "copy")
    for directory in (public_directory / "original/conf", public_directory / "copy/conf"):
        directory.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_root_keeps_owners(tmp_path: Path) -> None:
    original = make_sample(tmp_path / "original")
    for number, path in enumerate(["bin/server", "lib", "lib/link", "conf/secret"]):
        os.chown(original / path, 1000 + number, 2000 + number, follow_symlinks=False)
    (original / "bin/server").chmod(0o6755)
    assert_copied(original, tmp_path / "copy")


def test_members_are_sorted_by_name_each_directory_before_its_members(
    tmp_path: Path,
) -> None:
    for name in ("b/y", "b/x", "a", "b.c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(read_directory(tmp_path).nodes) == ["a", "b", "b/x", "b/y", "b.c"]


def test_symlinks_are_members_and_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pack/lib").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "pack/lib/out").symlink_to("../../outside")
    (tmp_path / "pack/lib/up").symlink_to("..")
    assert describe_tree(read_directory(tmp_path / "pack")).keys() == {"lib", "lib/out", "lib/up"}


def test_a_special_file_is_read_but_not_copied(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    os.mkfifo(tmp_path / "pack/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "pack/socket"))
    tree = read_directory(tmp_path / "pack")
    assert {type(node) for node in tree.nodes.values()} == {Special}
    with pytest.raises(BundleFixError, match="fifo: a device, fifo or socket cannot be copied"):
        write_tree(tree, "dir", tmp_path / "copy")
    assert list_names(tmp_path) == ["pack"]


def test_a_directory_may_be_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    directories = [tmp_path / "deep"]
    for _ in range(1010):
        directories.append(directories[-1] / "d")
    for directory in directories:
        directory.mkdir()
    try:
        tree = read_directory(directories[0])
        assert len(tree.nodes) == 1010
        assert not write_tree(tree, "dir", tmp_path / "copy", commit=False)
    finally:
        for directory in reversed(directories):
            directory.rmdir()
    assert list_names(tmp_path) == []


@pytest.mark.usefixtures("unprivileged_user")
def test_an_unreadable_directory_is_reported_by_its_name(public_directory: Path) -> None:
    (public_directory / "pack/closed").mkdir(parents=True)
    (public_directory / "pack/closed").chmod(0o300)
    with pytest.raises(BundleFixError, match="pack/closed: cannot read the directory: Permission"):
        read_directory(public_directory / "pack")


@pytest.mark.usefixtures("unprivileged_user")
def test_a_directory_without_search_permission_is_reported_by_its_file(
    public_directory: Path,
) -> None:
    (public_directory / "pack/listed").mkdir(parents=True)
    (public_directory / "pack/listed/file").touch()
    (public_directory / "pack/listed").chmod(0o400)
    with pytest.raises(BundleFixError, match="pack/listed/file: cannot read it: Permission"):
        read_directory(public_directory / "pack")
    (public_directory / "pack/listed").chmod(0o700)


@pytest.mark.usefixtures("unprivileged_user")
def test_an_unreadable_file_stops_the_copy_and_leaves_nothing(
    public_directory: Path,
) -> None:
    original = make_sample(public_directory / "original")
    (original / "bin/server").chmod(0)
    with pytest.raises(BundleFixError, match="bin/again: cannot read the file: Permission"):
        write_tree(read_directory(original), "dir", public_directory / "copy")
    assert list_names(public_directory) == ["original"]
    (original / "conf").chmod(0o700)


def test_a_file_that_has_grown_stops_the_copy(tmp_path: Path) -> None:
    original = make_sample(tmp_path / "original")
    tree = read_directory(original)
    with (original / "bin/server").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleFixError, match="bin/again: the file changed while it was read"):
        write_tree(tree, "dir", tmp_path / "copy")
    assert list_names(tmp_path) == ["original"]


def test_a_hard_link_keeps_its_bytes_if_the_other_name_becomes_a_symlink(tmp_path: Path) -> None:
    tree = read_directory(make_sample(tmp_path / "original"))
    nodes: dict[str, Node] = {**tree.nodes, "bin/again": Symlink("server", Metadata(0o777))}
    assert isinstance(tree.nodes["bin/server"], File)
    assert tree.nodes["bin/server"].hardlink == "bin/again"
    write_tree(Tree(nodes), "dir", tmp_path / "copy")
    assert not (tmp_path / "copy/bin/server").is_symlink()
    original = tmp_path / "original/bin/server"
    assert (tmp_path / "copy/bin/server").read_bytes() == original.read_bytes()


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    original = make_sample(tmp_path / "original")
    try:
        os.setxattr(original / "bin/server", "user.origin", b"caf\xe9")
        os.setxattr(original / "lib", "user.directory", b"1")
    except OSError as error:
        pytest.skip(f"this file system keeps no extended attributes: {error.strerror}")
    if os.geteuid() == 0:
        # cap_net_bind_service=ep, which any write to the file and any change of its owner drops.
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        os.setxattr(original / "bin/server", "security.capability", capability)
    assert_copied(original, tmp_path / "copy")
    for path in ("bin/server", "lib"):
        found, expected = ({n: os.getxattr(r / path, n) for n in os.listxattr(r / path)}
                         for r in (tmp_path / "copy", original))  # fmt: skip
        assert found == expected


def test_directories_without_an_entry_are_readable_by_all_users(tmp_path: Path) -> None:
    tree = Tree({"a/b/c": File(BytesContent(b"c"), Metadata(0o600))})
    write_tree(tree, "dir", tmp_path / "copy")
    for path in ("copy", "copy/a", "copy/a/b"):
        assert (tmp_path / path).stat().st_mode & 0o7777 == 0o755


def test_the_root_gets_its_mode_if_it_is_a_member(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {
        "": Directory(Metadata(0o750)),
        "a": File(BytesContent(b""), Metadata(0o640)),
    }
    write_tree(Tree(nodes, "pack"), "dir", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o750


def test_a_time_without_a_decimal_text_is_set(tmp_path: Path) -> None:
    metadata = Metadata(0o644, os.geteuid(), os.getegid(), mtime=1_700_000_000.5)
    write_directory(Tree({"a": File(BytesContent(b"a"), metadata)}), tmp_path)
    assert (tmp_path / "a").stat().st_mtime_ns == 1_700_000_000_500_000_000


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, -1, -1_500_000_000, 2**40 * 10**9 + 7])
def test_times_are_kept_to_the_nanosecond(tmp_path: Path, nanoseconds: int) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/a").touch()
    os.utime(tmp_path / "pack/a", ns=(0, nanoseconds))
    mtime = (tmp_path / "pack/a").stat().st_mtime_ns
    write_tree(read_directory(tmp_path / "pack"), "dir", tmp_path / "copy")
    assert (tmp_path / "copy/a").stat().st_mtime_ns == mtime


def test_the_same_directory_is_read_as_the_same_tree(tmp_path: Path) -> None:
    original = make_sample(tmp_path / "original")
    assert read_directory(original) == read_directory(original)
    node = read_directory(original).nodes["bin/server"]
    assert replace(node, metadata=replace(node.metadata, mode=0)) != node


def test_files_are_not_read_through_a_directory_that_became_a_symlink(tmp_path: Path) -> None:
    """Another file of the same size must not be taken for that of the pack."""
    for name in ("pack/lib", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x").write_text("same size")
    node = read_directory(tmp_path / "pack").nodes["lib/x"]
    assert isinstance(node, File)
    (tmp_path / "pack/lib").rename(tmp_path / "pack/moved")
    (tmp_path / "pack/lib").symlink_to("../elsewhere")
    with pytest.raises(BundleFixError, match="changed while it was read"), node.content.open():
        pass
    (tmp_path / "pack/lib").unlink()
    (tmp_path / "pack/moved").rename(tmp_path / "pack/lib")
    with node.content.open() as reader:
        assert reader.size == 9


def test_a_directory_that_becomes_a_symlink_while_it_is_read_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent is replaced between reading it and reading its subdirectory."""
    for name in ("pack/a/b/c", "elsewhere/b/secret"):
        (tmp_path / name).mkdir(parents=True)
    real_open = os.open

    def swap_and_open(path: str, flags: int, *rest: int) -> int:
        if str(path).endswith("a/b") and not (tmp_path / "pack/a").is_symlink():
            (tmp_path / "pack/a").rename(tmp_path / "gone")
            (tmp_path / "pack/a").symlink_to("../elsewhere")
        return real_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(BundleFixError, match="the directory changed while it was read"):
        read_directory(tmp_path / "pack")
