"""``/etc/ld.so.cache``: which file a host's loader takes for a soname.

Source: glibc's sysdeps/generic/dl-cache.h and elf/dl-cache.c, the format ``glibc-ld.so.cache1.1``,
with the extension that names the folders of ``glibc-hwcaps`` (since 2.33).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import get_string

MAGIC = b"glibc-ld.so.cache1.1"
MAX_SIZE = 64 << 20
MAX_STRING = 4096
"""Bytes of one name or path (PATH_MAX)."""
CACHE_PATH = Path("/etc/ld.so.cache")
EXTENSION_MAGIC = 0xEAA42174
TAG_HWCAPS = 1
MAX_NAMES = 1 << 12
IS_EXTENSION = 1 << 62
"""Set in an entry's hwcap where its low half is an index into the names of glibc-hwcaps."""
ISA_LEVELS = ((1 << 10) - 1) << 32
TLS_BIT = 1 << 63
PLATFORM_BITS = 0xF << 48
ABI_FLAGS = {
    ("x86_64", 64): 0x0303, ("x86_64", 32): 0x0803, ("i386", 32): 0x0003, ("aarch64", 64): 0x0A03,
    ("powerpc64", 64): 0x0503, ("s390", 64): 0x0403, ("sparcv9", 64): 0x0103,
}  # fmt: skip
"""An entry's flags by machine and class (_DL_CACHE_DEFAULT_ID); machines whose flags depend on the
float ABI are left out, and their entries told apart by the files themselves."""


class CacheEntry(Struct, frozen=True):
    """One library: its name, its file, the flags of its ABI and what it asks of the processor.

    ``level`` is the folder of glibc-hwcaps that it is from, None for the others.
    """

    name: str
    path: str
    flags: int
    hwcap: int
    level: str | None


class LoaderCache(Struct, frozen=True, dict=True):
    """The entries of a cache, in its order."""

    entries: tuple[CacheEntry, ...]

    @cached_property
    def _by_name(self) -> dict[str, list[CacheEntry]]:
        found: dict[str, list[CacheEntry]] = {}
        for entry in self.entries:
            found.setdefault(entry.name, []).append(entry)
        return found

    def find_library(
        self, name: str, image: Image, levels: Sequence[str], hwcap: int = 0
    ) -> str | None:
        """The file that the loader takes for ``name``, if the cache has any (search_cache).

        Args:
            name: a needed name.
            image: what needs it.
            levels: the folders of glibc-hwcaps that the loader looks into, the best first.
            hwcap: the processor's bits of AT_HWCAP, for entries of the old kind.
        """
        best: tuple[int, str] | None = None
        wanted = ABI_FLAGS.get((image.machine, image.format.bits))
        for entry in self._by_name.get(name, ()):
            if wanted is not None and entry.flags not in (wanted, 1):
                continue
            if entry.level is None:
                if best is not None:
                    break
                if entry.hwcap & ~(hwcap | TLS_BIT) == 0:
                    return entry.path
            elif entry.level in levels:
                rank = levels.index(entry.level)
                best = min(best, (rank, entry.path)) if best else (rank, entry.path)
        return best[1] if best else None


def read_cache(data: bytes) -> LoaderCache | None:
    """The cache in ``data``, or None where it is none that glibc 2.2 or later reads."""
    # An old-format cache may come first; the offsets of the new one count from its own start.
    start = data.find(MAGIC)
    if start < 0:
        return None
    view = data[start:] if start else data
    # Flags at 28 say the byte order since 2.33; before, only one of them makes sense.
    marks = {2: "<", 3: ">"}.get(view[28] & 3 if len(view) > 28 else 0)
    for mark in (marks,) if marks else ("<", ">"):
        entries = _read_entries(view, mark)
        if entries is not None:
            return LoaderCache(entries)
    return None


def _read_entries(view: bytes, mark: str) -> tuple[CacheEntry, ...] | None:
    header, layout = struct.Struct(mark + "20sIIB3xI12x"), struct.Struct(mark + "iIIIQ")
    if len(view) < header.size:
        return None
    _, count, _, _, extension = header.unpack_from(view)
    count_here = (len(view) - header.size) // layout.size
    if count > max(count_here, 0) and mark == "<" and count >> 24:
        return None
    names = _read_hwcap_names(view, extension, mark)
    found = []
    for number in range(min(count, count_here)):
        flags, key, value, _, hwcap = layout.unpack_from(view, header.size + number * layout.size)
        level = None
        if hwcap & IS_EXTENSION and not (hwcap >> 32) & ~((IS_EXTENSION | ISA_LEVELS) >> 32):
            index = hwcap & 0xFFFFFFFF
            level = names[index] if index < len(names) else ""
        found.append(
            CacheEntry(_read_string(view, key), _read_string(view, value), flags, hwcap, level)
        )
    return tuple(found)


def _read_hwcap_names(view: bytes, offset: int, mark: str) -> list[str]:
    """The names of the folders of glibc-hwcaps that entries refer to by number."""
    head, section = struct.Struct(mark + "II"), struct.Struct(mark + "IIII")
    if not offset or offset + head.size > len(view):
        return []
    magic, count = head.unpack_from(view, offset)
    if magic != EXTENSION_MAGIC:
        return []
    for number in range(min(count, 16)):
        place = offset + head.size + number * section.size
        if place + section.size > len(view):
            break
        tag, _, start, size = section.unpack_from(view, place)
        if tag == TAG_HWCAPS and start + size <= len(view):
            words = struct.Struct(mark + "I").iter_unpack(
                view[start : start + min(size // 4, MAX_NAMES) * 4]
            )
            return [_read_string(view, at) for (at,) in words]
    return []


def _read_string(view: bytes, offset: int) -> str:
    # Strings may overlap, so the size of the cache does not bound them all together.
    return os.fsdecode(get_string(view[offset : offset + MAX_STRING], 0))


def list_cached_libraries(path: Path = CACHE_PATH) -> Iterator[tuple[str, str]]:
    """The cache's entries, soname and path, in its order; none where there is no cache."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE)
    except OSError:
        return
    cache = read_cache(data)
    yield from ((entry.name, entry.path) for entry in cache.entries) if cache else ()
