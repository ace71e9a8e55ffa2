"""The invariants that every edit must keep, checked by code that no editor uses.

The edited file is compared with the original. ``touched`` has the only ranges that can differ, so
that three patches of a 400 MB library are verified without reading the whole file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.memory_invariants import compare_memory, count_shared_pages
from bundle_fix.elf.verify.notes import read_interpreter, read_segments, split_notes
from bundle_fix.elf.verify.ranges import Touched
from bundle_fix.elf.verify.reading import ElfStructure, read_structure
from bundle_fix.elf.verify.requested.values import (
    SegmentFacts,
    expect_entries,
    expect_ident,
    expect_interpreter,
    expect_names,
    expect_segments,
)
from bundle_fix.elf.verify.section_invariants import compare_appendix, compare_sections
from bundle_fix.elf.verify.symbol_invariants import compare_symbols
from bundle_fix.elf.verify.tables import DynamicTables, locate_tables
from bundle_fix.model.content import Reader

SEGMENTS = {
    c.PT_TLS: "the TLS segment",
    c.PT_GNU_RELRO: "the RELRO segment",
    c.PT_GNU_STACK: "the stack flags",
    c.PT_GNU_EH_FRAME: "the unwind table",
    c.PT_INTERP: "the place of the interpreter",
    c.PT_NOTE: "the place of a note",
    c.PT_GNU_PROPERTY: "the place of the GNU properties",
}
"""The names of segments in messages; other types are shown as numbers."""

FREE_SEGMENTS = frozenset({c.PT_NULL, c.PT_LOAD, c.PT_PHDR, c.PT_DYNAMIC})
"""Segments with a comparison of their own; all others keep their place, size and flags."""

EDITED_TAGS = {
    c.DT_NEEDED: "needed", c.DT_SONAME: "soname", c.DT_RUNPATH: "runpath", c.DT_RPATH: "rpath",
}  # fmt: skip
"""Dynamic tags whose strings an edit may be asked to change, with their names in messages."""

FREE_TAGS = c.STRING_TAGS | {
    c.DT_STRTAB, c.DT_STRSZ, c.DT_SYMTAB, c.DT_HASH, c.DT_GNU_HASH,
    c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
}  # fmt: skip
"""Dynamic tags whose values may change: strings, and tables with a comparison of their own."""


UNREAD_TAGS = frozenset({c.DT_RELACOUNT, c.DT_RELCOUNT, c.DT_SYMENT})
"""Dynamic tags that loaders do not require: hints, and the size of a symbol, which is known."""
BINDING_ENTRIES = frozenset(
    {(c.DT_BIND_NOW, 0), (c.DT_FLAGS, c.DF_BIND_NOW), (c.DT_FLAGS_1, c.DF_1_NOW)}
)
"""The entries that say only that all symbols are bound at once, each sufficient by itself."""


def find_broken_invariants(
    before: Reader, after: Reader, changes: Changes, touched: Touched = None
) -> Iterator[str]:
    """Yield every invariant that an edit broke, as a phrase; nothing if the edit is sound.

    Args:
        before: the original file.
        after: the edited file.
        changes: the requested changes.
        touched: the only ranges that can differ, if they are known; None compares all bytes.

    Raises:
        DamagedElfError: one of the files is damaged.
    """
    old, new = read_structure(before), read_structure(after)
    tables, new_tables = locate_tables(old), locate_tables(new)
    yield from compare_structure(old, tables, new, new_tables, changes)
    yield from compare_segments(old, new, changes)
    yield from _compare_header_addresses(old, new)
    yield from _compare_offsets(old, new)
    if changes.rename_symbols:
        from bundle_fix.elf.verify.requested.symbol_names import (
            add_relocations,
            compare_renamed_symbols,
        )

        yield from compare_renamed_symbols(old, tables, new, new_tables, changes)
        tables = add_relocations(old, tables)
    else:
        yield from compare_symbols(old, tables, new, new_tables, changes)
    yield from compare_memory(old, tables.spans.values(), new, touched)
    yield from compare_sections(old, new, touched)
    yield from compare_appendix(old, new, touched)


def compare_structure(
    old: ElfStructure,
    tables: DynamicTables,
    new: ElfStructure,
    new_tables: DynamicTables,
    changes: Changes,
) -> Iterator[str]:
    """Yield the changes to headers, notes and dynamic entries that no edit may make."""
    if expect_ident(old, changes) != new.ident:
        yield "the header's e_ident changed"
    for field in ("type", "machine", "version", "entry", "flags"):
        if getattr(old.header, field) != getattr(new.header, field):
            yield f"the header's {field} changed"
    yield from _compare_carried(old, new, changes)
    # A fault that the file had before is no reason to refuse an edit.
    yield from Counter(_list_faults(new)) - Counter(_list_faults(old))
    for tag in _find_unloaded_tables(new, new_tables) - _find_unloaded_tables(old, tables):
        yield f"the table of dynamic tag {tag:#x} reaches beyond the segment that loads it"
    if count_shared_pages(new) > count_shared_pages(old):
        yield "two segments of different permissions share a page"
    yield from _compare_dynamic(old, new, changes)


def compare_segments(
    old: ElfStructure,
    new: ElfStructure,
    changes: Changes,
    movable: frozenset[int] = frozenset(),
) -> Iterator[str]:
    """Yield the segments that changed, except for PT_LOAD and those of the ``movable`` types."""
    before, after = expect_segments(_group_segments(old), changes), _group_segments(new)
    free = movable if changes.interpreter is None else movable | {c.PT_INTERP}
    for kind in sorted((before.keys() | after.keys()) - free):
        if before.get(kind) != after.get(kind):
            yield f"{_name_segment(kind)} changed"


def _name_segment(kind: int) -> str:
    return SEGMENTS.get(kind, f"the segment of type {kind:#x}")


def _group_segments(elf: ElfStructure) -> SegmentFacts:
    """Return address, flags and sizes of the segments that must stay, by type."""
    found: SegmentFacts = {}
    for s in sorted(elf.segments, key=lambda s: (s.vaddr, s.flags, s.memsz, s.filesz)):
        if s.type not in FREE_SEGMENTS:
            found.setdefault(s.type, []).append((s.vaddr, s.flags, s.memsz, s.filesz))
    return found


def _compare_offsets(old: ElfStructure, new: ElfStructure) -> Iterator[str]:
    """Yield the segments in memory that have another place in the file, which programs may read."""
    for s in old.loads:
        found = new.find_load(s.vaddr) if s.filesz else None
        if found is not None and found.vaddr - found.offset != s.vaddr - s.offset:
            yield f"the segment at {s.vaddr:#x} moved in the file"
    before, after = (
        {(s.type, s.vaddr): s.offset for s in elf.segments if s.memsz and s.type != c.PT_LOAD}
        for elf in (old, new)
    )
    for kind, address in before.keys() & after.keys():
        if before[kind, address] != after[kind, address]:
            yield f"{_name_segment(kind)} changed in the file"


def _compare_carried(old: ElfStructure, new: ElfStructure, changes: Changes) -> Iterator[str]:
    if expect_interpreter(read_interpreter(old), changes) != read_interpreter(new):
        yield "the interpreter changed"
    # mold 1 puts notes of two alignments into one segment, where readers find only the first. An
    # editor that separates them makes more notes readable: only missing ones count.
    if Counter(split_notes(old)) - Counter(split_notes(new)):
        yield "a note is missing or changed"
    if _read_properties(old) != _read_properties(new):
        yield "the GNU properties changed"


def _read_properties(elf: ElfStructure) -> list[bytes]:
    return [data for _, data in read_segments(elf, c.PT_GNU_PROPERTY)]


def _compare_header_addresses(old: ElfStructure, new: ElfStructure) -> Iterator[str]:
    """Yield a message if a program would not find its headers at their addresses.

    Programs find them by AT_PHDR, by dl_iterate_phdr(3), and by the symbols ``__ehdr_start`` and
    ``_DYNAMIC``.
    """
    places = [
        [(s.vaddr, s.flags, s.memsz, s.filesz) for s in elf.segments if s.type == c.PT_DYNAMIC]
        for elf in (old, new)
    ]
    if places[0] != places[1]:
        yield "the place of the dynamic section changed"
    offset = old.header.phoff
    if new.header.phoff != offset:
        yield "the program headers moved in the file"
    for place, name in ((0, "the ELF header"), (offset, "the table of program headers")):
        if not _find_addresses(old, place) <= _find_addresses(new, place):
            yield f"{name} is loaded at another address, or not at all"


def _find_addresses(elf: ElfStructure, offset: int) -> set[int]:
    """Return the addresses at which the byte at a file offset is loaded."""
    return {s.vaddr + offset - s.offset for s in elf.loads if s.span.start <= offset < s.span.end}


def _list_faults(new: ElfStructure) -> Iterator[str]:
    """Yield the faults of a file's layout, which loaders and kernels need not accept."""
    first = new.loads[0] if new.loads else None
    if first is not None and first.vaddr - first.offset + new.header.phoff not in _find_addresses(
        new, new.header.phoff
    ):
        yield "kernels before Linux 5.17 compute another address of the program headers"
    for s in new.loads:
        if s.align > 1 and (s.vaddr - s.offset) % s.align:
            yield f"the segment at {s.vaddr:#x} is not aligned with its file offset"
        if s.span.end > new.reader.size:
            yield f"the segment at {s.vaddr:#x} reaches beyond the file"
    for one, two in pairwise(new.loads):
        if one.vaddr + one.memsz > two.vaddr:
            yield f"the segments at {one.vaddr:#x} and {two.vaddr:#x} overlap or are out of order"
    for s in new.segments:
        if s.type == c.PT_PHDR and (
            s.offset != new.header.phoff or new.find_offset(s.vaddr) != s.offset
        ):
            yield "PT_PHDR does not match the program headers"
        if s.type == c.PT_DYNAMIC and new.find_offset(s.vaddr) != s.offset:
            yield "no loaded segment contains PT_DYNAMIC"


