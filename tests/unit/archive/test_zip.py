"""Zip archives, against the zip and unzip that Python and Info-ZIP have."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from archive.views import data, view
from bundle_fix.archive.compression.codecs import import_zstd
from bundle_fix.archive.zip import central_directory as zip_directory
from bundle_fix.archive.zip.reader import read_zip
from bundle_fix.archive.zip.writer import write_zip
from bundle_fix.model.content import BytesContent, Patch, PatchedContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree

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
        "bin": Directory(Metadata(0o755, mtime=WHEN)),
        "bin/x": File(BytesContent(b"x" * 100_000), Metadata(0o4755, mtime=WHEN)),
        "lib/ü.so": File(BytesContent(b""), Metadata(0o644, mtime=WHEN)),
        "lib/l.so": Symlink("ü.so", Metadata(0o777, mtime=WHEN)),
    }
    with (tmp_path / "x.zip").open("w+b") as file:
        write_zip(Tree(nodes, "top"), file)
    with read_zip(tmp_path / "x.zip") as tree:
        assert (tree.top, view(tree)) == ("top", view(Tree(nodes)))


def test_a_large_member_is_one_stream_for_others(tmp_path: Path) -> None:
    # More than two pieces, which are compressed at the same time: text, code, what is dense.
    content = b"of 1.2.3\n" * 300_000 + Path("/proc/self/exe").read_bytes()[: 1 << 20]
    content += os.urandom(2 << 20)
    nodes: dict[str, Node] = {"x": File(BytesContent(content), Metadata(0o644, mtime=WHEN))}
    with (tmp_path / "x.zip").open("w+b") as file:
        write_zip(Tree(nodes), file)
    with zipfile.ZipFile(tmp_path / "x.zip") as written:
        assert written.read("x") == content
        assert written.getinfo("x").compress_size < len(content)
    unzip = subprocess.run(["unzip", "-p", tmp_path / "x.zip"], capture_output=True, check=True)
    assert unzip.stdout == content


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


def test_a_device_is_kept_as_it_is_and_never_changed(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("fifo", b""), mode=stat.S_IFIFO | 0o644)
    with read_zip(path) as tree, (tmp_path / "y.zip").open("w+b") as out:
        node = tree.nodes["fifo"]
        assert isinstance(node, Special)
        write_zip(tree, out)
        out.flush()
        assert (tmp_path / "y.zip").read_bytes() == path.read_bytes()
        changed = Tree({"fifo": replace(node, header=None)})
        with pytest.raises(BundleFixError, match="can hold no device"):
            write_zip(changed, out)


def zip_tool(folder: Path, *options: str) -> Path:
    """An archive by Info-ZIP's zip of a folder with all that it knows to store."""
    pack = folder / "pack"
    if not pack.exists():
        (pack / "bin").mkdir(parents=True)
        (pack / "bin/x").write_bytes(b"x" * 5000)
        (pack / "bin/x").chmod(0o755)
        (pack / "l").symlink_to("bin/x")
        (pack / "ü").write_bytes(os.urandom(2000))
    command = ["zip", "-q", "-r", *options, "x.zip", "pack"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "x.zip"


def written_back(path: Path) -> bytes:
    with read_zip(path) as tree, path.with_name("ours.zip").open("w+b") as out:
        write_zip(tree, out)
    return path.with_name("ours.zip").read_bytes()


OPTIONS = (["-y"], ["-y0"], ["-y9"], ["-yZ", "bzip2"], ["-yX"])


@pytest.mark.parametrize("options", OPTIONS)
def test_archives_by_info_zip_are_written_back_as_they_were(
    tmp_path: Path, options: list[str]
) -> None:
    path = zip_tool(tmp_path, *options)
    with read_zip(path) as tree:
        assert tree.top == "pack"
        assert isinstance(tree.nodes["l"], Symlink)
        node = tree.nodes["bin/x"]
        assert isinstance(node, File)
        assert (data(node.content), node.metadata.mode) == (b"x" * 5000, 0o755)
    assert written_back(path) == path.read_bytes()


def test_archives_by_bsdtar_are_written_back_as_they_were(tmp_path: Path) -> None:
    zip_tool(tmp_path, "-y")
    subprocess.run(["bsdtar", "--format=zip", "-cf", "y.zip", "pack"], cwd=tmp_path, check=True)
    assert written_back(tmp_path / "y.zip") == (tmp_path / "y.zip").read_bytes()


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("content", [b"", b"x", b"content" * 400_000, os.urandom(3_000_000)])
def test_every_compression_is_read(tmp_path: Path, method: int, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as file:
        file.writestr("a", content)
        file.writestr("b", b"behind")
    with read_zip(tmp_path / "x.zip") as tree:
        found = [data(node.content) for _, node in tree.iter_files()]
    assert found == [content, b"behind"]
    assert written_back(tmp_path / "x.zip") == (tmp_path / "x.zip").read_bytes()


def test_a_member_compressed_by_zstd_is_read(tmp_path: Path) -> None:
    content = b"content" * 400_000
    raw = patched_method(tmp_path / "x.zip", import_zstd().compress(content), content, 93)
    with read_zip(raw) as tree:
        node = tree.nodes["a"]
        assert isinstance(node, File)
        assert data(node.content) == content


def test_a_compression_that_nobody_here_knows_is_told(tmp_path: Path) -> None:
    path = patched_method(tmp_path / "x.zip", b"packed", b"x", 9)
    assert "has the unknown compression method 9" in refused(path)


def patched_method(path: Path, packed: bytes, content: bytes, method: int) -> Path:
    """An archive of one member that holds compressed bytes of any kind."""
    archive(path, ("a", packed))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", packed)
    held = bytearray(path.read_bytes())
    entry = held.rindex(b"PK\1\2")
    for at, crc, size in ((8, 14, 22), (entry + 10, entry + 16, entry + 24)):
        held[at : at + 2] = method.to_bytes(2, "little")
        held[crc : crc + 4] = zlib.crc32(content).to_bytes(4, "little")
        held[size : size + 4] = len(content).to_bytes(4, "little")
    path.write_bytes(held)
    return path


def test_what_was_put_in_front_of_an_archive_stays_there(tmp_path: Path) -> None:
    """Self-extracting archives are programs with an archive behind them."""
    path = archive(tmp_path / "x.zip", ("a", b"1" * 999), ("b", b"2"))
    path.write_bytes(b"#!/usr/bin/env python3\n" + path.read_bytes())
    ours = written_back(path)
    assert ours.startswith(b"#!/usr/bin/env python3\nPK")
    with zipfile.ZipFile(tmp_path / "ours.zip") as file:
        assert (file.testzip(), file.namelist()) == (None, ["a", "b"])
    (tmp_path / "ours.zip").replace(path)
    assert written_back(path) == ours


def test_members_that_the_directory_leaves_out_are_refused(tmp_path: Path) -> None:
    """Who reads the archive from its start sees them: two in one file, or none left."""
    hidden = archive(tmp_path / "x.zip", ("a", b"1")).read_bytes()
    path = archive(tmp_path / "y.zip", ("b", b"2"))
    for behind in (path.read_bytes(), b"PK\5\6" + bytes(18)):
        path.write_bytes(hidden + behind)
        assert "it starts with members that its directory does not have" in refused(path)


def test_a_directory_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "x.zip", *((f"{n:0200}", b"") for n in range(100)))
    with read_zip(path) as tree:
        assert len(tree.nodes) == 100
    monkeypatch.setattr(zip_directory, "MAX_DIRECTORY", 20_000)
    assert "its directory is longer than any honest one" in refused(path)


def test_zeros_take_no_room_while_an_archive_is_open(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    size = 64 << 20
    path = archive(tmp_path / "x.zip", ("a", b"1"), ("zeros", bytes(size)))
    with read_zip(path) as tree:
        zeros = tree.nodes["zeros"]
        assert isinstance(zeros, File)
        with zeros.content.open() as reader:
            assert (reader.size, reader.pread(size - 9, 20)) == (size, bytes(9))


def test_zip64_is_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("a", "w", force_zip64=True) as stream:
            stream.write(b"content" * 100)
        for number in range(70_000):
            file.writestr(f"d/{number}", b"")
    with read_zip(path) as tree:
        assert len(tree.nodes) == 70_001
    assert written_back(path) == path.read_bytes()


def test_a_directory_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "x.zip", ("a", b"1" * 99), ("b", b"2")).read_bytes()
    end = whole.rindex(b"PK\5\6")
    for field, size in ((10, 2), (12, 4), (16, 4)):
        for value in (0, 1, (1 << 8 * size) - 1, (1 << 8 * size) - 2):
            held = bytearray(whole)
            held[end + field : end + field + size] = value.to_bytes(size, "little")
            (tmp_path / "x.zip").write_bytes(held)
            # A lower place is as though something had been put in front of the archive.
            what = "shares its bytes" if field == 16 and value < 99 else "the archive is damaged"
            assert what in refused(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "field", [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (30, 1)]
)
def test_two_headers_that_contradict_each_other_are_refused(
    tmp_path: Path, field: tuple[int, int]
) -> None:
    path = archive(tmp_path / "x.zip", ("name", b"1" * 99), ("b", b"2"))
    held = bytearray(path.read_bytes())
    at, size = field
    held[at : at + size] = bytes(b ^ 0x11 for b in held[at : at + size])
    path.write_bytes(held)
    if at == 4:
        with read_zip(path) as tree:
            assert "name" in tree.nodes
    else:
        assert "is damaged: the two headers of 'name'" in refused(path) or at in (6, 26)


def test_one_changed_member_leaves_the_bytes_of_the_others(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", ("a", b"1" * 999), ("b", b"2" * 50), ("c", b"3" * 99))
    with read_zip(path) as tree, (tmp_path / "y.zip").open("w+b") as out:
        node = tree.nodes["b"]
        assert isinstance(node, File)
        changed = replace(node, content=PatchedContent(node.content, (Patch(7, b"#"),)))
        write_zip(replace(tree, nodes={**tree.nodes, "b": changed}), out)
    with zipfile.ZipFile(path) as was, zipfile.ZipFile(tmp_path / "y.zip") as now:
        assert now.testzip() is None
        assert now.read("b") == b"2" * 7 + b"#" + b"2" * 42
        for one, other in zip(was.infolist(), now.infolist(), strict=True):
            assert (one.date_time, one.external_attr, one.extra, one.compress_type) == (
                other.date_time, other.external_attr, other.extra, other.compress_type)  # fmt: skip
    original, ours = path.read_bytes(), (tmp_path / "y.zip").read_bytes()
    assert ours.startswith(original[: original.index(b"PK\3\4", 4)])
    third = original[original.rindex(b"PK\3\4") : original.index(b"PK\1\2")]
    assert third in ours


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
        for _, file in tree.iter_files():
            assert len(data(file.content)) == file.content.size
