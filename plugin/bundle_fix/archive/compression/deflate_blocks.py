"""Pieces of one deflate stream (RFC 1951), each made without the others, and so on any thread.

libdeflate compresses two to three times as fast as zlib-ng does to the same size, but only whole
streams: the last block of each says that it is the last. For a piece that others follow, that one
bit is cleared and the stream led to the end of a byte. The bit is found by the way in which a
decompressor takes the stream: for the whole of a block's table of codes it puts nothing out, and
behind each symbol something. Where it is not found, zlib-ng, which can stop anywhere, makes the
piece.

Nothing of this is believed: what is handed on has given the same bytes again, and then went on.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from itertools import groupby, product
from typing import Any, NamedTuple

import deflate
from isal import isal_zlib
from zlib_ng import zlib_ng

from bundle_fix.model.errors import BundleFixError

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
SPAN = 1 << 19
"""Bytes that are compressed alike."""
SAMPLE = 1 << 12
SAMPLES = 2
DENSE = 0.9
"""The ratio of samples from which on a span counts as compressed already."""
TEXT = 0.05
"""The share of bytes that are not ASCII up to which a span counts as text."""
ASCII = bytes(range(128))
STRIDE = 1 << 15
"""Bytes of a stream that are taken apart at a time, and in which its last block is looked for."""
MARKS = 16
"""How many of these there are at the end in which it may begin."""
TABLE = 1 << 9
"""Bytes that a block's table of codes has at most."""
STEPS = (32, 12)
"""Bytes that give no output only in a table of codes, as a symbol has at most 48 bits; most tables
have so many that the larger step meets one, at a third of the calls."""
EMPTY_BLOCK = b"\0\0\xff\xff"
"""A stored block without bytes, behind its three bits of header."""
LAST_BLOCK = b"\3\0"
"""An empty last block."""
LAST_WITH_TABLE = 0b101
"""The header of a last block that has a table of codes of its own, its first bit lowest."""
WRONG: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # its stub says less


class _Mark(NamedTuple):
    """A place in a stream, what it has given up to there, and what will take it from there on."""

    at: int
    done: int
    decompressor: Any


def deflated(data: bytes, last: bool) -> bytes:
    """``data`` as deflate blocks that end with a byte; the ``last`` ones end the stream.

    The result depends on the arguments alone.
    """
    parts = [_run(run, level) for run, level in _runs(data)]
    return b"".join(parts) + LAST_BLOCK * last


def _runs(data: bytes) -> Iterator[tuple[memoryview, int]]:
    """``data`` cut where it begins or ends to be dense, with libdeflate's level, or 0: dense."""
    view = memoryview(data)
    starts = range(0, len(view), SPAN)
    levels = [_level(view[at : at + SPAN]) for at in starts]
    # Text among code is not worth a cut: each costs the search for a last block.
    level = max(CODE_LEVEL, TEXT_LEVEL, key=levels.count)
    for dense, spans in groupby(starts, lambda at: not levels[at // SPAN]):
        run = list(spans)
        yield view[run[0] : run[-1] + SPAN], 0 if dense else level


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
    stream = bytes(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))
    if not _gives(stream, zlib_ng.decompressobj(RAW), bytes(data)):
        raise BundleFixError(
            "what was compressed does not give the same bytes again",
            hint="the machine's memory may be failing",
        )
    return stream


def _continued(stream: bytes, data: memoryview) -> bytes | None:
    """A whole stream made one that others can follow; None where its last block is not found."""
    decompressor: Any = zlib_ng.decompressobj(RAW)
    marks: deque[_Mark] = deque(maxlen=MARKS)
    done = 0
    for start in range(0, len(stream), STRIDE):
        marks.append(_Mark(start, done, decompressor.copy()))
        found = decompressor.decompress(stream[start : start + STRIDE])
        if found != bytes(data[done : done + len(found)]):
            return None
        done += len(found)
    for step, mark in product(STEPS, reversed(marks)):
        rest = bytes(data[mark.done :])
        for bit in _candidates(stream[mark.at : mark.at + STRIDE + TABLE], mark, step):
            changed = bytearray(stream[mark.at :])
            changed[bit >> 3] ^= 1 << (bit & 7)
            # The three bits of the empty block's header are zeros, as those that fill the last
            # byte are: whether there are as many of them only the decompressor knows.
            for filled in (bytes(changed) + EMPTY_BLOCK, bytes(changed) + b"\0" + EMPTY_BLOCK):
                if _gives(filled, mark.decompressor.copy(), rest):
                    return stream[: mark.at] + filled
    return None


def _candidates(part: bytes, mark: _Mark, step: int) -> Iterator[int]:
    """The bits behind ``mark`` that may be what says that the last block is the last."""
    decompressor = mark.decompressor.copy()
    table, quiet = None, False
    for at in range(0, len(part) - step, step):
        was_quiet, quiet = quiet, not decompressor.decompress(part[at : at + step])
        if quiet and not was_quiet:
            table = at
    if table is None:
        return
    start = max(table - step, 0)
    decompressor = mark.decompressor.copy()
    decompressor.decompress(part[:start])
    speaking = start - 1
    for at in range(start, table + step):
        if decompressor.decompress(part[at : at + 1]):
            speaking = at
    # Behind the last symbol in that byte come at most 15 bits, the code for a block's end.
    first = max(speaking, 0) * 8
    bits = int.from_bytes(part[first >> 3 : (first >> 3) + 5], "little")
    yield from (first + n for n in range(24) if bits >> n & 0b111 == LAST_WITH_TABLE)


def _gives(tail: bytes, decompressor: Any, data: bytes) -> bool:
    """Whether a decompressor makes ``data`` of ``tail``, and then goes on to what follows."""
    try:
        found = decompressor.decompress(tail + LAST_BLOCK)
    except WRONG:
        return False
    return bool(decompressor.eof and not decompressor.unused_data and found == data)
