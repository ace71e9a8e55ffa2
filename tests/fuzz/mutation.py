"""Mutations of bytes: extreme numbers, moved blocks, truncation."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Mapping

BLOCK = 512
GZIP_MAGIC = b"\x1f\x8b\x08\0"
GZIP_PAYLOADS = ("rpm", "v6.rpm")
"""Kinds that end with a payload of gzip, which is usually mutated before compression."""
EXTREMES = (
    b"\0", b"\xff", b"\x80", b"\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f",
    b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\xfe" + b"\xff" * 7, b"\0" * 8, b"77777777777\0",
    b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, b"-1", b"../", b"/", b"\n", b"\x1b[2J", b"$ORIGIN",
    b"\xe2\x80\xae", b"%s" * 4, b"9" * 20, b"g", b"S", b"x", b"2", b"1", b"5", b"D",
)  # fmt: skip

Mutate = Callable[[random.Random, bytearray], None]


def _set_byte(rng: random.Random, data: bytearray) -> None:
    offset = rng.randrange(len(data))
    data[offset] = rng.randrange(256)


def _insert_extreme(rng: random.Random, data: bytearray) -> None:
    extreme = rng.choice(EXTREMES)
    offset = rng.randrange(len(data))
    data[offset : offset + len(extreme)] = extreme


def _change_number(rng: random.Random, data: bytearray) -> None:
    """Change an aligned number of 2, 4 or 8 bytes: plus or minus one, doubled, halved, inverted."""
    size, code = rng.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
    offset = rng.randrange(max(1, len(data) // size)) * size
    if offset + size <= len(data):
        (number,) = struct.unpack_from(code, data, offset)
        changed = rng.choice((number + 1, number - 1, number * 2, number // 2, ~number))
        struct.pack_into(code, data, offset, changed % (1 << 8 * size))


def _change_header(rng: random.Random, data: bytearray) -> None:
    """Change a number near the start, where ELF and RPM have their headers."""
    head = data[:2048]
    _change_number(rng, head)
    data[: len(head)] = head


def _move_block(rng: random.Random, data: bytearray) -> None:
    """Remove or repeat a block, or swap it with another one."""
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


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def _change_tail(rng: random.Random, data: bytearray) -> None:
    """Insert an extreme near the end, where zip has its central directory."""
    tail = data[-700:]
    _insert_extreme(rng, tail)
    data[-700:] = tail


MUTATIONS: tuple[Mutate, ...] = (
    _set_byte, _set_byte, _insert_extreme, _insert_extreme, _change_number, _change_number,
    _change_header, _change_header, _change_tail, _move_block, _truncate,
)  # fmt: skip


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` with one to four changes, and usually with correct tar checksums."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if changed:
            rng.choice(MUTATIONS)(rng, changed)
    if rng.random() < 0.9:
        repair_checksums(changed)
    return bytes(changed)


def mutate_artifact(rng: random.Random, kinds: Mapping[str, bytes], kind: str) -> bytes:
    """Return a mutated artifact; a compressed one is usually mutated before compression."""
    if kind == "tar.gz" and rng.random() < 0.8:
        return gzip.compress(mutate_bytes(rng, kinds["gnu.tar"]), 1)
    if kind in GZIP_PAYLOADS and rng.random() < 0.8:
        data = kinds[kind]
        start = data.rindex(GZIP_MAGIC)
        return data[:start] + gzip.compress(mutate_bytes(rng, gzip.decompress(data[start:])), 1)
    return mutate_bytes(rng, kinds[kind])


def repair_checksums(data: bytearray) -> None:
    """Correct the checksum of every block with the magic number of a tar header (POSIX ustar)."""
    offset = data.find(b"ustar", 257)
    while offset >= 0:
        start = offset - 257
        if start % BLOCK in (0, 68 % BLOCK, 132 % BLOCK) and start + BLOCK <= len(data):
            block = data[start : start + BLOCK]
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
        offset = data.find(b"ustar", offset + 1)
