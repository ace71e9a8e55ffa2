"""The contract of an editor that rewrites the tables of symbols and relocations.

The loader maps, relocates and resolves as before: every other loaded byte keeps its address, the
same lookups find the same symbols, and the same relocations are made in the same order. Only the
numbers of symbols, the order of tables and their places may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.equivalence.lookups import read_lookups
from bundle_fix.elf.verify.equivalence.relocations import find_relocations, read_relocations
from bundle_fix.elf.verify.equivalence.symbols import Symbols, read_symbols
from bundle_fix.elf.verify.headers import ProgramHeader
from bundle_fix.elf.verify.invariants import compare_segments, compare_structure
from bundle_fix.elf.verify.memory_invariants import compare_memory
from bundle_fix.elf.verify.ranges import is_zero
from bundle_fix.elf.verify.reading import ElfStructure, read_structure
from bundle_fix.elf.verify.section_invariants import compare_appendix, compare_sections
from bundle_fix.elf.verify.tables import DynamicTables, locate_tables
from bundle_fix.model.content import Reader

TABLE_TAGS = frozenset(
    {
        c.DT_STRTAB, c.DT_SYMTAB, c.DT_HASH, c.DT_GNU_HASH,
        c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
    }
)  # fmt: skip
"""Dynamic tags of tables, all of which must remain."""
EM_MIPS, DT_SYMINFO = 8, 0x6FFFFEFF
DT_ANDROID_REL, DT_ANDROID_RELA = 0x6000000F, 0x60000011
NUMBERED_TAGS = frozenset({DT_SYMINFO, DT_ANDROID_REL, DT_ANDROID_RELA})
"""Dynamic tags of tables with symbol numbers that are not read here."""


class Movable(Struct, frozen=True):
    """The types of segments and of loaded sections that an editor may give another address."""

    segments: frozenset[int] = frozenset()
    sections: frozenset[int] = frozenset()


UNMOVABLE = Movable()
MOVED_BY_PATCHELF = Movable(
    frozenset({c.PT_NOTE, c.PT_INTERP, c.PT_GNU_PROPERTY}),
    frozenset({c.SHT_NOTE, c.SHT_DYNSYM}),
)
"""What patchelf moves to the page that it adds."""


def find_broken_equivalence(
    before: Reader, after: Reader, changes: Changes, movable: Movable = UNMOVABLE
) -> Iterator[str]:
    """Yield every difference that the loader would see, as a phrase.

    Args:
        before: the original file.
        after: the edited file.
        changes: the requested changes.
        movable: what may get another address.

    Raises:
        DamagedElfError: one of the files is damaged, or has too many symbols.
    """
    old, new = read_structure(before), read_structure(after)
    tables, new_tables = locate_tables(old), locate_tables(new)
    yield from compare_structure(old, tables, new, new_tables, changes)
    yield from compare_segments(old, new, changes, movable.segments)
    yield from _compare_tables(old, tables, new, new_tables, changes)
    spans = [
        *tables.spans.values(),
        *(table.span for table in find_relocations(old).values()),
        *(s.span for s in old.segments if s.type in movable.segments),
    ]
    yield from compare_memory(old, spans, _split_zeros(old, new), None)
    yield from compare_sections(old, new, None, movable.sections)
    yield from compare_appendix(old, new, None)


def _split_zeros(old: ElfStructure, new: ElfStructure) -> ElfStructure:
    """Return ``new`` with the zeros of .bss left to the loader, if the file has them in its bytes.

    To a process both are the same.
    """
    zeroed = {(s.vaddr, s.flags): s for s in old.loads if s.memsz > s.filesz}

    def split(s: ProgramHeader) -> ProgramHeader:
        before = zeroed.get((s.vaddr, s.flags))
        if s.type != c.PT_LOAD or before is None or s.filesz <= before.filesz:
            return s
        start, end = s.offset + before.filesz, s.offset + min(s.filesz, before.memsz)
        return s._replace(filesz=before.filesz) if is_zero(new.reader, start, end) else s

    return replace(new, segments=tuple(map(split, new.segments)))


def _compare_tables(
    old: ElfStructure,
    old_tables: DynamicTables,
    new: ElfStructure,
    new_tables: DynamicTables,
    changes: Changes,
) -> Iterator[str]:
    """Yield the differences between the symbols, lookups and relocations of two files."""
    tags = [{tag for tag, _ in elf.dynamic} & TABLE_TAGS for elf in (old, new)]
    if tags[0] != tags[1]:
        yield "a table of symbols, hashes or versions is missing"
        return
    before, after = read_symbols(old, old_tables, changes), read_symbols(new, new_tables, Changes())
    if before != after and _has_symbol_numbers(old):
        yield "the order of the dynamic symbols changed, which other tables rely on"
    if Counter(before) != Counter(after):
        yield "the dynamic symbols or their versions changed"
        return
    for tag in (c.DT_GNU_HASH, c.DT_HASH):
        if _differ_in_lookups(tag, old, old_tables, before, new, new_tables, after):
            yield "a hash table finds other symbols"
    if _differ_in_relocations(old, before, new, after):
        yield "the relocations changed"


def _has_symbol_numbers(elf: ElfStructure) -> bool:
    """Return whether anything but relocations and hash tables refers to symbols by number.

    The psABI of MIPS: the global offset table has the order of the symbols.
    """
    return elf.header.machine == EM_MIPS or any(tag in NUMBERED_TAGS for tag, _ in elf.dynamic)


def _differ_in_lookups(
    tag: int,
    old: ElfStructure,
    old_tables: DynamicTables,
    before: Symbols,
    new: ElfStructure,
    new_tables: DynamicTables,
    after: Symbols,
) -> bool:
    if tag not in old_tables.spans:
        return False
    return read_lookups(tag, old, old_tables, before) != read_lookups(tag, new, new_tables, after)


def _differ_in_relocations(
    old: ElfStructure, before: Symbols, new: ElfStructure, after: Symbols
) -> bool:
    tables, new_tables = find_relocations(old), find_relocations(new)
    if {tag: table.length for tag, table in tables.items()} != {
        tag: table.length for tag, table in new_tables.items()
    }:
        return True
    return any(
        one != other
        for tag in tables
        for one, other in zip(
            read_relocations(old, tables[tag], before),
            read_relocations(new, new_tables[tag], after),
            strict=True,
        )
    )