def _find_unloaded_tables(elf: ElfStructure, tables: DynamicTables) -> set[int]:
    """Return the tags of the tables that no loaded segment contains completely."""
    return {
        tag
        for tag, (start, end) in tables.spans.items()
        if not any(s.span.start <= start and end <= s.span.end for s in elf.loads)
    }


def _compare_dynamic(old: ElfStructure, new: ElfStructure, changes: Changes) -> Iterator[str]:
    expected_entries = Counter(expect_entries([*_list_fixed_entries(old)], changes))
    entries = Counter(_list_fixed_entries(new))
    lost = expected_entries - entries
    if entries - expected_entries or not all(_is_dispensable(old, new, *e) for e in lost):
        yield "dynamic tags changed that no edit may change"
    before, after = _read_names(old), _read_names(new)
    expected = expect_names(before, changes)
    for tag, field in EDITED_TAGS.items():
        found, names = after.get(tag, ()), expected.get(tag, ())
        if found != names:
            yield f"{field} is {_format_names(tag, found)}, expected {_format_names(tag, names)}"
    others = c.STRING_TAGS - EDITED_TAGS.keys()
    if any(before.get(tag) != after.get(tag) for tag in others):
        yield "an audit, filter or auxiliary library changed"


def _list_fixed_entries(elf: ElfStructure) -> Iterator[tuple[int, int]]:
    """Yield tag and value of the entries that no edit may change."""
    size = 16 if elf.bits == 64 else 8
    for number, (tag, value) in enumerate(elf.dynamic):
        if tag == c.DT_MIPS_RLD_MAP_REL:
            # Its value counts from its own place.
            yield tag, (number * size + value) % (1 << elf.bits)
        elif tag not in FREE_TAGS:
            yield tag, value


