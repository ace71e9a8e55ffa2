"""Strategies for small tarballs with odd headers, as no archiver writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from builders.tar import fix_checksum

T = TypeVar("T")
NAMES = (
    b"p/a", b"p/b", b"p/c", b"p/d/e", b"./p/f", b"p//g", b"h", b"p/\xc3\xbc", b"p/" + b"n" * 98,
)  # fmt: skip
ODD_NAMES = (b"p/a/", b"p/d", b"p/d/", b"p", b"./", b"", b"p/\xff", b"p/a\0b", b"p/ a", b"p/a\\b")
KINDS = (b"0", b"0", b"0", b"\0", b"5", b"2", b"1", b"7", b"6")
ODD_KINDS = (b"Z", b"V", b"D", b"X", b"A", b"N", b"S", b"3", b"\xff")
TARGETS = (b"a", b"p/a", b"./p/b", b"../x", b"/etc", b"")
MAGICS = (b"ustar\x0000", b"ustar  \0")
ODD_MAGICS = (bytes(8), b"ustar\0  ", b"ustar\0\0\0", b"ustar 00")
RECORDS: tuple[tuple[bytes, bytes], ...] = (
    (b"path", b"p/x"), (b"path", b"p/y/"), (b"path", b""), (b"path", b"p/\xff"), (b"size", b"512"),
    (b"size", b"0"), (b"size", b"3"), (b"linkpath", b"a"), (b"linkpath", b""), (b"mtime", b"1.5"),
    (b"mtime", b"-3.25"), (b"comment", b"c\nd"), (b"uid", b"7"), (b"hdrcharset", b"BINARY"),
    (b"comment", b"c\n13 path=p/yy"),
    (b"GNU.sparse.name", b"p/z"), (b"GNU.sparse.realsize", b"2"), (b"SCHILY.realsize", b"2"),
    (b"GNU.sparse.map", b"0,2,600,1"), (b"GNU.sparse.size", b"700"), (b"pa\0th", b"p/w"),
    (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"uname", b""),
)  # fmt: skip
NOTATIONS: tuple[Callable[[int, int], bytes], ...] = (
    lambda n, width: b"%0*o\0" % (width - 1, n),
    lambda n, width: b"%0*o " % (width - 1, n),
    lambda n, width: b"%*o\0" % (width - 1, n),
    lambda n, width: (b"%o" % n).ljust(width),
)
ODD_NOTATIONS: tuple[Callable[[int, int], bytes], ...] = (
    lambda n, width: (b"%o\0" % n).ljust(width, b"7"),
    lambda n, width: b"\x80" + n.to_bytes(width - 1, "big"),
    lambda n, width: b"\x81" + n.to_bytes(width - 1, "big"),
    lambda n, width: (b"0o%o\0" % n).ljust(width, b"\0"),
    lambda n, width: b"+%0*o\0" % (width - 2, n),
    lambda n, width: b"0_%0*o\0" % (width - 3, n),
    lambda n, width: (b"0 %o" % n).ljust(width),
    lambda n, width: (b"\t%o" % n).ljust(width, b"\0"),
    lambda n, width: b"-%0*o\0" % (width - 2, n),
)
ENDS = (bytes(1024), bytes(10240), bytes(512), b"")


def choose(usual: Sequence[T], odd: Sequence[T], rarity: int = 12) -> st.SearchStrategy[T]:
    """Return a strategy for a usual value, and once in ``rarity`` times for an odd one."""
    return st.integers(1, rarity).flatmap(
        lambda number: st.sampled_from(odd if number == rarity else usual)
    )


def encode_records(records: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the lines of a pax header, each with its own length (POSIX pax)."""
    lines = []
    for name, value in records:
        rest = b" %b=%b\n" % (name, value)
        length = len(rest) + len(str(len(rest) + 3))
        lines.append(b"%d%b" % (length, rest))
    return b"".join(lines)


def make_header(name: bytes, kind: bytes, size: bytes, target: bytes = b"") -> bytes:
    """Return a POSIX header without a prefix; ``size`` is the field of 12 bytes."""
    fields = (
        name[:100].ljust(100, b"\0"), b"0000644\0" + b"0000000\0" * 2, size, b"00000000000\0",
        b" " * 8, kind, target.ljust(100, b"\0"), MAGICS[0], bytes(64 + 16 + 155 + 12),
    )  # fmt: skip
    return fix_checksum(b"".join(fields))


def make_block(name: bytes, kind: bytes, data: bytes, target: bytes = b"") -> bytes:
    """Return an ordinary member."""
    size = NOTATIONS[0](len(data), 12)
    return make_header(name, kind, size, target) + data + bytes(-len(data) % 512)


HIDDEN = make_block(b"p/hidden", b"0", b"hidden")
CONTENTS = (b"", b"data", b"x" * 512, HIDDEN)
ODD_ENDS = (bytes(512) + HIDDEN, bytes(1024) + HIDDEN, bytes(1024) + b"junk" * 200)


@st.composite
def extension_headers(draw: st.DrawFn) -> bytes:
    """Return up to three headers that extend the next one."""
    headers = []
    for kind in draw(st.lists(st.sampled_from([b"x", b"x", b"g", b"L", b"K"]), max_size=3)):
        if kind in (b"L", b"K"):
            data = draw(st.sampled_from([b"p/long\0", b"p/long", b"p/l\0m\0", b"p/dir/\0", b"a\0"]))
        else:
            data = encode_records(draw(st.lists(st.sampled_from(RECORDS), max_size=3)))
            data += draw(choose([b""], [b"\0", b"\0" * 9, b"junk"], 20))
        headers.append(make_block(b"././@LongLink", kind, data))
    return b"".join(headers)


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """Return one member with its extension headers."""
    name, kind = draw(choose(NAMES, ODD_NAMES)), draw(choose(KINDS, ODD_KINDS, 20))
    has_data = kind not in (b"5", b"2", b"1", b"6")
    data = draw(st.sampled_from(CONTENTS)) if has_data else draw(choose([b""], [b"x" * 512], 15))
    size = len(data) if has_data or draw(st.booleans()) else 0
    usual = TARGETS if kind in (b"1", b"2") else [b""]
    raw = bytearray(make_header(name, kind, bytes(12), draw(choose(usual, TARGETS))))
    raw[257:265] = draw(choose(MAGICS, ODD_MAGICS))
    raw[345:348] = draw(choose([bytes(3)], [b"pre"]))
    for start, width, number in (
        (100, 8, 0o644), (108, 8, 0), (116, 8, 0), (124, 12, size), (136, 12, 1), (329, 8, 0),
    ):  # fmt: skip
        raw[start : start + width] = draw(choose(NOTATIONS, ODD_NOTATIONS, 40))(number, width)
    before = draw(extension_headers()) if draw(st.integers(0, 2)) == 0 else b""
    return before + fix_checksum(bytes(raw)) + data + bytes(-len(data) % 512)


@st.composite
def odd_tars(draw: st.DrawFn) -> bytes:
    """Return a tarball of up to four members."""
    raw = b"".join(draw(st.lists(members(), min_size=1, max_size=4)))
    return raw + draw(choose(ENDS, ODD_ENDS))
