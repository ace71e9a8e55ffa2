"""Pieces of one deflate stream (RFC 1951), each made without the others, and so on any thread.

libdeflate compresses two to three times as fast as zlib-ng does to the same size, but only whole
streams: the last block of each says that it is the last. For a piece that others follow, that one
bit is cleared and the stream led to the end of a byte. The bit is found by the way in which a
decompressor takes the stream: for the whole of a block's table of codes it puts nothing out, and
behind each symbol something. That it was the right bit is not believed: what has been changed must
give the same bytes again, and then go on. Else zlib-ng, which can stop anywhere, makes the piece.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import product
from typing import Any

import deflate
from isal import isal_zlib
from zlib_ng import zlib_ng

CODE_LEVEL = 5
"""libdeflate's level that makes machine code a little smaller than ``gzip -6`` does."""
TEXT_LEVEL = 6
"""The same for text, where the level before is up to 4% worse."""
DENSE_LEVEL = 2
"""isal's level for what hardly gets smaller, such as jars: four times as fast there."""
OTHER_LEVEL = 7
"""zlib-ng's level where libdeflate's stream cannot be continued."""
RAW = -15
"""A window of 32 KiB, without a header."""
SPAN = 1 << 18
"""Bytes that are compressed alike."""
SAMPLE = 1 << 12
SAMPLES = 2
DENSE = 0.9
"""The ratio of samples from which on a span counts as compressed already."""
TEXT = 0.05
"""The share of bytes that are not ASCII up to which a span counts as text."""
ASCII = bytes(range(128))
TAILS = (1 << 13, 1 << 16, 1 << 19)
"""Bytes at the end of a stream in which its last block is looked for."""
STEPS = (32, 12)
"""Bytes that give no output only in a table of codes, as a symbol has at most 48 bits; most tables
have so many that the larger step meets one, at a third of the calls."""
EMPTY_BLOCK = b"\0\0\xff\xff"
"""A stored block without bytes, behind its three bits of header."""
LAST_BLOCK = b"\3\0"
"""An empty last block."""
PREFETCH = 1 << 15
LAST_WITH_TABLE = 0b101
"""The header of a last block that has a table of codes of its own, its first bit lowest."""
WRONG: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # its stub says less


def deflated(data: bytes, last: bool) -> bytes:
    """``data`` as deflate blocks that end with a byte; the ``last`` ones end the stream.

    The result depends on the arguments alone.
    """
    parts = [_run(run, level) for run, level in _runs(data)]
    return b"".join(parts) + LAST_BLOCK * last


def _runs(data: bytes) -> Iterator[tuple[memoryview, int]]:
    """``data`` cut where its nature changes, each run with libdeflate's level, or 0: dense."""
    view = memoryview(data)
    start = level = 0
    for at in range(0, len(view), SPAN):
        now = _level(view[at : at + SPAN])
        if now != level and at > start:
            yield view[start:at], level
            start = at
        level = now
    if start < len(view):
        yield view[start:], level


def _level(span: memoryview) -> int:
    gap = len(span) // SAMPLES
    starts = range(gap // SAMPLES, len(span), gap or 1)
    samples = [bytes(span[at : at + SAMPLE]) for at in starts]
    size = sum(map(len, samples))
    packed = sum(len(deflate.deflate_compress(sample, 1)) for sample in samples)
    if size >= SAMPLE and packed >= DENSE * size:
        return 0
    others = sum(len(sample.translate(None, ASCII)) for sample in samples)
    return TEXT_LEVEL if others <= TEXT * size else CODE_LEVEL


def _run(data: memoryview, level: int) -> bytes:
    if not level:
        return _flushed(isal_zlib.compressobj(DENSE_LEVEL, zlib.DEFLATED, RAW), data)
    stream = bytes(deflate.deflate_compress(data, level))
    return _continued(stream, data) or _flushed(
        zlib_ng.compressobj(OTHER_LEVEL, zlib.DEFLATED, RAW), data
    )


def _flushed(compressor: Any, data: memoryview) -> bytes:
    return bytes(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))


def _continued(stream: bytes, data: memoryview) -> bytes | None:
    """A whole stream made one that others can follow; None where its last block is not found."""
    decompressor: Any = zlib_ng.decompressobj(RAW)
    at = done = 0
    marks = []
    for tail in reversed(TAILS):
        start = max(len(stream) - tail, 0)
        for piece in range(at, start, PREFETCH):
            done += len(decompressor.decompress(stream[piece : min(piece + PREFETCH, start)]))
        at = start
        marks.append((start, decompressor.copy(), done))
    for step, (start, mark, done) in product(STEPS, reversed(marks)):
        end, rest = stream[start:], bytes(data[done:])
        for bit in _candidates(end, mark, step):
            changed = bytearray(end)
            changed[bit >> 3] ^= 1 << (bit & 7)
            # The three bits of the empty block's header are zeros, as those that fill the last
            # byte are: whether there are as many of them only the decompressor knows.
            for filled in (bytes(changed) + EMPTY_BLOCK, bytes(changed) + b"\0" + EMPTY_BLOCK):
                if _gives(filled, mark, rest):
                    return stream[:start] + filled
    return None


def _candidates(tail: bytes, mark: Any, step: int) -> Iterator[int]:
    """The bits of ``tail`` that may be what says that the last block is the last."""
    decompressor = mark.copy()
    table, quiet = None, False
    for at in range(0, len(tail) - step, step):
        was_quiet, quiet = quiet, not decompressor.decompress(tail[at : at + step])
        if quiet and not was_quiet:
            table = at
    if table is None:
        return
    start = max(table - step, 0)
    decompressor = mark.copy()
    decompressor.decompress(tail[:start])
    speaking = start - 1
    for at in range(start, table + step):
        if decompressor.decompress(tail[at : at + 1]):
            speaking = at
    # Behind the last symbol in that byte come at most 15 bits, the code for a block's end.
    first = max(speaking, 0) * 8
    bits = int.from_bytes(tail[first >> 3 : (first >> 3) + 5], "little")
    yield from (first + n for n in range(24) if bits >> n & 0b111 == LAST_WITH_TABLE)


def _gives(tail: bytes, mark: Any, data: bytes) -> bool:
    """Whether a decompressor makes ``data`` of ``tail``, and then goes on to what follows."""
    decompressor = mark.copy()
    try:
        found = decompressor.decompress(tail + LAST_BLOCK)
    except WRONG:
        return False
    return bool(decompressor.eof and not decompressor.unused_data and found == data)