def _is_dispensable(old: ElfStructure, new: ElfStructure, tag: int, value: int) -> bool:
    """Return whether loaders treat the new file as the old one although it lacks an entry."""
    if (tag, value) in BINDING_ENTRIES:
        return any(_binds_at_start(*entry) for entry in new.dynamic)
    is_library = old.header.type == c.ET_DYN and all(s.type != c.PT_INTERP for s in old.segments)
    return tag in UNREAD_TAGS or (tag == c.DT_DEBUG and is_library)


def _binds_at_start(tag: int, value: int) -> bool:
    """Return whether a dynamic entry makes glibc bind all symbols at once."""
    flags = {c.DT_FLAGS: c.DF_BIND_NOW, c.DT_FLAGS_1: c.DF_1_NOW}
    return tag == c.DT_BIND_NOW or bool(value & flags.get(tag, 0))


def _read_names(elf: ElfStructure) -> dict[int, tuple[str, ...]]:
    """Return the strings of the dynamic entries by tag, in the file's order."""
    entries = [entry for entry in elf.dynamic if entry[0] in c.STRING_TAGS]
    names: dict[int, list[str]] = {}
    texts = elf.read_dynamic_strings(value for _, value in entries)
    for (tag, _), text in zip(entries, texts, strict=True):
        names.setdefault(tag, []).append(os.fsdecode(text))
    return {tag: tuple(found) for tag, found in names.items()}


def _format_names(tag: int, names: tuple[str, ...]) -> str:
    """Return the names of all DT_NEEDED, or the only name of another tag, as Python writes them."""
    if tag == c.DT_NEEDED or len(names) > 1:
        return repr(names)
    return repr(names[0] if names else None)
