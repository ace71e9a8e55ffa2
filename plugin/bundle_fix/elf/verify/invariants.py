"""What no edit may change, checked after every edit by code that is none of the editors.

Two files are compared: as it was and as it is. ``touched`` says which bytes can differ at all, so
that a 400 MB library with three patches is checked by reading three patches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import MAX_NOTES, read_notes
from bundle_fix.elf.read.parser import IDENT_SIZE, read_image
from bundle_fix.elf.read.ranges import Span, has_same_range, intersect, subtract
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table, read_string
from bundle_fix.elf.read.structs import Segment
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.elf.verify.section_invariants import compare_appendix, compare_sections
from bundle_fix.elf.verify.symbol_invariants import compare_symbols
from bundle_fix.model.content import Reader

SEGMENTS = {
    c.PT_TLS: "the TLS segment",
    c.PT_GNU_RELRO: "the RELRO segment",
    c.PT_GNU_STACK: "the stack flags",
    c.PT_GNU_EH_FRAME: "the unwind table",
}
"""What segments are called in messages; those of other types are called by their number."""

CARRIED = frozenset({c.PT_INTERP, c.PT_NOTE, c.PT_GNU_PROPERTY})
"""Segments that an editor may move; what they say must be the same."""

FREE_SEGMENTS = CARRIED | {c.PT_NULL, c.PT_LOAD, c.PT_DYNAMIC, c.PT_PHDR}
"""Segments that are compared apart; all others keep their address, size and flags."""

EDITED_TAGS = frozenset({c.DT_NEEDED, c.DT_SONAME, c.DT_RPATH, c.DT_RUNPATH})
"""Dynamic tags whose strings an edit may be asked to change."""

FREE_TAGS = c.STRING_TAGS | {
    c.DT_STRTAB, c.DT_STRSZ, c.DT_SYMTAB, c.DT_HASH, c.DT_GNU_HASH,
    c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
}  # fmt: skip
"""Dynamic tags whose values an edit may change: strings, and the tables that are compared apart."""


def find_broken_invariants(
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
    if before.pread(0, IDENT_SIZE) != after.pread(0, IDENT_SIZE):
        yield "the header's identification changed"
    yield from _compare_headers(old, new)
    yield from _compare_carried(before, old, after, new)
    yield from _check_layout(new)
    for tag in _find_unloaded_tables(after, new) - _find_unloaded_tables(before, old):
        yield f"the table of dynamic tag {tag:#x} reaches beyond the segment that loads it"
    if _count_shared_pages(new) > _count_shared_pages(old):
        yield "two segments of different permissions share a page"
    yield from _compare_dynamic(old, new, changes)
    if _read_other_strings(before, old) != _read_other_strings(after, new):
        yield "an audit, filter or auxiliary library changed"
    yield from compare_symbols(before, old, after, new, dict(changes.replace_needed))
    yield from _compare_memory(before, old, after, new, touched)
    yield from compare_sections(before, old, after, new, touched)
    yield from compare_appendix(before, old, after, new, touched)


def _compare_headers(old: Image, new: Image) -> Iterator[str]:
    same = ("type", "machine", "version", "entry", "flags")
    for field in same:
        if getattr(old.header, field) != getattr(new.header, field):
            yield f"the header's {field} changed"
    for kind in sorted({s.type for s in (*old.segments, *new.segments)} - FREE_SEGMENTS):
        if _list_segments(old, kind) != _list_segments(new, kind):
            yield f"{SEGMENTS.get(kind, f'the segment of type {kind:#x}')} changed"


def _compare_carried(before: Reader, old: Image, after: Reader, new: Image) -> Iterator[str]:
    if old.interpreter != new.interpreter:
        yield "the interpreter changed"
    # Where a linker put notes of two alignments into one segment (mold 1), an editor that parts
    # them makes the later ones readable.
    if Counter(read_notes(before, old)) - Counter(read_notes(after, new)):
        yield "a note is gone or changed"
    if _read_properties(before, old) != _read_properties(after, new):
        yield "the GNU properties changed"


def _read_properties(reader: Reader, image: Image) -> list[bytes]:
    found = [s for s in image.segments if s.type == c.PT_GNU_PROPERTY]
    return [reader.pread(s.offset, min(s.filesz, MAX_NOTES)) for s in found]


def _list_segments(image: Image, kind: int) -> list[tuple[int, ...]]:
    return sorted((s.vaddr, s.flags, s.memsz, s.filesz) for s in image.segments if s.type == kind)


def _check_layout(new: Image) -> Iterator[str]:
    loads = new.find_loads()
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
            s.offset != new.header.phoff or new.find_offset(s.vaddr) != s.offset
        ):
            yield "PT_PHDR is not where the program headers are"
        if s.type == c.PT_DYNAMIC and new.find_offset(s.vaddr) != s.offset:
            yield "PT_DYNAMIC lies in no loaded segment"


def _find_unloaded_tables(reader: Reader, image: Image) -> set[int]:
    """The tags of the tables that the loader would not find whole in memory."""
    spans = {
        table.tag: Span(table.offset, table.end) for table in find_movable_tables(reader, image)
    }
    strings = find_string_table(image)
    if strings is not None:
        spans[c.DT_STRTAB] = Span(strings[0], sum(strings))
    symbols = _find_symbol_table(reader, image)
    if symbols is not None:
        spans[c.DT_SYMTAB] = symbols
    loads = image.find_loads()
    return {
        tag
        for tag, (start, end) in spans.items()
        if not any(s.offset <= start and end <= s.file_end for s in loads)
    }


def _find_symbol_table(reader: Reader, image: Image) -> Span | None:
    address = image.find_value(c.DT_SYMTAB)
    start = None if address is None else image.find_offset(address)
    if start is None:
        return None
    return Span(start, start + len(read_name_offsets(reader, image)) * image.format.symbol_size)


def _count_shared_pages(image: Image) -> int:
    """How many neighbouring segments of different permissions share a page of the largest size."""
    loads = image.find_loads()
    return sum(
        one.flags != two.flags
        and (one.memory_end - 1) // max(two.align, 1) == two.vaddr // max(two.align, 1)
        for one, two in pairwise(loads)
    )


def _compare_dynamic(old: Image, new: Image, changes: Changes) -> Iterator[str]:
    kept = [[e for e in image.dynamic or () if e.tag not in FREE_TAGS] for image in (old, new)]
    if sorted(kept[0]) != sorted(kept[1]):
        yield "dynamic tags changed that were not to change"
    wanted = {
        "needed": _expect_needed(old.needed, changes),
        "soname": old.soname if changes.soname is None else changes.soname or None,
        "runpath": old.runpath,
        "rpath": old.rpath,
    }
    if changes.runpath is not None or changes.rpath is not None:
        wanted |= {"runpath": changes.runpath or None, "rpath": changes.rpath or None}
    for field, value in wanted.items():
        if getattr(new, field) != value:
            yield f"the {field} is {getattr(new, field)!r} where {value!r} was asked for"


def _expect_needed(needed: Sequence[str], changes: Changes) -> tuple[str, ...]:
    """Return the needed names that ``changes`` must lead to, computed without the editors' code."""
    names = list(needed)
    for anchor, new in changes.insert_needed:
        for at in range(len(names) - 1, -1, -1):
            if names[at] == anchor and (at == 0 or names[at - 1] != new):
                names.insert(at, new)
    replaced = dict(changes.replace_needed)
    present = {*needed, *(replaced[name] for name in needed if name in replaced)}
    added = [name for name in dict.fromkeys(changes.add_needed) if name not in present]
    kept = [replaced.get(name, name) for name in names if name not in changes.remove_needed]
    return (*added, *kept)


