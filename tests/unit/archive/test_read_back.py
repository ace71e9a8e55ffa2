"""Archives that are read back while they are written, on disks that fail."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from archive.writers import write_tree
from bundle_fix.archive import read_back
from bundle_fix.archive.compression.codecs import COMPRESSIONS, Compression
from bundle_fix.archive.read_back import ReadBack
from bundle_fix.archive.tar.concatenation import Concatenation
from bundle_fix.model.content import ArchiveSlice, BytesContent, PathContent, Reader
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Tree

NOISE = os.urandom(3_000_000)
with_each_compression = pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: c.suffix)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


@with_each_compression
def test_the_bytes_on_the_disk_are_compared(fd: int, compression: Compression) -> None:
    with ReadBack(fd, compression.reader, "x") as back:
        with compression.writer(back) as stream:  # type: ignore[arg-type]
            for start in range(0, len(NOISE), 500_000):
                stream.write(NOISE[start : start + 500_000])
        back.compare(len(NOISE), isal_zlib.crc32(NOISE))


@with_each_compression
@pytest.mark.parametrize("wrong", ["a byte", "the end"])
def test_compressed_bytes_that_differ_on_the_disk_are_reported(
    fd: int, compression: Compression, wrong: str
) -> None:
    with (  # noqa: PT012
        pytest.raises(BundleFixError, match="x: the bytes on the disk differ from those written"),
        ReadBack(fd, compression.reader, "x") as back,
    ):
        with compression.writer(SpoilingWriter(back, wrong)) as stream:  # type: ignore[arg-type]
            stream.write(NOISE)
        back.compare(len(NOISE), isal_zlib.crc32(NOISE))


def test_uncompressed_bytes_are_compared(fd: int) -> None:
    with ReadBack(fd, None, "x") as back:
        back.write(NOISE)
        back.write(NOISE)
        back.compare(2 * len(NOISE), isal_zlib.crc32(NOISE + NOISE))


@pytest.mark.parametrize("wrong", ["a byte", "the end"])
def test_uncompressed_bytes_that_differ_on_the_disk_are_reported(
    fd: int, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv

    def read_spoiled(fd: int, buffers: list[memoryview], offset: int) -> int:
        done = real(fd, buffers, offset)
        if wrong == "a byte" and offset == 0:
            buffers[0][9] ^= 1
        return 0 if wrong == "the end" and offset > 0 else done

    monkeypatch.setattr(os, "preadv", read_spoiled)
    with (  # noqa: PT012
        pytest.raises(BundleFixError, match="x: the bytes on the disk differ from those written"),
        ReadBack(fd, None, "x") as back,
    ):
        for start in range(0, len(NOISE), 500_000):
            back.write(NOISE[start : start + 500_000])
        back.compare(len(NOISE), isal_zlib.crc32(NOISE))


def test_an_error_of_fdatasync_is_raised(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotas and network file systems may report a full disk only when bytes are flushed."""

    def raise_disk_full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdatasync", raise_disk_full)
    monkeypatch.setattr(read_back, "FLUSH_INTERVAL", 1 << 20)
    with pytest.raises(OSError, match="No space left"), ReadBack(fd, None, "x") as back:  # noqa: PT012
        back.write(NOISE)
        back.compare(len(NOISE), isal_zlib.crc32(NOISE))


class SpoilingWriter:
    """A disk with a bad block: it changes one byte of the written bytes or drops their end."""

    def __init__(self, back: ReadBack, wrong: str) -> None:
        self.back, self.wrong, self.size = back, wrong, 0

    def write(self, data: bytes) -> int:
        data = bytes(data)
        if self.wrong == "a byte" and self.size <= 1000 < self.size + len(data):
            at = 1000 - self.size
            self.back.write(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        elif self.wrong == "the end" and self.size + len(data) > 2_000_000:
            self.back.write(data[: max(2_000_000 - self.size, 0)])
        else:
            self.back.write(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def test_the_reader_ends_if_the_writer_fails(fd: int) -> None:
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt), ReadBack(fd, COMPRESSIONS[0].reader, "x") as back:  # noqa: PT012
        back.write(b"\x1f\x8b")
        raise KeyboardInterrupt
    assert threading.active_count() == threads


def test_a_file_that_changes_while_it_is_packed_leaves_no_output(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NOISE)
    status = (tmp_path / "source").stat()

    class ChangingContent(PathContent, frozen=True):
        """A file that a build writes again before it is read."""

        @contextmanager
        def open(self) -> Iterator[Reader]:
            self.path.write_bytes(NOISE[::-1])
            os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            with PathContent.open(self) as reader:
                yield reader

    identity = status.st_ino, status.st_mtime_ns
    content = ChangingContent(tmp_path / "source", status.st_size, identity)
    tree = Tree({"f": File(content, Metadata(0o644))})
    with pytest.raises(BundleFixError, match=r"source: the file changed while it was read"):
        write_tree(tree, "tar.gz", tmp_path / "out.tar.gz")
    assert not (tmp_path / "out.tar.gz").exists()


@given(
    st.lists(st.binary(max_size=30), min_size=1, max_size=8),
    st.integers(-2, 250),
    st.integers(-2, 250),
)
def test_a_concatenation_is_read_like_its_joined_bytes(
    parts: list[bytes], offset: int, length: int
) -> None:
    whole = b"".join(parts)
    reader = Concatenation([BytesContent(part) for part in parts])
    assert reader.size == len(whole)
    expected = whole[offset : offset + length] if offset >= 0 and length > 0 else b""
    assert reader.pread(offset, length) == expected
    start, size = max(offset, 0) % (len(whole) + 1), max(length, 0)
    size = min(size, len(whole) - start)
    with ArchiveSlice(reader, start, size).open() as part:
        assert part.size == size
        assert part.pread(0, size + 9) == whole[start : start + size]
        assert part.pread(size // 2, 5) == whole[start : start + size][size // 2 :][:5]
