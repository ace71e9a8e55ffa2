from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle_fix.model.content import (
    CHUNK,
    BytesContent,
    Content,
    FileSlice,
    PathContent,
    make_path_content,
    read_chunks,
    read_exactly,
)
from bundle_fix.model.errors import BundleFixError

short_bytes = st.binary(max_size=60)
windows = st.tuples(st.integers(-5, 70), st.integers(-5, 70))


def assert_reads_like(content: Content, data: bytes, window: tuple[int, int]) -> None:
    offset, length = window
    valid = offset >= 0 and length >= 0
    expected = data[offset : offset + length] if valid else b""
    with content.open() as reader:
        assert content.size == reader.size == len(data)
        assert b"".join(read_chunks(reader)) == data
        assert reader.pread(offset, length) == expected
        inside = valid and offset + length <= len(data)
        assert read_exactly(reader, offset, length) == (expected if inside else None)


@given(short_bytes, windows)
def test_bytes_in_memory_can_be_read_in_slices(data: bytes, window: tuple[int, int]) -> None:
    assert_reads_like(BytesContent(data), data, window)


@given(short_bytes, short_bytes, short_bytes, windows)
def test_a_slice_of_a_file_reads_no_byte_outside_of_it(
    before: bytes, data: bytes, after: bytes, window: tuple[int, int]
) -> None:
    fd = os.memfd_create("archive")
    try:
        os.write(fd, before + data + after)
        assert_reads_like(FileSlice(fd, len(before), len(data)), data, window)
    finally:
        os.close(fd)


def test_a_file_on_disk_reads_like_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(CHUNK) + b"the rest"
    path = tmp_path / "file"
    path.write_bytes(data)
    assert_reads_like(PathContent(path, len(data)), data, (CHUNK - 3, 20))


def open_refused(path: Path, size: int) -> str:
    with pytest.raises(BundleFixError) as refused, PathContent(path, size).open():
        pass
    assert refused.value.where == str(path)
    return refused.value.message


def test_a_file_that_has_changed_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert "changed while it was read" in open_refused(path, 4)


def test_a_symlink_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    (tmp_path / "file").symlink_to("secret")
    assert "cannot read" in open_refused(tmp_path / "file", 5)


def test_a_fifo_in_place_of_the_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    assert "changed" in open_refused(tmp_path / "file", 0)


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "changed" in open_refused(tmp_path, tmp_path.stat().st_size)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in open_refused(tmp_path / "file", 0)


def test_a_file_truncated_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    with (  # noqa: PT012
        pytest.raises(BundleFixError, match="file: the file changed while it was read"),
        PathContent(path, 10).open() as reader,
    ):
        os.truncate(path, 4)
        with pytest.raises(BundleFixError, match=r"lib/x\.so: the file became shorter"):
            list(read_chunks(reader, "lib/x.so"))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    os.utime(path, ns=(0, 0))
    with (
        pytest.raises(BundleFixError, match="file: the file changed while it was read"),
        PathContent(path, 10).open(),
    ):
        path.write_bytes(b"0123456789")


@pytest.mark.parametrize("change", ["written to", "replaced", "touched"])
def test_a_file_with_another_inode_or_mtime_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    os.utime(path, ns=(0, 0))
    content = make_path_content(path)
    if change == "replaced":
        (tmp_path / "other").write_bytes(bytes(10))
        os.utime(tmp_path / "other", ns=(0, 0))
        (tmp_path / "other").replace(path)
    elif change == "written to":
        path.write_bytes(b"0123456789")
    else:
        os.utime(path, ns=(0, 1))
    with pytest.raises(BundleFixError, match="changed while it was read"), content.open():
        pass
