"""Compressed files with several streams, padding, extra fields, or garbage after them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import time
import zlib
from pathlib import Path

import pytest

from bundle_fix.archive.compression import multistream
from bundle_fix.archive.compression.codecs import get_compression
from bundle_fix.archive.compression.spool import decompress_file
from bundle_fix.model.errors import BundleFixError


def make_tarball() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(60):
            info = tarfile.TarInfo(f"pack/{number}")
            info.size = 40_000
            archive.addfile(info, io.BytesIO(os.urandom(20_000) + bytes(20_000)))
    return stream.getvalue()


RAW = make_tarball()
HALF = len(RAW) // 2 + 77
PARTS = (RAW[:HALF], RAW[HALF:])
SKIPPED = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"


def compress_zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", *options], input=data, capture_output=True, check=True).stdout


def deflate_raw(data: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def make_member_with_all_fields() -> bytes:
    """A gzip member with an extra field, a name, a comment and a checksum of its header."""
    head = b"\x1f\x8b\x08\x1e" + bytes(4) + b"\0\3" + struct.pack("<H", 6) + b"AB\2\0\1\2"
    head += b"name\0comment\0"
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + deflate_raw(RAW) + struct.pack("<II", zlib.crc32(RAW), len(RAW))


def compress_like_bgzip() -> bytes:
    """Blocks of 64 kB, each a member that records its size, as htslib's bgzip writes them."""
    out = b""
    for at in range(0, len(RAW), 60_000):
        piece = RAW[at : at + 60_000]
        data = deflate_raw(piece)
        out += b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff" + struct.pack("<H", 6) + b"BC\2\0"
        out += struct.pack("<H", len(data) + 25) + data
        out += struct.pack("<II", zlib.crc32(piece), len(piece))
    return out + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


GOOD = {
    "gz, two members": b"".join(map(gzip.compress, PARTS)),
    "gz, an empty member": gzip.compress(b"") + gzip.compress(RAW) + gzip.compress(b""),
    "gz, all fields": make_member_with_all_fields(),
    "gz, bgzip": compress_like_bgzip(),
    "gz, zeros at the end": gzip.compress(RAW) + bytes(1000),
    "gz, garbage at the end": gzip.compress(RAW) + b"what gzip ignores",
    "xz, two streams": b"".join(map(lzma.compress, PARTS)),
    "xz, padding at the end": lzma.compress(RAW) + bytes(8),
    "xz, padding between": lzma.compress(PARTS[0]) + bytes(4) + lzma.compress(PARTS[1]),
    "xz, an empty stream": lzma.compress(b"") + lzma.compress(RAW),
    "lzma": lzma.compress(RAW, format=lzma.FORMAT_ALONE),
    "bz2, two streams": b"".join(map(bz2.compress, PARTS)),
    "bz2, garbage at the end": bz2.compress(RAW) + b"what bzip2 ignores",
    "zst, two frames": b"".join(map(compress_zstd, PARTS)),
    "zst, frames to skip": SKIPPED
    + compress_zstd(PARTS[0])
    + SKIPPED
    + compress_zstd(PARTS[1])
    + SKIPPED,
    "zst, a window of 2 GiB": compress_zstd(RAW, "--long=31"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_files_that_the_tools_accept_are_decompressed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(GOOD[kind])
    with decompress_file(tmp_path / "a") as file:
        assert file.read() == RAW


BAD = {
    "gz, half a member at the end": gzip.compress(RAW) + gzip.compress(RAW)[:500],
    "gz, a bad CRC": gzip.compress(RAW)[:-8] + bytes(8),
    "xz, padding of three bytes": lzma.compress(RAW) + bytes(3),
    "xz, garbage at the end": lzma.compress(RAW) + b"garbage at end!!",
    "xz, half a stream at the end": lzma.compress(RAW) + lzma.compress(RAW)[:500],
    "zst, garbage at the end": compress_zstd(RAW) + b"garbage",
    "bz2, half a stream": bz2.compress(RAW)[:5000],
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_the_tools_refuse_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(BAD[kind])
    with pytest.raises(BundleFixError, match=r"truncated|damaged"), decompress_file(tmp_path / "a"):
        pass


FEW = os.urandom(3000)
SPLIT = FEW[:1000], FEW[1000:]
PACKED = {
    ".xz": lzma.compress(SPLIT[0]) + bytes(12) + lzma.compress(SPLIT[1]) + bytes(4),
    ".bz2": b"".join(map(bz2.compress, SPLIT)) + b"ignored",
    ".zst": SKIPPED + b"".join(map(compress_zstd, SPLIT)) + SKIPPED,
    ".lzma": lzma.compress(FEW, format=lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("suffix", PACKED)
def test_streams_are_read_in_pieces_of_any_size(suffix: str, size: int) -> None:
    compression = get_compression(suffix)
    assert compression is not None
    with compression.reader(io.BytesIO(PACKED[suffix])) as stream:
        assert b"".join(iter(lambda: stream.read(size), b"")) == FEW


EMPTY = {
    "xz": lzma.compress(b""), "bz2": bz2.compress(b""), "zst": compress_zstd(b""),
    "zst, one byte": compress_zstd(b"x"), "zst, to skip": b"\x50\x2a\x4d\x18" + bytes(4),
}  # fmt: skip


@pytest.mark.parametrize("kind", EMPTY)
def test_too_many_empty_streams_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(EMPTY[kind] * 9_000)
    with decompress_file(tmp_path / "a") as file:
        assert len(file.read()) in (0, 9_000)
    (tmp_path / "a").write_bytes(EMPTY[kind] * 500_000)
    start = time.process_time()
    with (
        pytest.raises(BundleFixError, match="more than 10000 streams, which have"),
        decompress_file(tmp_path / "a"),
    ):
        pass
    assert time.process_time() - start < 5


def test_many_small_streams_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bz2.compress(bytes(64)) * 12_000)
    with decompress_file(tmp_path / "a") as file:
        assert len(file.read()) == 64 * 12_000


LARGE = bytes(300_000) + os.urandom(1000)
"""More bytes than the memory limit in the test below."""
WIDE = {
    # A dictionary, and windows, of 1.5 GiB.
    "lzma": lzma.compress(LARGE, format=lzma.FORMAT_ALONE)[:1]
    + b"\0\0\0\x60"
    + lzma.compress(LARGE, format=lzma.FORMAT_ALONE)[5:],
    "zst": compress_zstd(LARGE, "--long=31"),
    "zst, the second frame": compress_zstd(b"x") + compress_zstd(LARGE, "--long=31"),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_window_that_exceeds_the_memory_limit_is_refused_when_it_fills(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(WIDE[kind])
    with decompress_file(tmp_path / "a") as file:
        assert file.read().endswith(LARGE)
    monkeypatch.setattr(multistream, "MAX_MEMORY", 1 << 18)
    with (
        pytest.raises(BundleFixError, match="takes more than 0 MiB of memory"),
        decompress_file(tmp_path / "a"),
    ):
        pass
    narrow = compress_zstd(bytes(200_000)) + compress_zstd(bytes(200_000))
    (tmp_path / "a").write_bytes(narrow)
    with decompress_file(tmp_path / "a") as file:
        assert len(file.read()) == 400_000
