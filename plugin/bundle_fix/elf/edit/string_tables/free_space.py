"""The parts of a file that no header describes: space for an edit, or data that must not move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.structs import Section
from bundle_fix.model.content import CHUNK, Reader


def find_space(reader: Reader, image: Image, sections: Sequence[Section], offset: int) -> int:
    """Return the number of zeros from a file offset on that no header but PT_LOAD describes."""
    end = reader.size
    for start, stop in _list_described(image, sections):
        if stop > offset:
            end = start
            break
    data = reader.pread(offset, min(end - offset, CHUNK))
    return len(data) - len(data.lstrip(b"\0"))


def find_foreign_data(
    reader: Reader, image: Image, sections: Sequence[Section], offset: int
) -> int | None:
    """Return the file offset of bytes from ``offset`` on that no header describes, or None.

    Zeros do not count: they fill up pages.
    """
    end = offset
    for start, stop in (*_list_described(image, sections), (reader.size, reader.size)):
        for at in range(end, start, CHUNK):
            data = reader.pread(at, min(CHUNK, start - at))
            if data.strip(b"\0"):
                return at + len(data) - len(data.lstrip(b"\0"))
        end = max(end, stop)
    return None


def _list_described(image: Image, sections: Sequence[Section]) -> list[tuple[int, int]]:
    """Return the ranges of all headers, segments and sections, sorted by their starts."""
    return sorted(span for span in _yield_described(image, sections) if span[0] < span[1])


def _yield_described(image: Image, sections: Sequence[Section]) -> Iterator[tuple[int, int]]:
    header = image.header
    yield 0, header.ehsize
    yield header.phoff, header.phoff + header.phnum * header.phentsize
    yield header.shoff, header.shoff + max(len(sections), header.shnum) * header.shentsize
    for segment in image.segments:
        # PT_LOAD also covers what lies between sections.
        if segment.type != c.PT_LOAD:
            yield segment.offset, segment.file_end
    for section in sections[1:]:
        if section.type not in (0, c.SHT_NOBITS):
            yield section.offset, section.offset + section.size
