"""Changes to bytes that look for trouble: extremes in numbers, blocks out of place, cut ends."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Mapping

BLOCK = 512
EXTREMES = (
    b"\0", b"\xff", b"\x80", b"\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f",
    b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\xfe" + b"\xff" * 7, b"\0" * 8, b"77777777777\0",
    b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, b"-1", b"../", b"/", b"\n", b"\x1b[2J", b"$ORIGIN",
    b"\xe2\x80\xae", b"%s" * 4, b"9" * 20, b"g", b"S", b"x", b"2", b"1", b"5", b"D",
)  # fmt: skip

Mutate = Callable[[random.Random, bytearray], None]


def _bytes(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at] = rng.randrange(256)


def _extreme(rng: random.Random, data: bytearray) -> None:
    piece = rng.choice(EXTREMES)
    at = rng.randrange(len(data))
    data[at : at + len(piece)] = piece


def _step(rng: random.Random, data: bytearray) -> None:
    """A number one off, or doubled: of 2, 4 or 8 bytes, at a place where numbers are."""
    size, code = rng.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
    at = rng.randrange(max(1, len(data) // size)) * size
    if at + size <= len(data):
        (number,) = struct.unpack_from(code, data, at)
        changed = rng.choice((number + 1, number - 1, number * 2, number // 2, ~number))
        struct.pack_into(code, data, at, changed % (1 << 8 * size))


def _head(rng: random.Random, data: bytearray) -> None:
    """As `_step`, near the start, where ELF and RPM have their headers."""
    head = data[:2048]
    _step(rng, head)
    data[: len(head)] = head


def _block(rng: random.Random, data: bytearray) -> None:
    """A block removed, repeated, or swapped with another one."""
    count = max(1, len(data) // BLOCK)
    one, other = (rng.randrange(count) * BLOCK for _ in range(2))
    kind = rng.randrange(3)
    if kind == 0:
        del data[one : one + BLOCK]
    elif kind == 1:
        data[one:one] = data[other : other + BLOCK]
    else:
        first, second = data[one : one + BLOCK], data[other : other + BLOCK]
        if len(first) == len(second):
            data[one : one + BLOCK], data[other : other + BLOCK] = second, first


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def _tail(rng: random.Random, data: bytearray) -> None:
    """As `_extreme`, near the end, where zip has its directory."""
    tail = data[-700:]
    _extreme(rng, tail)
    data[-700:] = tail


MUTATIONS: tuple[Mutate, ...] = (
    _bytes, _bytes, _extreme, _extreme, _step, _step, _head, _head, _tail, _block, _cut,
)  # fmt: skip


def mutated(rng: random.Random, data: bytes) -> bytes:
    """``data`` with one to four changes; the checksums of tar headers are made right again."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if changed:
            rng.choice(MUTATIONS)(rng, changed)
    if rng.random() < 0.9:
        repair(changed)
    return bytes(changed)


def mutant(rng: random.Random, kinds: Mapping[str, bytes], kind: str) -> bytes:
    """A mutated artifact of one kind; what is compressed is mostly mutated before it is."""
    if kind == "tar.gz" and rng.random() < 0.8:
        return gzip.compress(mutated(rng, kinds["gnu.tar"]), 1)
    return mutated(rng, kinds[kind])


def repair(data: bytearray) -> None:
    """Make the checksum right of every block that says it is a header of a tarball."""
    at = data.find(b"ustar", 257)
    while at >= 0:
        start = at - 257
        if start % BLOCK in (0, 68 % BLOCK, 132 % BLOCK) and start + BLOCK <= len(data):
            block = data[start : start + BLOCK]
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
        at = data.find(b"ustar", at + 1)
