"""Rare kinds of members and headers, written by the tools that use them."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from archive.views import read_data
from archive.writers import write_tree
from builders.tar import fix_checksum, make_archive, make_member, make_pax_header
from bundle_fix.archive.tar.reader import read_tar
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Special, Tree


def read_and_write(path: Path) -> tuple[Tree, bytes]:
    with read_tar(path) as tree:
        ours = path.with_name("ours.tar")
        assert write_tree(tree, "tar", ours)
        return tree, ours.read_bytes()


def make_tarball_with(directory: Path, *command: str) -> Path:
    pack = directory / "pack"
    (pack / "lib").mkdir(parents=True)
    (pack / "lib/x").write_bytes(b"x" * 3000)
    (pack / "y").write_bytes(b"y")
    subprocess.run([*command, "-cf", directory / "a.tar", "-C", directory, "pack"], check=True)
    return directory / "a.tar"


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--listed-incremental={}/state", "directory of an incremental backup"),
        ("--label=the label", "'the label' is a volume label"),
    ],
)
def test_members_that_only_gnu_tar_knows_are_refused(
    tmp_path: Path, option: str, problem: str
) -> None:
    """Python's tarfile unpacks them as files."""
    with pytest.raises(BundleFixError, match=problem):
        read_and_write(make_tarball_with(tmp_path, "tar", option.format(tmp_path)))


def test_a_later_volume_is_refused(tmp_path: Path) -> None:
    raw = make_archive(make_member("pack/x", b"M", b"rest"))
    (tmp_path / "a.tar").write_bytes(raw)
    with pytest.raises(BundleFixError, match="a later volume of a multi-volume archive"):
        read_and_write(tmp_path / "a.tar")


@pytest.mark.parametrize("form", ["v7", "ustar", "pax", "gnutar", "paxr"])
def test_tarballs_by_bsdtar_are_written_back_unchanged(tmp_path: Path, form: str) -> None:
    tool = ["bsdtar", f"--format={form}"] if form != "v7" else ["tar", "--format=v7"]
    path = make_tarball_with(tmp_path, *tool)
    tree, ours = read_and_write(path)
    assert ours == path.read_bytes()
    assert sorted(tree.nodes) == ["", "lib", "lib/x", "y"]
    assert all(node.metadata.mtime > 10**9 for node in tree.nodes.values())


def test_the_end_of_an_archive_is_preserved(tmp_path: Path) -> None:
    """Docker ends its layers with two blocks of zeros, without padding to a record."""
    for end in (bytes(512), bytes(1024), bytes(1024) + b"what else was on the tape", bytes(30000)):
        path = tmp_path / "a.tar"
        path.write_bytes(make_member("pack/", b"5") + make_member("pack/x", content=b"x") + end)
        _, ours = read_and_write(path)
        assert ours == path.read_bytes()


def test_a_new_member_goes_before_the_end_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(make_member("bin/x", content=b"x") + bytes(9216))
    with read_tar(tmp_path / "a.tar") as tree:
        nodes = {**tree.nodes, "bin/new": File(BytesContent(b"new"), Metadata(0o644))}
        new = Tree(nodes, tree.top, tree.trailer)
        assert write_tree(new, "tar", tmp_path / "b.tar")
    assert (tmp_path / "b.tar").stat().st_size == 10240
    listed = subprocess.run(
        ["tar", "-tf", tmp_path / "b.tar"], capture_output=True, text=True, check=True
    )
    assert (listed.stdout, listed.stderr) == ("bin/x\nbin/new\n", "")


