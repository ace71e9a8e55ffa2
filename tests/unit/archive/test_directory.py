from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from archive.views import names, snapshot, view
from archive.writers import write_tree
from bundle_fix.archive.directory import read_directory, write_directory
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def sample(folder: Path) -> Path:
    """A folder with what makes copying hard."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/server").write_bytes(os.urandom(2_500_000))
    (folder / "bin/server").chmod(0o4751)
    (folder / "bin/again").hardlink_to(folder / "bin/server")
    (folder / "conf").mkdir()
    (folder / "conf/secret").write_text("secret")
    (folder / "conf/secret").chmod(0o400)
    (folder / "lib").mkdir()
    (folder / "lib/link").symlink_to("../lib//./libx.so.1")
    (folder / "lib/outside").symlink_to("/etc/passwd")
    (folder / "lib/loop").symlink_to("loop")
    (folder / "lib/folder").symlink_to("../conf")
    (folder / "empty").mkdir()
    (folder / NOT_UTF8).write_text("name")
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_600_000_000_987_654_321 + number), follow_symlinks=False)
    (folder / "conf").chmod(0o500)
    (folder / "empty").chmod(0o2770)
    return folder


def without_inodes(root: Path) -> dict[str, object]:
    return {
        path: (mode, owner, held if held is None else held[:2])
        for path, (mode, owner, held) in snapshot(root).items()
    }


def assert_copied(original: Path, copy: Path) -> None:
    assert write_tree(read_directory(original), "dir", copy)
    assert without_inodes(copy) == without_inodes(original)
    assert (copy / "bin/again").samefile(copy / "bin/server")
    assert view(read_directory(copy)) == view(read_directory(original))
    for path in ("bin", "conf"):
        assert (copy / path).stat().st_mtime_ns == (original / path).stat().st_mtime_ns


def test_a_folder_is_copied_with_modes_links_hard_links_and_times(tmp_path: Path) -> None:
    assert_copied(sample(tmp_path / "original"), tmp_path / "copy")


@pytest.mark.usefixtures("unprivileged_user")
def test_who_is_not_root_copies_a_folder_just_the_same(public_directory: Path) -> None:
    assert_copied(sample(public_directory / "original"), public_directory / "copy")
    for folder in (public_directory / "original/conf", public_directory / "copy/conf"):
        folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_root_keeps_owners(tmp_path: Path) -> None:
    original = sample(tmp_path / "original")
    for number, path in enumerate(["bin/server", "lib", "lib/link", "conf/secret"]):
        os.chown(original / path, 1000 + number, 2000 + number, follow_symlinks=False)
    (original / "bin/server").chmod(0o6755)
    assert_copied(original, tmp_path / "copy")


def test_members_are_read_in_the_order_of_their_names_each_folder_before_its_own(
    tmp_path: Path,
) -> None:
    for name in ("b/y", "b/x", "a", "b.c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(read_directory(tmp_path).nodes) == ["a", "b", "b/x", "b/y", "b.c"]


def test_links_are_members_and_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pack/lib").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "pack/lib/out").symlink_to("../../outside")
    (tmp_path / "pack/lib/up").symlink_to("..")
    assert view(read_directory(tmp_path / "pack")).keys() == {"lib", "lib/out", "lib/up"}


def test_what_cannot_be_copied_is_read_and_then_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    os.mkfifo(tmp_path / "pack/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "pack/socket"))
    tree = read_directory(tmp_path / "pack")
    assert {type(node) for node in tree.nodes.values()} == {Special}
    with pytest.raises(BundleFixError, match="fifo: a device, fifo or socket cannot be copied"):
        write_tree(tree, "dir", tmp_path / "copy")
    assert names(tmp_path) == ["pack"]


def test_a_folder_may_be_deeper_than_python_recurses(tmp_path: Path) -> None:
    folders = [tmp_path / "deep"]
    for _ in range(1010):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    try:
        tree = read_directory(folders[0])
        assert len(tree.nodes) == 1010
        assert not write_tree(tree, "dir", tmp_path / "copy", commit=False)
    finally:
        for folder in reversed(folders):
            folder.rmdir()
    assert names(tmp_path) == []


@pytest.mark.usefixtures("unprivileged_user")
def test_a_folder_that_cannot_be_read_is_told_by_its_name(public_directory: Path) -> None:
    (public_directory / "pack/closed").mkdir(parents=True)
    (public_directory / "pack/closed").chmod(0o300)
    with pytest.raises(BundleFixError, match="pack/closed: cannot read the directory: Permission"):
        read_directory(public_directory / "pack")


@pytest.mark.usefixtures("unprivileged_user")
def test_a_folder_whose_files_cannot_be_looked_at_is_told_by_their_name(
    public_directory: Path,
) -> None:
    (public_directory / "pack/listed").mkdir(parents=True)
    (public_directory / "pack/listed/file").touch()
    (public_directory / "pack/listed").chmod(0o400)
    with pytest.raises(BundleFixError, match="pack/listed/file: cannot read it: Permission"):
        read_directory(public_directory / "pack")
    (public_directory / "pack/listed").chmod(0o700)


@pytest.mark.usefixtures("unprivileged_user")
def test_a_file_that_cannot_be_read_stops_the_copy_and_leaves_nothing(
    public_directory: Path,
) -> None:
    original = sample(public_directory / "original")
    (original / "bin/server").chmod(0)
    with pytest.raises(BundleFixError, match="bin/again: cannot read the file: Permission"):
        write_tree(read_directory(original), "dir", public_directory / "copy")
    assert names(public_directory) == ["original"]
    (original / "conf").chmod(0o700)


def test_a_file_that_grew_since_it_was_read_stops_the_copy(tmp_path: Path) -> None:
    original = sample(tmp_path / "original")
    tree = read_directory(original)
    with (original / "bin/server").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleFixError, match="bin/again: the file changed while it was read"):
        write_tree(tree, "dir", tmp_path / "copy")
    assert names(tmp_path) == ["original"]


def test_a_hard_link_keeps_its_bytes_when_the_other_name_becomes_a_link(tmp_path: Path) -> None:
    tree = read_directory(sample(tmp_path / "original"))
    nodes: dict[str, Node] = {**tree.nodes, "bin/again": Symlink("server", Metadata(0o777))}
    assert isinstance(tree.nodes["bin/server"], File)
    assert tree.nodes["bin/server"].hardlink == "bin/again"
    write_tree(Tree(nodes), "dir", tmp_path / "copy")
    assert not (tmp_path / "copy/bin/server").is_symlink()
    original = tmp_path / "original/bin/server"
    assert (tmp_path / "copy/bin/server").read_bytes() == original.read_bytes()


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    original = sample(tmp_path / "original")
    try:
        os.setxattr(original / "bin/server", "user.origin", b"caf\xe9")
        os.setxattr(original / "lib", "user.folder", b"1")
    except OSError as error:
        pytest.skip(f"this file system keeps no extended attributes: {error.strerror}")
    if os.geteuid() == 0:
        # cap_net_bind_service=ep, which any write to the file and any change of its owner drops.
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        os.setxattr(original / "bin/server", "security.capability", capability)
    assert_copied(original, tmp_path / "copy")
    for path in ("bin/server", "lib"):
        found, wanted = ({n: os.getxattr(r / path, n) for n in os.listxattr(r / path)}
                         for r in (tmp_path / "copy", original))  # fmt: skip
        assert found == wanted


def test_folders_that_are_no_members_are_made_for_everybody_to_read(tmp_path: Path) -> None:
    tree = Tree({"a/b/c": File(BytesContent(b"c"), Metadata(0o600))})
    write_tree(tree, "dir", tmp_path / "copy")
    for path in ("copy", "copy/a", "copy/a/b"):
        assert (tmp_path / path).stat().st_mode & 0o7777 == 0o755


def test_the_root_gets_its_mode_where_it_is_a_member(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {
        "": Directory(Metadata(0o750)),
        "a": File(BytesContent(b""), Metadata(0o640)),
    }
    write_tree(Tree(nodes, "pack"), "dir", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o750


def test_a_file_without_its_digits_gets_its_time_all_the_same(tmp_path: Path) -> None:
    stamp = Metadata(0o644, os.geteuid(), os.getegid(), mtime=1_700_000_000.5)
    write_directory(Tree({"a": File(BytesContent(b"a"), stamp)}), tmp_path)
    assert (tmp_path / "a").stat().st_mtime_ns == 1_700_000_000_500_000_000


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, -1, -1_500_000_000, 2**40 * 10**9 + 7])
def test_any_time_is_kept_to_the_nanosecond(tmp_path: Path, nanoseconds: int) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/a").touch()
    os.utime(tmp_path / "pack/a", ns=(0, nanoseconds))
    kept = (tmp_path / "pack/a").stat().st_mtime_ns
    write_tree(read_directory(tmp_path / "pack"), "dir", tmp_path / "copy")
    assert (tmp_path / "copy/a").stat().st_mtime_ns == kept


def test_a_tree_that_is_read_again_is_the_same(tmp_path: Path) -> None:
    original = sample(tmp_path / "original")
    assert read_directory(original) == read_directory(original)
    node = read_directory(original).nodes["bin/server"]
    assert replace(node, metadata=replace(node.metadata, mode=0)) != node


def test_a_folder_that_becomes_a_link_is_not_followed_to_its_files(tmp_path: Path) -> None:
    """Another file of the same size, elsewhere, must not be taken for the pack's."""
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


def test_a_folder_that_becomes_a_link_while_it_is_read_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, or that of a folder above it, is swapped between two looks at it."""
    for name in ("pack/a/b/c", "elsewhere/b/secret"):
        (tmp_path / name).mkdir(parents=True)
    opened = os.open

    def swapping(path: str, flags: int, *rest: int) -> int:
        if str(path).endswith("a/b") and not (tmp_path / "pack/a").is_symlink():
            (tmp_path / "pack/a").rename(tmp_path / "gone")
            (tmp_path / "pack/a").symlink_to("../elsewhere")
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(BundleFixError, match="the directory changed while it was read"):
        read_directory(tmp_path / "pack")
