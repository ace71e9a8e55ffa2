"""Zip archives that are read: names, compression methods and damaged data."""

from __future__ import annotations

import os
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.views import read_data
from archive.zip.archives import (
    make_member_of_method,
    make_zip,
    read_refused,
    rewrite_zip,
)
from bundle_fix.archive.compression.codecs import import_zstd
from bundle_fix.archive.zip.reader import read_zip
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/x", "outside the target directory"),
        ("a/../../x", "outside the target directory"),
        ("a" * 5000, "longer"),
    ],
)
def test_unsafe_names_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    assert reason in read_refused(make_zip(tmp_path / "x.zip", (name, b"")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_with_the_same_name_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", ("a", b"1"), ("./a", b"2"))
    assert "two members have the name 'a'" in read_refused(path)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("content", [b"", b"x", b"content" * 400_000, os.urandom(3_000_000)])
def test_every_compression_is_read(tmp_path: Path, method: int, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as file:
        file.writestr("a", content)
        file.writestr("b", b"last")
    with read_zip(tmp_path / "x.zip") as tree:
        contents = [read_data(node.content) for _, node in tree.iter_files()]
    assert contents == [content, b"last"]
    assert rewrite_zip(tmp_path / "x.zip") == (tmp_path / "x.zip").read_bytes()


def test_a_member_compressed_with_zstd_is_read(tmp_path: Path) -> None:
    content = b"content" * 400_000
    raw = make_member_of_method(tmp_path / "x.zip", import_zstd().compress(content), content, 93)
    with read_zip(raw) as tree:
        node = tree.nodes["a"]
        assert isinstance(node, File)
        assert read_data(node.content) == content


def test_an_unknown_compression_method_is_reported(tmp_path: Path) -> None:
    path = make_member_of_method(tmp_path / "x.zip", b"packed", b"x", 9)
    assert "unknown compression method 9 of the member 'a'" in read_refused(path)


def test_zeros_take_no_space_in_the_temporary_file(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    size = 64 << 20
    path = make_zip(tmp_path / "x.zip", ("a", b"1"), ("zeros", bytes(size)))
    with read_zip(path) as tree:
        zeros = tree.nodes["zeros"]
        assert isinstance(zeros, File)
        with zeros.content.open() as reader:
            assert (reader.size, reader.pread(size - 9, 20)) == (size, bytes(9))


@given(st.data())
def test_a_damaged_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, drawn: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("z") / "x.zip"
    make_zip(path, ("a", b"content" * 50), ("b/c", b""))
    raw = bytearray(path.read_bytes())
    for _ in range(drawn.draw(st.integers(1, 6))):
        raw[drawn.draw(st.integers(0, len(raw) - 1))] = drawn.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with suppress(BundleFixError), read_zip(path) as tree:
        for _, file in tree.iter_files():
            assert len(read_data(file.content)) == file.content.size
