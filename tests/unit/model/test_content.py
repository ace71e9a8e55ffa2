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
    Patch,
    PatchedContent,
    PathContent,
    FileSlice,
    has_same_bytes,
    make_path_content,
    read_chunks,
    read_exactly,
)
from bundle_fix.model.errors import BundleFixError

some_bytes = st.binary(max_size=60)
windows = st.tuples(st.integers(-5, 70), st.integers(-5, 70))


@st.composite
def patched(draw: st.DrawFn) -> tuple[bytes, tuple[Patch, ...], bytes]:
    """Bytes, patches over them, and the bytes with the patches made."""
    data = draw(some_bytes)
    edges = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    patches = tuple(Patch(a, draw(st.binary(min_size=b - a, max_size=b - a))) for a, b in pairs)
    after = bytearray(data)
    for patch in patches:
        after[patch.offset : patch.end] = patch.data
    return data, patches, bytes(after)


def assert_reads_like(content: Content, data: bytes, window: tuple[int, int]) -> None:
    offset, length = window
    honest = offset >= 0 and length >= 0
    expected = data[offset : offset + length] if honest else b""
    with content.open() as reader:
        assert content.size == reader.size == len(data)
        assert b"".join(read_chunks(reader)) == data
        assert reader.pread(offset, length) == expected
        whole = honest and offset + length <= len(data)
        assert read_exactly(reader, offset, length) == (expected if whole else None)


@given(some_bytes, windows)
def test_literal_bytes_read_like_a_slice(data: bytes, window: tuple[int, int]) -> None:
    assert_reads_like(BytesContent(data), data, window)


@given(some_bytes, some_bytes, some_bytes, windows)
def test_a_slice_of_a_file_ends_where_it_ends(
    before: bytes, data: bytes, behind: bytes, window: tuple[int, int]
) -> None:
    fd = os.memfd_create("archive")
    try:
        os.write(fd, before + data + behind)
        assert_reads_like(FileSlice(fd, len(before), len(data)), data, window)
    finally:
        os.close(fd)


@given(patched(), windows)
def test_patches_lie_over_the_bytes_they_replace(
    case: tuple[bytes, tuple[Patch, ...], bytes], window: tuple[int, int]
) -> None:
    data, patches, after = case
    assert_reads_like(PatchedContent(BytesContent(data), patches), after, window)


@given(patched(), patched())
def test_contents_are_the_same_when_their_bytes_are(
    one: tuple[bytes, tuple[Patch, ...], bytes], other: tuple[bytes, tuple[Patch, ...], bytes]
) -> None:
    content = PatchedContent(BytesContent(one[0]), one[1])
    assert has_same_bytes(content, BytesContent(one[2]))
    assert has_same_bytes(content, BytesContent(other[2])) == (one[2] == other[2])


def test_a_file_on_disk_reads_like_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(CHUNK) + b"the rest"
    path = tmp_path / "file"
    path.write_bytes(data)
    assert_reads_like(PathContent(path, len(data)), data, (CHUNK - 3, 20))


def refuses(path: Path, size: int) -> str:
    with pytest.raises(BundleFixError) as refused, PathContent(path, size).open():
        pass
    assert refused.value.where == str(path)
    return refused.value.message


def test_a_file_that_has_changed_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert "changed while it was read" in refuses(path, 4)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    (tmp_path / "file").symlink_to("secret")
    assert "cannot read" in refuses(tmp_path / "file", 5)


def test_a_fifo_in_the_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    assert "changed" in refuses(tmp_path / "file", 0)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "changed" in refuses(tmp_path, tmp_path.stat().st_size)


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refuses(tmp_path / "file", 0)


def test_a_file_cut_short_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    with (  # noqa: PT012
        pytest.raises(BundleFixError, match="file: the file changed while it was read"),
        PathContent(path, 10).open() as reader,
    ):
        os.truncate(path, 4)
        with pytest.raises(BundleFixError, match=r"lib/x\.so: the file became shorter"):
            list(read_chunks(reader, "lib/x.so"))


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    os.utime(path, ns=(0, 0))
    with (
        pytest.raises(BundleFixError, match="file: the file changed while it was read"),
        PathContent(path, 10).open(),
    ):
        path.write_bytes(b"0123456789")


@pytest.mark.parametrize("how", ["written to", "replaced", "stamped"])
def test_a_file_that_is_not_the_one_that_was_seen_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    os.utime(path, ns=(0, 0))
    content = make_path_content(path)
    if how == "replaced":
        (tmp_path / "other").write_bytes(bytes(10))
        os.utime(tmp_path / "other", ns=(0, 0))
        (tmp_path / "other").replace(path)
    elif how == "written to":
        path.write_bytes(b"0123456789")
    else:
        os.utime(path, ns=(0, 1))
    with pytest.raises(BundleFixError, match="changed while it was read"), content.open():
        pass