def _read_other_strings(reader: Reader, image: Image) -> list[tuple[int, bytes]]:
    """The strings of dynamic tags that no edit is ever asked to change."""
    table = find_string_table(image) or (0, 0)
    entries = [e for e in image.dynamic or () if e.tag in c.STRING_TAGS - EDITED_TAGS]
    return [(entry.tag, read_string(reader, table, entry.value)) for entry in entries]


def _compare_memory(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """Every loaded byte is the same at the same address, save what an edit is there to change."""
    excused = _join_padding(before, sorted(_list_excused(before, old)))
    for s in old.find_loads():
        if s.memsz > s.filesz and not any(_has_same_zeros(s, n) for n in new.find_loads()):
            yield f"the zeroed memory of the segment at {s.vaddr:#x} changed its size"
        for whole in subtract([Span(s.offset, s.file_end)], excused):
            piece = _skip_padding(before, whole)
            shift = _find_shift(s, piece, new)
            if shift is None:
                yield f"the segment at {s.vaddr:#x} is gone, smaller, or has other permissions"
                break
            ranges = [piece] if touched is None else intersect(touched, *piece)
            if not all(has_same_range(before, a, after, a + shift, b - a) for a, b in ranges):
                yield f"loaded bytes changed near address {s.vaddr + piece.start - s.offset:#x}"
                break


def _has_same_zeros(one: Segment, other: Segment) -> bool:
    ends = (one.vaddr + one.filesz, one.memory_end, one.flags)
    return ends == (other.vaddr + other.filesz, other.memory_end, other.flags)


def _find_shift(s: Segment, piece: Span, new: Image) -> int | None:
    """What to add to an old file offset in ``piece`` of ``s`` to get its place in the new file.

    An editor may load headers and tables by a segment of their own: each piece of what must stay
    is looked for by itself, at the same address with the same permissions.
    """
    start, end = (s.vaddr + at - s.offset for at in piece)
    for n in new.find_loads():
        if n.vaddr <= start and end <= n.vaddr + n.filesz and n.flags == s.flags:
            return n.offset - n.vaddr + s.vaddr - s.offset
    return None


def _list_excused(reader: Reader, image: Image) -> Iterator[Span]:
    """What is compared elsewhere: headers, dynamic section, string table, notes and tables."""
    header = image.header
    yield Span(0, header.ehsize)
    yield Span(header.phoff, header.phoff + header.phnum * header.phentsize)
    # patchelf puts the section headers into the page that it adds, which is loaded.
    yield Span(header.shoff, header.shoff + header.shnum * header.shentsize)
    yield from _find_filler(reader, image)
    table = find_string_table(image)
    if table is not None:
        yield Span(table[0], table[0] + table[1])
    yield from (Span(s.offset, s.file_end) for s in image.segments if s.type == c.PT_DYNAMIC)
    yield from (Span(s.offset, s.file_end) for s in image.segments if s.type in CARRIED)
    yield from (Span(t.offset, t.end) for t in find_movable_tables(reader, image))
    symbols = _find_symbol_table(reader, image)
    if symbols is not None:
        yield symbols


def _find_filler(reader: Reader, image: Image) -> Iterator[Span]:
    """What patchelf wrote over tables that it moved: Z or X, in no section; it uses it again."""
    sections = read_sections(reader, image.format, image.header)
    header = image.header
    used = [Span(s.offset, s.offset + s.size) for s in sections if s.type != c.SHT_NOBITS]
    used += [Span(0, header.ehsize)]
    used += [Span(header.phoff, header.phoff + header.phnum * header.phentsize)]
    for s in image.find_loads() if sections else ():
        for gap in subtract([Span(s.offset, s.file_end)], sorted(used)):
            data = reader.pread(gap.start, min(gap.end - gap.start, MAX_FILLER))
            if len(data) == gap.end - gap.start and data.strip(b"\0") and not data.strip(b"ZX\0"):
                yield gap


MAX_FILLER = 1 << 20
"""Bytes of one gap between sections that are looked at."""


def _skip_padding(reader: Reader, span: Span) -> Span:
    """``span`` without the zeros that align what comes first in it: they go with what was before.

    An alignment is 16 bytes at most between the tables that an editor moves.
    """
    head = reader.pread(span.start, min(15, span.end - span.start))
    zeros = len(head) - len(head.lstrip(b"\0"))
    return Span(min(span.start + zeros, span.end), span.end)


def _join_padding(reader: Reader, spans: Sequence[Span]) -> list[Span]:
    """``spans`` with the zeros that align one to the next, at most 15 bytes, joined to them."""
    joined: list[Span] = []
    for span in spans:
        gap = span.start - joined[-1].end if joined else -1
        if 0 <= gap < 16 and not reader.pread(joined[-1].end, gap).strip(b"\0"):
            joined.append(Span(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined
