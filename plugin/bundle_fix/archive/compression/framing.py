"""Formats whose pieces are encoded at once: gzip of one member, xz of one stream, members of zips.

Readers are many that take the end of the first gzip member, or xz stream, for the end of the file
(Python's tarfile on a pipe, Java's commons-compress), so there is but one.

Sources: RFC 1952 (gzip), the .xz file format 1.2.1.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator, Sequence
from struct import Struct

from bundle_fix.archive.compression.deflate_blocks import deflated
from bundle_fix.archive.compression.parallel import Encoded, Framing, Piece

GZIP_PIECE = 4 << 20
GZIP_START = b"\x1f\x8b\x08\0" + bytes(4) + b"\0\x03"
"""Deflate, no name, no time, the level not told, Unix."""
GZIP_END = Struct("<II")

XZ_PIECE = 16 << 20
XZ_PRESET = 6
XZ_THREADS = 4
"""Each needs about 100 MB (xz(1), ``--memlimit``)."""
XZ_FLAGS = b"\0\x04"
"""Blocks end with a CRC64."""
XZ_HEADER = 12
"""Bytes of a stream's header, and of its footer."""
XZ_FOOTER = Struct("<I2s2s")
INDICATOR = b"\0"
"""What an index starts with."""


def _gzip_piece(data: bytes, last: bool) -> Encoded:
    packed = deflated(data, last)
    return Encoded(packed, len(packed))


def _gzip_end(crc: int, pieces: Sequence[Piece]) -> bytes:
    return GZIP_END.pack(crc, sum(piece.size for piece in pieces) & 0xFFFFFFFF)


def _xz_piece(data: bytes, _last: bool) -> Encoded:
    """The one block of a stream of its own, and its size without padding."""
    if not data:
        return Encoded(b"", 0)
    stream = lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC64, XZ_PRESET)
    backward = int.from_bytes(stream[-8:-4], "little")
    index = len(stream) - XZ_HEADER - (backward + 1) * 4
    _, unpadded = _numbers(stream[index + len(INDICATOR) :], 2)
    return Encoded(stream[XZ_HEADER:index], unpadded)


def _xz_end(_crc: int, pieces: Sequence[Piece]) -> bytes:
    blocks = [piece for piece in pieces if piece.size]
    sizes = b"".join(_number(p.counted) + _number(p.size) for p in blocks)
    index = INDICATOR + _number(len(blocks)) + sizes
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    footer = XZ_FOOTER.pack(len(index) // 4 - 1, XZ_FLAGS, b"YZ")
    return index + zlib.crc32(footer[:-2]).to_bytes(4, "little") + footer


def _number(value: int) -> bytes:
    """A multibyte integer: seven bits a byte, the lowest first; the last byte's high bit is 0."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _numbers(data: bytes, count: int) -> Iterator[int]:
    """The first ``count`` multibyte integers of ``data``."""
    at = 0
    for _ in range(count):
        value = shift = 0
        while data[at] & 0x80:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        yield value | data[at] << shift
        at += 1


DEFLATE = Framing(GZIP_PIECE, b"", _gzip_piece, lambda _crc, _pieces: b"")
"""A stream without anything around it, as it stands in zip archives."""
GZIP = Framing(GZIP_PIECE, GZIP_START, _gzip_piece, _gzip_end)
XZ = Framing(
    XZ_PIECE,
    b"\xfd7zXZ\0" + XZ_FLAGS + zlib.crc32(XZ_FLAGS).to_bytes(4, "little"),
    _xz_piece,
    _xz_end,
    XZ_THREADS,
)
