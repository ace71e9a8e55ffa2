"""The extents of the tables that the dynamic section points to, and the lists of versions.

The dynamic section has no sizes of these tables; the tables themselves have them.
Sources: the gABI ("Hash Table", DT_HASH); glibc's dl-lookup.c (DT_GNU_HASH); the Linux Standard
Base, "Symbol Versioning" (DT_VERSYM, DT_VERNEED, DT_VERDEF).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.headers import read_records
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.elf.verify.reading import ElfStructure
from bundle_fix.model.errors import DamagedElfError

MAX_ENTRIES = 1 << 22
"""Limit of the entries of one table: symbols, buckets of a hash table."""
MAX_CHAIN = 1 << 16
"""Limit of the symbols in one chain of a GNU hash table."""
MAX_VERSION_RECORDS = 1 << 15
"""Limit of the records of one list of versions: a version index has 15 bits."""
SYMBOL_SIZES = {32: 16, 64: 24}
"""The size of an Elf_Sym in bytes, by class."""
POINTERS = frozenset(
    {
        c.DT_HASH, c.DT_GNU_HASH, c.DT_STRTAB, c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
        c.DT_RELA, c.DT_REL, c.DT_JMPREL, c.DT_INIT,
    }
)  # fmt: skip
"""Dynamic tags with the addresses of what linkers write after the symbol table."""


class VersionRecords(Struct, frozen=True):
    """One list of versions: those needed of libraries (DT_VERNEED), or the file's own (DT_VERDEF).

    Attributes:
        end: the file offset just past the last record.
        numbers: all fields of all records, except for distances and string offsets.
        libraries: the names of the libraries, for DT_VERNEED.
        names: the names of all versions; those of DT_VERDEF are followed by their parents.
    """

    end: int
    numbers: tuple[int, ...]
    libraries: tuple[bytes, ...]
    names: tuple[bytes, ...]


class DynamicTables(Struct, frozen=True):
    """The tables of one file by dynamic tag: their extents, and the two lists of versions."""

    spans: Mapping[int, Span]
    versions: Mapping[int, VersionRecords]


def locate_tables(elf: ElfStructure) -> DynamicTables:
    """Measure the tables of symbols, hashes, versions and strings.

    Raises:
        DamagedElfError: a table cannot be read, or no loaded segment contains it.
    """
    starts = dict(_find_starts(elf))
    spans = {} if elf.string_table is None else {c.DT_STRTAB: elf.string_table}
    versions: dict[int, VersionRecords] = {}
    symbols = _count_symbols(elf, starts)
    for tag, start in starts.items():
        if tag == c.DT_SYMTAB:
            size = symbols * SYMBOL_SIZES[elf.bits]
        elif tag == c.DT_VERSYM:
            size = symbols * 2
        elif tag == c.DT_HASH:
            size = sum(_read_hash_counts(elf, start), 2) * get_hash_width(elf)
        elif tag == c.DT_GNU_HASH:
            size = _measure_gnu_hash(elf, start)[0]
        else:
            read_versions = _read_needed if tag == c.DT_VERNEED else _read_defined
            versions[tag] = read_versions(elf, start)
            size = versions[tag].end - start
        spans[tag] = Span(start, start + size)
    if c.DT_SYMTAB in spans:
        _require_symbols(elf, spans[c.DT_SYMTAB])
    return DynamicTables(spans, versions)


def _find_starts(elf: ElfStructure) -> Iterator[tuple[int, int]]:
    """Yield the dynamic tag and the file offset of each table."""
    for tag in (
        c.DT_SYMTAB, c.DT_HASH, c.DT_GNU_HASH, c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
    ):  # fmt: skip
        address = elf.find_value(tag)
        if address is not None:
            start = elf.find_offset(address)
            if start is None:
                raise DamagedElfError(
                    f"no loaded segment contains the table of dynamic tag {tag:#x}"
                )
            yield tag, start


def _require_symbols(elf: ElfStructure, span: Span) -> None:
    """Raise DamagedElfError if the symbol table has an unknown size or lies beyond the file."""
    if span.start == span.end:
        raise DamagedElfError("the number of its dynamic symbols is unknown")
    if span.end > elf.reader.size:
        raise DamagedElfError("its dynamic symbol table is truncated")


def read_words(elf: ElfStructure, offset: int, count: int, width: int = 4) -> array[int]:
    """Return ``count`` unsigned integers of ``width`` bytes (4 or 8) from a file offset on.

    Raises:
        DamagedElfError: they are too many, or lie beyond the file.
    """
    if count > MAX_ENTRIES:
        raise DamagedElfError(f"a table of its symbols has {count} entries; limit: {MAX_ENTRIES}")
    data = elf.reader.pread(offset, count * width)
    if len(data) < count * width:
        raise DamagedElfError("a table of its symbols is truncated")
    return decode_words(elf, data, width)


def decode_words(elf: ElfStructure, data: bytes, width: int = 4) -> array[int]:
    """Return the unsigned integers of ``width`` bytes (4 or 8) in ``data``."""
    words = array("I" if width == 4 else "Q", data)
    if elf.order != sys.byteorder:
        words.byteswap()
    return words


def _count_symbols(elf: ElfStructure, starts: Mapping[int, int]) -> int:
    """Return the number of dynamic symbols with the null symbol, or 0 if it is unknown."""
    if c.DT_HASH in starts:
        # The gABI: the table has as many chain entries as there are symbols.
        return _read_hash_counts(elf, starts[c.DT_HASH])[1]
    count = _measure_gnu_hash(elf, starts[c.DT_GNU_HASH])[1] if c.DT_GNU_HASH in starts else 0
    # GNU ld writes a table without symbols, from number 1 on, into a file that defines none.
    if count <= 1 and c.DT_SYMTAB in starts:
        count = _measure_symbols(elf) // SYMBOL_SIZES[elf.bits]
    if count > MAX_ENTRIES:
        raise DamagedElfError(f"it has {count} dynamic symbols; the limit is {MAX_ENTRIES}")
    return count


def _measure_symbols(elf: ElfStructure) -> int:
    """Return the size of the symbol table in bytes, without the hash tables, or 0 if unknown."""
    start, strings = elf.find_value(c.DT_SYMTAB) or 0, elf.find_value(c.DT_STRTAB) or 0
    for section in elf.section_headers:
        if section.type == c.SHT_DYNSYM and section.addr == start:
            return section.size
    # Without section headers, only the string table directly after it shows its end.
    following = [value for tag, value in elf.dynamic if tag in POINTERS and value > start]
    adjacent = min(following, default=0) == strings
    gap = strings - start
    return gap if adjacent and gap % SYMBOL_SIZES[elf.bits] == 0 else 0


def get_hash_width(elf: ElfStructure) -> int:
    """Return the size of a DT_HASH word in bytes: the psABIs of Alpha and S/390 have 64 bits."""
    wide = elf.bits == 64 and elf.header.machine in (c.EM_ALPHA, c.EM_S390)
    return 8 if wide else 4


def _read_hash_counts(elf: ElfStructure, start: int) -> tuple[int, int]:
    """Return the numbers of buckets and chain entries of a DT_HASH table."""
    buckets, chains = read_words(elf, start, 2, get_hash_width(elf))
    if max(buckets, chains) > MAX_ENTRIES:
        raise DamagedElfError(
            f"its hash table has {buckets} buckets and {chains} symbols; limit: {MAX_ENTRIES}"
        )
    return buckets, chains


def _measure_gnu_hash(elf: ElfStructure, start: int) -> tuple[int, int]:
    """Return the size of a DT_GNU_HASH table in bytes, and the number of symbols."""
    count, first, bloom, _ = read_words(elf, start, 4)
    buckets = start + 16 + bloom * elf.bits // 8
    chains = buckets + count * 4
    last = max(read_words(elf, buckets, count), default=0)
    total = first
    if last >= first:
        # The last chain begins with the largest bucket; the lowest bit marks a chain's end.
        data = elf.reader.pread(chains + (last - first) * 4, MAX_CHAIN * 4)
        words = decode_words(elf, data[: len(data) // 4 * 4])
        length = next((number for number, word in enumerate(words, 1) if word & 1), None)
        if length is None:
            raise DamagedElfError("a chain of its GNU hash table does not end")
        total = last + length
    return chains + (total - first) * 4 - start, total


def walk_records(
    elf: ElfStructure, layout: str, start: int, count: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield file offset and fields of linked records; their last field leads to the next one.

    Args:
        elf: the file.
        layout: the fields of a record as a format of `struct`.
        start: the file offset of the first record.
        count: the number of records; a distance of 0 ends the list as well.
    """
    for _ in range(count):
        (fields,) = read_records(elf.reader, elf.mark + layout, start, 1, "list of versions")
        yield start, fields
        if not fields[-1]:
            return
        start += fields[-1]


