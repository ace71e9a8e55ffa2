"""The link maps of a process: the objects that its loader knows, in load order.

Sources: glibc's elf/link.h (struct r_debug, r_debug_extended, link_map) and musl's
src/internal/dynlink.h and include/link.h, whose structures have the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.structs import Format
from bundle_fix.model.content import Reader
from bundle_fix.observe.memory import DumpedMemory, read_int, read_text, read_words

MAX_OBJECTS = 10_000
"""Limit of the objects of one process; a large office suite has 400."""
MAX_NAMESPACES = 64
"""Limit of the namespaces; glibc has 16 (DL_NNS)."""
MAX_VERSION = 100
"""The largest r_version that is taken for one."""
MAX_PATH = 4096
"""Limit of a path in bytes (PATH_MAX)."""
MAX_SCANNED = 8 << 20
"""Bytes of a core file in which a dynamic section is looked for."""
MAX_TRIES = 10_000
"""Limit of the places that may be DT_DEBUG."""
MAX_SECTION = 1 << 16
"""Bytes of a dynamic section up to DT_DEBUG."""


class LinkMapEntry(NamedTuple):
    """One ``struct link_map``.

    ``name`` is the path by which the loader opened the file (l_name), empty for the program and
    None if it cannot be read.
    ``dynamic`` is the address of its dynamic section (l_ld), ``bias`` is l_addr. ``namespace`` is 0
    for the program's own, and counts those of dlmopen(3).
    """

    name: str | None
    bias: int
    dynamic: int
    namespace: int


def read_link_maps(memory: Reader, layout: Format, debug: int) -> list[LinkMapEntry]:
    """Return the entries of all link maps; none if ``debug`` is not the address of an r_debug.

    A link map that leads in a circle, or to memory that cannot be read, ends there.
    """
    entries: list[LinkMapEntry] = []
    for namespace, first in enumerate(_find_first_entries(memory, layout, debug)):
        entries += _walk_link_map(memory, layout, first, namespace, MAX_OBJECTS - len(entries))
    return entries


def scan_for_link_maps(memory: DumpedMemory, layout: Format, start: int) -> list[LinkMapEntry]:
    """Return the link maps that a dumped dynamic section leads to; none if there is no such.

    A core file may lack the program's headers, as qemu and old kernels write it. The dynamic
    section is still dumped, since the loader has written DT_DEBUG into it.

    Args:
        memory: the memory of the core file.
        layout: class and byte order.
        start: an address in the program, below its dynamic section.
    """
    pattern, word = layout.word.pack(c.DT_DEBUG), layout.word.size
    left = MAX_TRIES
    for segment, data in memory.iter_segments(start, MAX_SCANNED):
        at = data.find(pattern)
        while at >= 0 and left:
            address, left = segment + at, left - 1
            value = read_words(memory, layout, address + word, 1) if at % word == 0 else None
            entries = read_link_maps(memory, layout, value[0]) if value and value[0] else []
            if entries and 0 <= address - entries[0].dynamic < MAX_SECTION:
                return entries
            at = data.find(pattern, at + 1)
    return []


def _find_first_entries(memory: Reader, layout: Format, debug: int) -> Iterator[int]:
    """Yield the first entry of each namespace: r_map of each r_debug."""
    seen: set[int] = set()
    while debug and debug not in seen and len(seen) < MAX_NAMESPACES:
        seen.add(debug)
        version = read_int(memory, layout, debug)
        # r_version is padded to a word; r_map, r_brk, r_state (padded), r_ldbase, r_next follow.
        fields = read_words(memory, layout, debug, 5)
        if version is None or fields is None or not 0 < version <= MAX_VERSION:
            return
        yield fields[1]
        # r_next exists since version 2, which glibc 2.35 has if dlmopen() was called.
        after = read_words(memory, layout, debug + 5 * layout.word.size, 1)
        debug = after[0] if version > 1 and after is not None else 0


def _walk_link_map(
    memory: Reader, layout: Format, address: int, namespace: int, limit: int
) -> Iterator[LinkMapEntry]:
    seen: set[int] = set()
    while address and address not in seen and len(seen) < limit:
        seen.add(address)
        fields = read_words(memory, layout, address, 4)
        if fields is None:
            return
        bias, name, dynamic, following = fields
        # The name of the loader itself is in the program's PT_INTERP, which may not be dumped.
        text = read_text(memory, name, MAX_PATH) if name else ""
        yield LinkMapEntry(text, bias, dynamic, namespace)
        address = following
