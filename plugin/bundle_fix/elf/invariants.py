"""What no edit may change, checked after every edit by code that is none of the editors.

Two files are compared: as it was and as it is. ``touched`` says which bytes can differ at all, so
that a 400 MB library with three patches is checked by reading three patches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from bundle_fix.content import CHUNK, Reader
from bundle_fix.elf import constants as c
from bundle_fix.elf.changes import Changes, needed_after
from bundle_fix.elf.image import Image, read_image, read_sections, string_at, string_table
from bundle_fix.elf.notes import notes
from bundle_fix.elf.strings import symbol_names
from bundle_fix.elf.structs import Section, Segment
from bundle_fix.elf.tables import movable_tables
from bundle_fix.elf.versions import version_definitions, version_needs

SAME_PLACE = {
    c.PT_TLS: "the TLS segment",
    c.PT_GNU_RELRO: "the RELRO segment",
    c.PT_GNU_STACK: "the stack flags",
    c.PT_GNU_EH_FRAME: "the unwind table",
}
"""Segments that must be at the same address, of the same size and flags, after every edit."""

CARRIED = frozenset({c.PT_INTERP, c.PT_NOTE, c.PT_GNU_PROPERTY})
"""Segments that an editor may move; what they say must be the same."""

FREE_TAGS = c.STRING_TAGS | {
    c.DT_STRTAB, c.DT_STRSZ, c.DT_SYMTAB, c.DT_HASH, c.DT_GNU_HASH,
    c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF, c.DT_FLAGS, c.DT_FLAGS_1,
}  # fmt: skip
"""Dynamic tags whose values an edit may change: strings, and the tables that are compared apart."""


class Span(NamedTuple):
    """File offsets from ``start`` to ``end``."""

    start: int
    end: int


def broken_invariants(
    before: Reader, after: Reader, changes: Changes, touched: Sequence[Span] | None = None
) -> Iterator[str]:
    """What an edit broke, each in a few words; nothing when all is well.

    Args:
        before: the file as it was.
        after: the file as the editor left it.
        changes: what the editor was asked for.
        touched: the only bytes that can differ, where that is known; None compares all.

    Raises:
        DamagedElfError: the edited file cannot be read any more.
    """
    old, new = read_image(before), read_image(after)
    yield from _headers(old, new)
    yield from _carried(before, old, after, new)
    yield from _layout(new)
    if _shared_pages(new) > _shared_pages(old):
        yield "two segments of different permissions share a page"
    yield from _dynamic(old, new, changes)
    yield from _symbols(before, old, after, new)
    yield from _memory(before, old, after, new, touched)
    yield from _sections(before, old, after, new, touched)
    yield from _appended(before, old, after, new)


def _headers(old: Image, new: Image) -> Iterator[str]:
    same = ("type", "machine", "version", "entry", "flags")
    for field in same:
        if getattr(old.header, field) != getattr(new.header, field):
            yield f"the header's {field} changed"
    for kind, name in SAME_PLACE.items():
        if _of(old, kind) != _of(new, kind):
            yield f"{name} changed"


def _carried(before: Reader, old: Image, after: Reader, new: Image) -> Iterator[str]:
    if sorted(notes(before, old)) != sorted(notes(after, new)):
        yield "the notes changed"


def _of(image: Image, kind: int) -> list[tuple[int, ...]]:
    return sorted((s.vaddr, s.flags, s.memsz, s.filesz) for s in image.segments if s.type == kind)


def _layout(new: Image) -> Iterator[str]:
    loads = new.loads()
    for s in loads:
        if s.align > 1 and (s.vaddr - s.offset) % s.align:
            yield f"the segment at {s.vaddr:#x} is not aligned with its file offset"
        if s.file_end > new.size:
            yield f"the segment at {s.vaddr:#x} reaches beyond the file"
    for one, two in pairwise(loads):
        if one.memory_end > two.vaddr:
            yield f"the segments at {one.vaddr:#x} and {two.vaddr:#x} overlap or are out of order"
    for s in new.segments:
        if s.type == c.PT_PHDR and (
            s.offset != new.header.phoff or new.file_offset(s.vaddr) != s.offset
        ):
            yield "PT_PHDR is not where the program headers are"
        if s.type == c.PT_DYNAMIC and new.file_offset(s.vaddr) != s.offset:
            yield "PT_DYNAMIC lies in no loaded segment"


def _shared_pages(image: Image) -> int:
    """How many neighbouring segments of different permissions share a page of the largest size."""
    loads = image.loads()
    return sum(
        one.flags != two.flags
        and (one.memory_end - 1) // max(two.align, 1) == two.vaddr // max(two.align, 1)
        for one, two in pairwise(loads)
    )


def _dynamic(old: Image, new: Image, changes: Changes) -> Iterator[str]:
    kept = [[e for e in image.dynamic or () if e.tag not in FREE_TAGS] for image in (old, new)]
    if sorted(kept[0]) != sorted(kept[1]):
        yield "dynamic tags changed that were not to change"
    wanted = {
        "needed": needed_after(old.needed, changes),
        "soname": old.soname if changes.soname is None else changes.soname or None,
        "runpath": old.runpath,
        "rpath": old.rpath,
    }
    if changes.runpath is not None or changes.rpath is not None:
        wanted |= {"runpath": changes.runpath or None, "rpath": changes.rpath or None}
    for field, value in wanted.items():
        if getattr(new, field) != value:
            yield f"the {field} is {getattr(new, field)!r} where {value!r} was asked for"


def _symbols(before: Reader, old: Image, after: Reader, new: Image) -> Iterator[str]:
    if _symbol_bytes(before, old) != _symbol_bytes(after, new):
        yield "the dynamic symbols changed"
    if _texts_differ(before, old, after, new):
        yield "the names of dynamic symbols changed"
    if _table_bytes(before, old) != _table_bytes(after, new):
        yield "the symbol versions or hash tables changed"


def _symbol_bytes(reader: Reader, image: Image) -> bytes:
    """The symbol table without what an editor may renumber: name offsets and section indices.

    Of a section's index the loader asks only whether it is SHN_UNDEF or reserved.
    """
    address = image.first(c.DT_SYMTAB)
    start = None if address is None else image.file_offset(address)
    if start is None:
        return b""
    size = image.format.symbol_size
    count = len(symbol_names(reader, image))
    data = bytearray(reader.pread(start, size * count))
    for byte in range(4):
        data[byte::size] = bytes(count)
    low = 6 if image.format.bits == 64 else 14
    high = low + 1
    if image.format.order == "big":
        low, high = high, low
    ordinary = bytes(b != 0 for b in range(256))
    reserved = data[high::size].translate(bytes(255) + b"\xff")
    used = bytes(
        map(max, data[low::size].translate(ordinary), data[high::size].translate(ordinary))
    )
    data[low::size], data[high::size] = used, reserved
    return bytes(data)


def _texts_differ(before: Reader, old: Image, after: Reader, new: Image) -> bool:
    """Whether a dynamic symbol has another name; only names near changed bytes are looked at."""
    tables = []
    for reader, image in ((before, old), (after, new)):
        table = string_table(image)
        tables.append(reader.pread(*table) if table else b"")
    names = symbol_names(before, old)
    if names == symbol_names(after, new):
        first, last = _changed(tables[0], tables[1][: len(tables[0])])
        first = tables[0].rfind(b"\0", 0, max(first, 0))
        names_near = [at for at in names if first < at < last]
        return any(string_at(tables[0], at) != string_at(tables[1], at) for at in names_near)
    pairs = zip(names, symbol_names(after, new), strict=False)
    return any(string_at(tables[0], a) != string_at(tables[1], b) for a, b in pairs)


def _changed(one: bytes, other: bytes) -> tuple[int, int]:
    """Offsets of the first byte that differs and past the last one; equal where none does."""
    if one == other:
        return 0, 0
    shorter = min(len(one), len(other))
    first = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    last = next((i for i in range(shorter, 0, -1) if one[i - 1] != other[i - 1]), shorter)
    return first, max(last, len(one) if len(one) != len(other) else last)


def _table_bytes(reader: Reader, image: Image) -> dict[int, object]:
    """The hash and version tables, with names in the place of string offsets."""
    strings = string_table(image)
    data = reader.pread(*strings) if strings else b""
    found: dict[int, object] = {}
    for table in movable_tables(reader, image):
        if table.tag in (c.DT_VERNEED, c.DT_VERDEF):
            walk = version_needs if table.tag == c.DT_VERNEED else version_definitions
            lists = walk(reader, image)
            groups = lists.groups if lists else ()
            found[table.tag] = [[string_at(data, at) for at in group] for group in groups]
        else:
            found[table.tag] = reader.pread(table.offset, table.size)
    return found


def _memory(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """Every loaded byte is the same at the same address, save what an edit is there to change."""
    excused = _with_padding(before, sorted(_excused(before, old)))
    for s in old.loads():
        match = next((n for n in new.loads() if n.vaddr <= s.vaddr < n.vaddr + n.memsz), None)
        if match is None or match.memory_end < s.memory_end or match.flags != s.flags:
            yield f"the segment at {s.vaddr:#x} is gone, smaller, or has other permissions"
            continue
        if s.memsz > s.filesz and match.memory_end != s.memory_end:
            yield f"the zeroed memory of the segment at {s.vaddr:#x} changed its size"
        ranges = [Span(s.offset, s.file_end)] if touched is None else _within(touched, s)
        for start, end in _without(ranges, excused):
            shift = match.offset - match.vaddr + s.vaddr - s.offset
            if not _equal(before, start, after, start + shift, end - start):
                yield f"loaded bytes changed near address {s.vaddr + start - s.offset:#x}"
                break


def _excused(reader: Reader, image: Image) -> Iterator[Span]:
    """What is compared elsewhere: headers, dynamic section, string table, notes and tables."""
    header = image.header
    yield Span(0, header.ehsize)
    yield Span(header.phoff, header.phoff + header.phnum * header.phentsize)
    table = string_table(image)
    if table is not None:
        yield Span(table[0], table[0] + table[1])
    yield from (Span(s.offset, s.file_end) for s in image.segments if s.type == c.PT_DYNAMIC)
    yield from (Span(s.offset, s.file_end) for s in image.segments if s.type in CARRIED)
    yield from (Span(t.offset, t.end) for t in movable_tables(reader, image))
    names = image.first(c.DT_SYMTAB)
    start = None if names is None else image.file_offset(names)
    if start is not None:
        count = len(symbol_names(reader, image))
        yield Span(start, start + count * image.format.symbol_size)


def _with_padding(reader: Reader, spans: Sequence[Span]) -> list[Span]:
    """``spans`` with the zeros that align one to the next, at most 15 bytes, joined to them."""
    joined: list[Span] = []
    for span in spans:
        gap = span.start - joined[-1].end if joined else -1
        if 0 <= gap < 16 and not reader.pread(joined[-1].end, gap).strip(b"\0"):
            joined.append(Span(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _within(spans: Sequence[Span], s: Segment) -> list[Span]:
    cut = [Span(max(a, s.offset), min(b, s.file_end)) for a, b in spans]
    return [span for span in cut if span.start < span.end]


def _without(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    left = list(spans)
    for hole in holes:
        pieces = []
        for span in left:
            pieces.append(Span(span.start, min(span.end, hole.start)))
            pieces.append(Span(max(span.start, hole.end), span.end))
        left = [p for p in pieces if p.start < p.end]
    return left


def _equal(one: Reader, at: int, two: Reader, there: int, length: int) -> bool:
    for start in range(0, length, CHUNK):
        size = min(CHUNK, length - start)
        if one.pread(at + start, size) != two.pread(there + start, size):
            return False
    return True


def _sections(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """Sections keep their addresses and bytes; loaded ones agree with the segment they lie in."""
    were = _by_name(before, old)
    now = _by_name(after, new)
    for name, s in were.items():
        there = now.get(name)
        if there is None:
            yield f"the section {name} is gone"
        elif s.flags & c.SHF_ALLOC == 0:
            if not _same_section(before, s, after, there, touched):
                yield f"the section {name} changed"
        elif name in (".text", ".data", ".bss", ".rodata") and s.addr != there.addr:
            yield f"the section {name} moved"
    for name, s in now.items():
        loaded = s.flags & c.SHF_ALLOC and s.type != c.SHT_NOBITS and s.size
        if loaded and new.file_offset(s.addr) != s.offset:
            yield f"the section {name} does not agree with the segment that loads it"


def _same_section(
    before: Reader, s: Section, after: Reader, there: Section, touched: Sequence[Span] | None
) -> bool:
    if s.size != there.size or s.type != there.type:
        return False
    # Section symbols follow their sections, in the table of static symbols.
    if s.type in (c.SHT_NOBITS, c.SHT_SYMTAB):
        return True
    if touched is not None and not _within_any(touched, s):
        return True
    return _equal(before, s.offset, after, there.offset, s.size)


def _appended(before: Reader, old: Image, after: Reader, new: Image) -> Iterator[str]:
    """What stands behind the ELF file (an installer's archive, say) still ends the file."""
    header = old.header
    ends = [s.file_end for s in old.segments]
    ends += [header.shoff + header.shnum * header.shentsize, header.ehsize]
    sections = read_sections(before, old.format, header)
    ends += [s.offset + s.size for s in sections if s.type != c.SHT_NOBITS]
    length = old.size - max(ends)
    if length > 0 and not _equal(before, max(ends), after, new.size - length, length):
        yield "data appended to the file changed"


def _within_any(spans: Sequence[Span], s: Section) -> bool:
    return any(a < s.offset + s.size and b > s.offset for a, b in spans)


def _by_name(reader: Reader, image: Image) -> dict[str, Section]:
    sections = read_sections(reader, image.format, image.header)
    index = image.header.shstrndx
    if index == c.SHN_XINDEX and sections:
        index = sections[0].link
    if index >= len(sections):
        return {}
    names = reader.pread(sections[index].offset, sections[index].size)
    found: dict[str, Section] = {}
    for number, s in enumerate(sections[1:]):
        name = os.fsdecode(string_at(names, s.name))
        found[name if name not in found else f"{name}#{number}"] = s
    return found