def _read_needed(elf: ElfStructure, start: int) -> VersionRecords:
    """Read the list of versions that the file needs: Elf_Verneed, each with its Elf_Vernaux."""
    end = start
    numbers: list[int] = []
    libraries: list[int] = []
    names: list[int] = []
    count = elf.find_value(c.DT_VERNEEDNUM) or 0
    for at, (version, parts, library, first, _) in walk_records(elf, "HHIII", start, count):
        numbers += (version, parts)
        libraries.append(library)
        end = max(end, at + 16)
        for part, (code, flags, index, name, _) in walk_records(elf, "IHHII", at + first, parts):
            numbers += (code, flags, index)
            names.append(name)
            end = max(end, part + 16)
        _limit_records(len(names) + len(libraries))
    texts = elf.read_dynamic_strings([*libraries, *names])
    split = len(libraries)
    return VersionRecords(end, tuple(numbers), tuple(texts[:split]), tuple(texts[split:]))


def _read_defined(elf: ElfStructure, start: int) -> VersionRecords:
    """Read the list of versions that the file defines: Elf_Verdef, each with its Elf_Verdaux."""
    end = start
    numbers: list[int] = []
    names: list[int] = []
    count = elf.find_value(c.DT_VERDEFNUM) or 0
    for at, fields in walk_records(elf, "HHHHIII", start, count):
        *own, first, _ = fields
        numbers += own
        end = max(end, at + 20)
        for part, (name, _) in walk_records(elf, "II", at + first, fields[3]):
            names.append(name)
            end = max(end, part + 8)
        _limit_records(len(names) + len(numbers) // 5)
    return VersionRecords(end, tuple(numbers), (), tuple(elf.read_dynamic_strings(names)))


def _limit_records(count: int) -> None:
    # Records may share others, so the size of the file does not bound them.
    if count > MAX_VERSION_RECORDS:
        raise DamagedElfError(f"its list of symbol versions exceeds {MAX_VERSION_RECORDS} records")


def hash_name(name: bytes) -> int:
    """Return the hash of a name in a DT_HASH table, as the gABI defines it."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


def hash_gnu_name(name: bytes) -> int:
    """Return the hash of a name in a DT_GNU_HASH table (glibc's dl-new-hash.h)."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value
