"""Detection of an allocator that is linked into a file, by its functions or its messages.

Symbols that a file does not export are only in ``.symtab``, unless that was stripped. That table
and its strings are read in pieces: with debug information they have hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image, read_only_data_segments
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.elf.read.structs import Section
from bundle_fix.elf.symbols.hashes import find_provided_symbols
from bundle_fix.model.content import CHUNK, Reader

MALLOC_NAMES = (b"malloc", b"free")
ALLOCATOR_NAMES = (
    b"tc_malloc",
    b"je_malloc",
    b"mi_malloc",
    b"_rjem_malloc",
    b"_ZN15MallocExtension8instanceEv",
)
"""Functions that only allocators define: tcmalloc, jemalloc, mimalloc, jemalloc in Rust."""
MESSAGES = (b"<jemalloc>: ", b"src/tcmalloc.cc", b"tcmalloc: large alloc ", b"mimalloc: error: ")
"""Strings that only allocators contain; a user of tcmalloc's MallocExtension has other strings
of it."""
SYMBOLS = {64: ("<IBBH16x", ">IBBH16x"), 32: ("<I8xBBH", ">I8xBBH")}
"""The layout of an Elf_Sym by class and byte order: st_name, st_info, st_other and st_shndx."""
MAX_NAME_OFFSETS = 10_000
"""Limit of strings that end with a searched name; the largest programs have a few hundred."""
MAX_SYMTAB = 1 << 30
"""Bytes of ``.symtab``, and of its strings, that are searched."""


def find_static_allocator(reader: Reader, image: Image) -> frozenset[bytes]:
    """Return the names of an allocator's functions that the file defines.

    These are the names of `ALLOCATOR_NAMES`, and those of `MALLOC_NAMES` that it does not export.
    """
    exported = find_provided_symbols(reader, image, (*MALLOC_NAMES, *ALLOCATOR_NAMES))
    hidden = frozenset(_find_hidden(reader, image, (*MALLOC_NAMES, *ALLOCATOR_NAMES)))
    return (exported & frozenset(ALLOCATOR_NAMES)) | (hidden - exported)


def find_allocator_message(reader: Reader, image: Image) -> bytes | None:
    """Return the first of `MESSAGES` in the file's read-only data, or None."""
    overlap = max(map(len, MESSAGES))
    for segment in read_only_data_segments(image):
        for piece in _read_pieces(reader, segment.offset, segment.filesz, overlap):
            for message in MESSAGES:
                if message in piece:
                    return message
    return None


def contains_malloc_names(reader: Reader, image: Image) -> bool:
    """Return whether the file contains all of `MALLOC_NAMES` as strings, as arguments of dlsym(3).

    A wrapper around another allocator does; an allocator does not need them.
    """
    table = find_string_table(image) or (0, 0)
    return all(
        any(
            not table[0] <= place < sum(table) for place in _find_whole_strings(reader, image, name)
        )
        for name in MALLOC_NAMES
    )


def _find_whole_strings(reader: Reader, image: Image, text: bytes) -> Iterator[int]:
    """Yield the offsets at which ``text`` is a whole string in the read-only data."""
    whole = b"\0" + text + b"\0"
    for segment in read_only_data_segments(image):
        at = segment.offset - 1
        for piece in _read_pieces(reader, segment.offset, segment.filesz, len(whole) - 1, b"\0"):
            place = piece.find(whole)
            while place >= 0:
                yield at + place
                place = piece.find(whole, place + 1)
            at += len(piece) - (len(whole) - 1)


def _find_hidden(reader: Reader, image: Image, names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield those of ``names`` that ``.symtab`` defines."""
    sections = read_sections(reader, image.format, image.header)
    for section in sections:
        if section.type == c.SHT_SYMTAB and section.link < len(sections):
            places = _find_name_offsets(reader, sections[section.link], names)
            if places:
                yield from _find_defined(reader, image, section, places)


def _find_name_offsets(
    reader: Reader, strings: Section, names: Iterable[bytes]
) -> dict[int, bytes]:
    """Return the offsets of ``names`` in a string table, where linkers may share string ends."""
    found: dict[int, bytes] = {}
    at = 0
    ends = {name + b"\0": name for name in names}
    overlap = max(map(len, ends)) - 1
    for piece in _read_pieces(reader, strings.offset, strings.size, overlap):
        start = max(0, at - overlap)
        for end, name in ends.items():
            place = piece.find(end)
            while place >= 0 and len(found) < MAX_NAME_OFFSETS:
                found[start + place] = name
                place = piece.find(end, place + 1)
        at = start + len(piece)
    return found


def _find_defined(
    reader: Reader, image: Image, table: Section, places: dict[int, bytes]
) -> Iterator[bytes]:
    """Yield the names of the defined symbols in ``table`` whose name offsets are in ``places``."""
    little = image.format.order == "little"
    layout = Struct(SYMBOLS[image.format.bits][0 if little else 1])
    step = CHUNK - CHUNK % layout.size
    end = table.offset + min(table.size, MAX_SYMTAB)
    for offset in range(table.offset, end, step):
        piece = reader.pread(offset, min(step, end - offset))
        whole = len(piece) - len(piece) % layout.size
        for name, _, _, section in layout.iter_unpack(piece[:whole]):
            if name in places and section != c.SHN_UNDEF:
                yield places[name]


def _read_pieces(
    reader: Reader, offset: int, size: int, overlap: int, before: bytes = b""
) -> Iterator[bytes]:
    """Yield ``size`` bytes from ``offset`` in pieces, each with ``overlap`` bytes before it."""
    end = offset + min(size, MAX_SYMTAB)
    while offset < end:
        piece = reader.pread(offset, min(CHUNK, end - offset))
        if not piece:
            return
        yield before + piece
        offset += len(piece)
        before = (before + piece)[-overlap:]