def test_the_later_of_two_files_with_one_name_wins_and_both_are_preserved(tmp_path: Path) -> None:
    raw = make_archive(
        make_member("p/", b"5"),
        make_member("p/a", content=b"1"),
        make_member("p/b"),
        make_member("p/a", content=b"2"),
    )
    (tmp_path / "a.tar").write_bytes(raw)
    with read_tar(tmp_path / "a.tar") as tree:
        node = tree.nodes["a"]
        assert isinstance(node, File)
        assert read_data(node.content) == b"2"
        assert [duplicate.path for duplicate in tree.duplicates] == ["a"]
        assert write_tree(tree, "tar", tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_bytes() == raw


def test_a_contiguous_file_is_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        make_archive(make_member("a", b"7", b"data"), make_member("b", b"6"))
    )
    tree, ours = read_and_write(tmp_path / "a.tar")
    assert ours == (tmp_path / "a.tar").read_bytes()
    assert isinstance(tree.nodes["a"], File)
    assert isinstance(tree.nodes["b"], Special)


def test_the_size_field_of_a_directory_is_ignored(tmp_path: Path) -> None:
    """Old tars store the disk space of a directory there."""
    raw = make_member("a/", b"5")
    sized = fix_checksum(raw[:124] + b"00000010000\0" + raw[136:])
    (tmp_path / "a.tar").write_bytes(make_archive(sized, make_member("a/b", content=b"b")))
    tree, ours = read_and_write(tmp_path / "a.tar")
    assert ours == (tmp_path / "a.tar").read_bytes()
    assert list(tree.nodes) == ["", "b"]


def test_a_global_header_applies_to_the_members_after_it(tmp_path: Path) -> None:
    common = tarfile.TarInfo.create_pax_global_header({"uid": "1234567", "comment": "c"})
    raw = make_archive(
        make_member("a"), common, make_member("b"), make_pax_header({"uid": "7"}) + make_member("c")
    )
    (tmp_path / "a.tar").write_bytes(raw)
    tree, ours = read_and_write(tmp_path / "a.tar")
    assert ours == raw
    assert [node.metadata.uid for node in tree.nodes.values()] == [0, 1234567, 7]


@pytest.mark.parametrize("record", ["path", "linkpath", "size"])
def test_a_global_header_with_a_name_or_size_for_all_members_is_refused(
    tmp_path: Path, record: str
) -> None:
    common = tarfile.TarInfo.create_pax_global_header({record: "1"})
    (tmp_path / "a.tar").write_bytes(make_archive(common, make_member("a")))
    with pytest.raises(BundleFixError, match=f"a global pax header sets {record} for all members"):
        read_and_write(tmp_path / "a.tar")


def test_checksums_of_signed_bytes_are_accepted(tmp_path: Path) -> None:
    info = tarfile.TarInfo(b"caf\xe9".decode("utf-8", "surrogateescape"))
    raw = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    total = sum(b - 256 * (b > 127) for b in raw[:148] + b" " * 8 + raw[156:512])
    signed = raw[:148] + b"%06o\0 " % total + raw[156:]
    (tmp_path / "a.tar").write_bytes(make_archive(signed))
    tree, _ = read_and_write(tmp_path / "a.tar")
    assert list(tree.nodes) == [info.name]


@pytest.mark.parametrize("number", [-5, -(2**40), 2**33, 2**62 - 1])
def test_numbers_that_do_not_fit_into_octal_digits_are_read(tmp_path: Path, number: int) -> None:
    info = tarfile.TarInfo("a")
    info.mtime = number
    (tmp_path / "a.tar").write_bytes(make_archive(info.tobuf(tarfile.GNU_FORMAT)))
    tree, _ = read_and_write(tmp_path / "a.tar")
    assert tree.nodes["a"].metadata.mtime == number


def test_the_times_of_star_are_not_part_of_the_prefix(tmp_path: Path) -> None:
    info = tarfile.TarInfo("lib/" * 25 + "file")
    raw = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    raw[345 + 131 : 345 + 155] = b"14000000000\0" * 2
    raw[508:512] = b"tar\0"
    (tmp_path / "a.tar").write_bytes(make_archive(fix_checksum(bytes(raw))))
    tree, _ = read_and_write(tmp_path / "a.tar")
    assert list(tree.nodes) == [info.name]
