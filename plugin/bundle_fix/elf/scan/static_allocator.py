"""Whether a file has an allocator linked in: by the names of its functions, or by its messages.

What a file defines for itself alone is not in its dynamic symbols, only in ``.symtab``, where that
was not stripped. Both tables of it are read in pieces: with debug information they have hundreds of
megabytes.
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
"""What only the allocators themselves define: tcmalloc, jemalloc, mimalloc, jemalloc in Rust."""
MESSAGES = (b"<jemalloc>: ", b"src/tcmalloc.cc", b"tcmalloc: large alloc ", b"mimalloc: error: ")
"""What stands in an allocator's code alone; a program that asks tcmalloc about itself has other
strings of it."""
SYMBOLS = {64: ("<IBBH16x", ">IBBH16x"), 32: ("<I8xBBH", ">I8xBBH")}
"""An Elf_Sym: its st_name, st_info, st_other and st_shndx."""
MAX_PLACES = 10_000
"""Strings that end in a name that is looked for; in the largest programs a few hundred do."""
MAX_SYMBOLS = 1 << 30
"""Bytes of ``.symtab``, and of its names, that are looked through."""


def find_static_allocator(reader: Reader, image: Image) -> frozenset[bytes]:
    """Those of `MALLOC_NAMES` and `ALLOCATOR_NAMES` that the file defines; of `MALLOC_NAMES`, only what it hides."""
    exported = find_provided_symbols(reader, image, (*MALLOC_NAMES, *ALLOCATOR_NAMES))
    hidden = frozenset(_find_hidden(reader, image, (*MALLOC_NAMES, *ALLOCATOR_NAMES)))
    return (exported & frozenset(ALLOCATOR_NAMES)) | (hidden - exported)


def find_allocator_message(reader: Reader, image: Image) -> bytes | None:
    """One of `MESSAGES` in the file's read-only data, if it has any."""
    overlap = max(map(len, MESSAGES))
    for segment in read_only_data_segments(image):
        for piece in _read_pieces(reader, segment.offset, segment.filesz, overlap):
            for message in MESSAGES:
                if message in piece:
                    return message
    return None


def contains_malloc_names(reader: Reader, image: Image) -> bool:
    """Whether the file has the names of `MALLOC_NAMES` as strings, for dlsym(3).

    What passes on what it is asked has; an allocator has no use for them.
    """
    table = find_string_table(image) or (0, 0)
    return all(
        any(
            not table[0] <= place < sum(table) for place in _find_whole_strings(reader, image, name)
        )
        for name in MALLOC_NAMES
    )


def _find_whole_strings(reader: Reader, image: Image, text: bytes) -> Iterator[int]:
    """Where ``text`` is a string of its own in the read-only data."""
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
    """Those of ``names`` that are defined in ``.symtab``."""
    sections = read_sections(reader, image.format, image.header)
    for section in sections:
        if section.type == c.SHT_SYMTAB and section.link < len(sections):
            places = _find_name_offsets(reader, sections[section.link], names)
            if places:
                yield from _find_defined(reader, image, section, places)


def _find_name_offsets(
    reader: Reader, strings: Section, names: Iterable[bytes]
) -> dict[int, bytes]:
    """Where in a string table each of ``names`` ends a string, as linkers may share the ends."""
    found: dict[int, bytes] = {}
    at = 0
    ends = {name + b"\0": name for name in names}
    overlap = max(map(len, ends)) - 1
    for piece in _read_pieces(reader, strings.offset, strings.size, overlap):
        start = max(0, at - overlap)
        for end, name in ends.items():
            place = piece.find(end)
            while place >= 0 and len(found) < MAX_PLACES:
                found[start + place] = name
                place = piece.find(end, place + 1)
        at = start + len(piece)
    return found


def _find_defined(
    reader: Reader, image: Image, table: Section, places: dict[int, bytes]
) -> Iterator[bytes]:
    little = image.format.order == "little"
    layout = Struct(SYMBOLS[image.format.bits][0 if little else 1])
    step = CHUNK - CHUNK % layout.size
    end = table.offset + min(table.size, MAX_SYMBOLS)
    for offset in range(table.offset, end, step):
        piece = reader.pread(offset, min(step, end - offset))
        whole = len(piece) - len(piece) % layout.size
        for name, _, _, section in layout.iter_unpack(piece[:whole]):
            if name in places and section != c.SHN_UNDEF:
                yield places[name]


def _read_pieces(
    reader: Reader, offset: int, size: int, overlap: int, before: bytes = b""
) -> Iterator[bytes]:
    """``size`` bytes from ``offset``, in pieces that begin with the end of the one before."""
    end = offset + min(size, MAX_SYMBOLS)
    while offset < end:
        piece = reader.pread(offset, min(CHUNK, end - offset))
        if not piece:
            return
        yield before + piece
        offset += len(piece)
        before = (before + piece)[-overlap:]
