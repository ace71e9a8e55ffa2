"""Zip archives, against the zip and unzip that Python and Info-ZIP have."""

from __future__ import annotations

import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.views import data, view
from bundle_fix.artifacts.zip import read_zip, write_zip
from bundle_fix.content import BytesContent
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Special, Stamp, Symlink, Tree

WHEN = 1_600_000_000


def archive(path: Path, *members: tuple[str, bytes], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name, (2020, 9, 13, 12, 26, 40))
            info.external_attr, info.create_system = mode << 16, 3
            file.writestr(info, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(BundleFixError) as error, read_zip(path):
        pass
    return error.value.message


def test_a_tree_comes_back_as_it_was_written(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {
        "bin": Directory(Stamp(0o755, mtime=WHEN)),
        "bin/x": File(BytesContent(b"x" * 100_000), Stamp(0o4755, mtime=WHEN)),
        "lib/ü.so": File(BytesContent(b""), Stamp(0o644, mtime=WHEN)),
        "lib/l.so": Symlink("ü.so", Stamp(0o777, mtime=WHEN)),
    }
    with (tmp_path / "x.zip").open("w+b") as file:
        write_zip(Tree(nodes, "top"), file)
    with read_zip(tmp_path / "x.zip") as tree:
        assert (tree.top, view(tree)) == ("top", view(Tree(nodes)))


def test_what_is_said_of_members_that_stay_stays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name, method in (("b", zipfile.ZIP_STORED), ("a", zipfile.ZIP_BZIP2)):
            info = zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6))
            info.comment, info.compress_type, info.create_system = b"said", method, 0
            info.extra = struct.pack("<HHI", 0x7075, 4, 7)
            file.writestr(info, b"content")
        file.comment = b"of all"
    with read_zip(tmp_path / "x.zip") as tree, (tmp_path / "y.zip").open("w+b") as out:
        write_zip(tree, out)
    told = []
    for name in ("x.zip", "y.zip"):
        with zipfile.ZipFile(tmp_path / name) as file:
            told.append(
                (
                    file.comment,
                    [
                        (i.filename, i.date_time, i.comment, i.compress_type, i.extra, i.CRC)
                        for i in file.infolist()
                    ],
                )
            )
    assert told[0] == told[1]


def test_names_in_utf_8_are_read_also_where_the_archive_does_not_say_so(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("nameXX", b"1"))
    path.write_bytes(path.read_bytes().replace(b"nameXX", "nameü".encode()))
    with read_zip(path) as tree:
        assert list(tree.nodes) == ["nameü"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("/etc/x", "outside the folder"), ("a/../../x", "outside the folder"), ("a" * 5000, "longer")],
)
def test_names_of_no_honest_archive_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    assert reason in refused(archive(tmp_path / "x.zip", (name, b"")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("a", b"1"), ("./a", b"2"))
    assert "two members have the name 'a'" in refused(path)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("a", b"1" * 999), ("b", b"1" * 999))
    held = bytearray(path.read_bytes())
    entry = held.rindex(b"PK\1\2")
    held[entry + 42 : entry + 46] = bytes(4)
    path.write_bytes(held)
    assert "shares its bytes" in refused(path)


def test_a_size_that_lies_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("a", b"1" * 999))
    held = bytearray(path.read_bytes())
    entry = held.rindex(b"PK\1\2")
    held[entry + 24 : entry + 28] = (5000).to_bytes(4, "little")
    path.write_bytes(held)
    assert "the archive is damaged" in refused(path)


def test_a_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", *((f"{n}", b"1") for n in range(20)))
    held = bytearray(path.read_bytes())
    at = held.find(b"PK\1\2")
    while at >= 0:
        held[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
        at = held.find(b"PK\1\2", at + 1)
    path.write_bytes(held)
    assert "it unpacks to more than" in refused(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("a", b"1"))
    held = bytearray(path.read_bytes())
    held[held.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(held)
    assert "is encrypted" in refused(path)


def test_a_device_is_kept_in_mind_and_never_written(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("fifo", b""), mode=stat.S_IFIFO | 0o644)
    with read_zip(path) as tree:
        assert isinstance(tree.nodes["fifo"], Special)
        with (tmp_path / "y.zip").open("w+b") as out, pytest.raises(BundleFixError):
            write_zip(tree, out)


def test_an_archive_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("a", bytes(range(256)) * 40), ("b", b"2"))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "the archive is damaged" in refused(path)


@given(st.data())
def test_a_damaged_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, drawn: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("z") / "x.zip"
    archive(path, ("a", b"content" * 50), ("b/c", b""))
    held = bytearray(path.read_bytes())
    for _ in range(drawn.draw(st.integers(1, 6))):
        held[drawn.draw(st.integers(0, len(held) - 1))] = drawn.draw(st.integers(0, 255))
    path.write_bytes(held)
    with suppress(BundleFixError), read_zip(path) as tree:
        for _, file in tree.files():
            assert len(data(file.content)) == file.content.size
