"""Compressed files of several streams, with padding, extra fields, or something behind them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest

from bundle_fix.artifacts.compression import unpacked
from bundle_fix.artifacts.xz_streams import XzStreams
from bundle_fix.errors import BundleFixError


def tarball() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(60):
            info = tarfile.TarInfo(f"pack/{number}")
            info.size = 40_000
            archive.addfile(info, io.BytesIO(os.urandom(20_000) + bytes(20_000)))
    return stream.getvalue()


RAW = tarball()
HALF = len(RAW) // 2 + 77
PARTS = (RAW[:HALF], RAW[HALF:])
SKIPPED = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"


def zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", *options], input=data, capture_output=True, check=True).stdout


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def with_all_fields() -> bytes:
    """A gzip member with an extra field, a name, a comment and a checksum of its header."""
    head = b"\x1f\x8b\x08\x1e" + bytes(4) + b"\0\3" + struct.pack("<H", 6) + b"AB\2\0\1\2"
    head += b"name\0comment\0"
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + deflated(RAW) + struct.pack("<II", zlib.crc32(RAW), len(RAW))


def bgzip() -> bytes:
    """Blocks of 64 kB, each a member that tells its size, as htslib's bgzip writes them."""
    out = b""
    for at in range(0, len(RAW), 60_000):
        piece = RAW[at : at + 60_000]
        data = deflated(piece)
        out += b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff" + struct.pack("<H", 6) + b"BC\2\0"
        out += struct.pack("<H", len(data) + 25) + data
        out += struct.pack("<II", zlib.crc32(piece), len(piece))
    return out + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


GOOD = {
    "gz, two members": b"".join(map(gzip.compress, PARTS)),
    "gz, an empty member": gzip.compress(b"") + gzip.compress(RAW) + gzip.compress(b""),
    "gz, all fields": with_all_fields(),
    "gz, bgzip": bgzip(),
    "gz, zeros behind": gzip.compress(RAW) + bytes(1000),
    "gz, garbage behind": gzip.compress(RAW) + b"what gzip ignores",
    "xz, two streams": b"".join(map(lzma.compress, PARTS)),
    "xz, padding behind": lzma.compress(RAW) + bytes(8),
    "xz, padding between": lzma.compress(PARTS[0]) + bytes(4) + lzma.compress(PARTS[1]),
    "xz, an empty stream": lzma.compress(b"") + lzma.compress(RAW),
    "lzma": lzma.compress(RAW, format=lzma.FORMAT_ALONE),
    "bz2, two streams": b"".join(map(bz2.compress, PARTS)),
    "bz2, garbage behind": bz2.compress(RAW) + b"what bzip2 ignores",
    "zst, two frames": b"".join(map(zstd, PARTS)),
    "zst, frames to skip": SKIPPED + zstd(PARTS[0]) + SKIPPED + zstd(PARTS[1]) + SKIPPED,
    "zst, a window of 2 GiB": zstd(RAW, "--long=31"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_the_tools_unpack_is_unpacked(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(GOOD[kind])
    with unpacked(tmp_path / "a") as file:
        assert file.read() == RAW


BAD = {
    "gz, half a member behind": gzip.compress(RAW) + gzip.compress(RAW)[:500],
    "gz, a bad CRC": gzip.compress(RAW)[:-8] + bytes(8),
    "xz, padding of three bytes": lzma.compress(RAW) + bytes(3),
    "xz, garbage behind": lzma.compress(RAW) + b"garbage behind!!",
    "xz, half a stream behind": lzma.compress(RAW) + lzma.compress(RAW)[:500],
    "zst, garbage behind": zstd(RAW) + b"garbage",
    "bz2, half a stream": bz2.compress(RAW)[:5000],
}


@pytest.mark.parametrize("kind", BAD)
def test_what_the_tools_refuse_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(BAD[kind])
    with pytest.raises(BundleFixError, match=r"cut short|damaged"), unpacked(tmp_path / "a"):
        pass


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_xz_streams_are_read_in_pieces_of_any_size(size: int) -> None:
    data = os.urandom(3000)
    packed = lzma.compress(data[:1000]) + bytes(12) + lzma.compress(data[1000:]) + bytes(4)
    with XzStreams(io.BytesIO(packed)) as stream:
        assert b"".join(iter(lambda: stream.read(size), b"")) == data
