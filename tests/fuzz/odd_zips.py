"""Strategies for small zip archives with odd headers, as no archiver writes them."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from hypothesis import strategies as st

from fuzz.odd_tars import choose

NAMES = (b"p/a", b"p/b", b"p/d/c", b"e", b"p/d/", "p/ü".encode())
ODD_NAMES = (
    b"./p/a",
    b"p//b",
    b"p\\a",
    b"..\\..\\evil",
    b"p/\x81",
    b"p/a/",
    b"p/a\0b",
    b"p",
    b"/a",
)
UTF8, DESCRIPTOR = 0x800, 0x8
UNIX_FILE, UNIX_LINK, UNIX_DIRECTORY = 0o100644 << 16, 0o120777 << 16, 0o040755 << 16
MODES = ((3, UNIX_FILE), (3, UNIX_FILE), (0, 0), (0, 0x20), (3, 0))
ODD_MODES = (
    (3, UNIX_LINK), (3, UNIX_DIRECTORY), (3, 0o010644 << 16), (0, 0x10), (0, UNIX_LINK),
    (19, UNIX_FILE), (19, UNIX_LINK), (10, 0x20), (3, UNIX_FILE | 0x10),
)  # fmt: skip
CONTENTS = (b"", b"data", b"p/a", b"x" * 300)


class ZipMember(NamedTuple):
    """The bytes of a member, and its entry in the central directory without the offset."""

    local: bytes
    entry: bytes
    tail: bytes


def make_extra(kind: int, data: bytes) -> bytes:
    """Return an extra field (APPNOTE 4.5)."""
    return struct.pack("<HH", kind, len(data)) + data


def make_unicode_path(name: bytes, unicode_name: bytes) -> bytes:
    """Return Info-ZIP's field with another name of the member (APPNOTE 4.6.9)."""
    return make_extra(0x7075, b"\1" + struct.pack("<I", zlib.crc32(name)) + unicode_name)


@st.composite
def extra_fields(draw: st.DrawFn, name: bytes) -> bytes:
    """Return the extra fields of a header."""
    fields = (
        b"", make_extra(0x5455, b"\1" + bytes(4)), make_extra(0x7875, b"\1\1\0\1\0"),
        make_extra(0xCAFE, b""),
    )  # fmt: skip
    odd = (
        make_unicode_path(name, b"p/other"), b"\0\0\0",
        make_unicode_path(b"stale", b"p/other"), make_extra(1, bytes(16)), b"\1\0\xff",
        make_extra(0x7075, b"\1"), make_extra(0x7855, b""),
    )  # fmt: skip
    return draw(choose(fields, odd))


@st.composite
def members(draw: st.DrawFn) -> ZipMember:
    """Return one member whose headers may contradict each other."""
    name, data = draw(choose(NAMES, ODD_NAMES)), draw(st.sampled_from(CONTENTS))
    if name.endswith(b"/"):
        data = draw(choose([b""], [b"data"]))
    method = draw(st.sampled_from([0, 8]))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush() if method else data
    packed += draw(choose([b""], [b"slack"], 30))
    crc, flags = zlib.crc32(data), UTF8 if not name.isascii() else 0
    flags |= draw(choose([0], [UTF8]))
    has_descriptor = draw(st.integers(0, 4)) == 0
    flags |= DESCRIPTOR * has_descriptor
    local_name = draw(choose([name], [b"p/other"], 30))
    local_flags = flags ^ draw(choose([0], [UTF8, DESCRIPTOR], 20))
    sizes = (0, 0, 0) if has_descriptor else (crc, len(packed), len(data))
    extra = draw(extra_fields(name))
    local = struct.pack(
        "<4s5H3I2H", b"PK\3\4", 20, local_flags, method, 0, 0x5821, *sizes, len(local_name),
        len(extra),
    )  # fmt: skip
    local += local_name + extra + packed
    if has_descriptor:
        mark = draw(st.sampled_from([b"PK\7\b", b""]))
        local += mark + struct.pack("<3I", crc, len(packed), len(data))
    system, external = draw(choose(MODES, ODD_MODES))
    if not name.isascii():
        # Info-ZIP's unzip converts such names of other systems, even if they are marked as UTF-8.
        system = 3
    if name.endswith(b"/"):
        system, external = draw(choose([(3, UNIX_DIRECTORY), (0, 0x10), (0, 0)], MODES))
    extra = draw(extra_fields(name))
    entry = struct.pack(
        "<4s2B5H3I5H", b"PK\1\2", 20, system, 20, flags, method, 0, 0x5821, crc, len(packed),
        len(data), len(name), len(extra), 0, 0, 0,
    )  # fmt: skip
    return ZipMember(local, entry + struct.pack("<I", external), name + extra)


def make_end(count: int, length: int, offset: int, comment: bytes = b"") -> bytes:
    """Return an end record (APPNOTE 4.3.16)."""
    numbers = (0, 0, count, count, length, offset, len(comment))
    return struct.pack("<4s4H2IH", b"PK\5\6", *numbers) + comment


@st.composite
def odd_zips(draw: st.DrawFn) -> bytes:
    """Return a zip archive of up to three members."""
    raw = draw(choose([b""], [b"#!/bin/sh\n", b"PK\3\4", b"PK\1\2" + bytes(42)], 10))
    start, entries = draw(st.sampled_from([0, len(raw)])), b""
    found = draw(st.lists(members(), min_size=1, max_size=3))
    hidden = draw(members())
    for member in found:
        raw += draw(choose([b""], [hidden.local, b"gap", bytes(8)], 30))
        entries += member.entry + struct.pack("<I", len(raw) - start) + member.tail
        raw += member.local
    raw += draw(choose([b""], [hidden.local, b"gap"], 30))
    end = make_end(len(found), len(entries), len(raw) - start)
    fake = make_end(1, len(entries), 0)
    comment = draw(choose([b""], [b"text", fake, b"PK\5\6", fake + b"x"], 8))
    end = make_end(len(found), len(entries), len(raw) - start, comment)
    return raw + entries + end + draw(choose([b""], [b"junk", fake, end], 15))
