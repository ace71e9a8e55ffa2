"""``/etc/ld.so.cache``: the file that a host's loader finds for each soname.

Source: glibc's sysdeps/generic/dl-cache.h and elf/dl-cache.c, the format ``glibc-ld.so.cache1.1``,
with the extension that names the subdirectories of ``glibc-hwcaps`` (since 2.33).
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
from bundle_fix.model.errors import raise_if_exhausted

MAGIC = b"glibc-ld.so.cache1.1"
MAX_SIZE = 64 << 20
"""Limit of a cache, in bytes; one with 5,000 libraries has 300 KiB."""
MAX_STRING = 4096
"""Limit of one name or path, in bytes (PATH_MAX)."""
CACHE_PATH = Path("/etc/ld.so.cache")
EXTENSION_MAGIC = 0xEAA42174
"""cache_extension_magic."""
TAG_HWCAPS = 1
"""cache_extension_tag_glibc_hwcaps."""
MAX_NAMES = 1 << 12
"""Limit of the names of glibc-hwcaps subdirectories; indices beyond it have no name."""
IS_EXTENSION = 1 << 62
"""The bit of an entry's hwcap that makes its low half an index into the names of glibc-hwcaps
(DL_CACHE_HWCAP_EXTENSION)."""
ISA_LEVELS = ((1 << 10) - 1) << 32
"""The bits of an entry's hwcap that may be set with it (DL_CACHE_HWCAP_ISA_LEVEL_MASK)."""
TLS_BIT = 1 << 63
"""The bit for the old ``tls`` subdirectories, which every processor supports."""
ABI_FLAGS = {
    ("x86_64", 64): 0x0303, ("x86_64", 32): 0x0803, ("i386", 32): 0x0003, ("aarch64", 64): 0x0A03,
    ("powerpc64", 64): 0x0503, ("s390", 64): 0x0403, ("sparcv9", 64): 0x0103,
}  # fmt: skip
"""An entry's flags by machine and class (_DL_CACHE_DEFAULT_ID). Machines whose flags depend on the
float ABI are left out: the loader model then compares the files themselves."""


class CacheEntry(Struct, frozen=True):
    """One library of the cache.

    Attributes:
        name: its soname.
        path: its file.
        flags: the flags of its ABI.
        hwcap: the bits of AT_HWCAP that it requires.
        level: the subdirectory of glibc-hwcaps that it is in; None for other directories.
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
        """Return the file that the loader finds for ``name`` (search_cache), or None.

        Args:
            name: a needed name.
            image: the object that needs it.
            levels: the subdirectories of glibc-hwcaps that the loader searches, the best first.
            hwcap: the processor's bits of AT_HWCAP, for entries of the old format.
        """
        best: tuple[int, str] | None = None
        flags = ABI_FLAGS.get((image.machine, image.format.bits))
        for entry in self._by_name.get(name, ()):
            # Flags of 1 (FLAG_ELF) are those of an ELF library without a known ABI.
            if flags is not None and entry.flags not in (flags, 1):
                continue
            if entry.level is None:
                # Entries of glibc-hwcaps come before the others of the same name.
                if best is not None:
                    break
                if entry.hwcap & ~(hwcap | TLS_BIT) == 0:
                    return entry.path
            elif entry.level in levels:
                rank = levels.index(entry.level)
                best = min(best, (rank, entry.path)) if best else (rank, entry.path)
        return best[1] if best else None


def read_cache(data: bytes) -> LoaderCache | None:
    """Return the cache in ``data``, or None if it is not in the format of glibc 2.2 or later."""
    # An old-format cache may come first; the offsets of the new one count from its own start.
    start = data.find(MAGIC)
    if start < 0:
        return None
    view = data[start:] if start else data
    # The flags at 28 have the byte order since 2.33. Older caches have zeros there: only the right
    # byte order gives a number of entries that fits the file.
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
    """Return the names of the subdirectories of glibc-hwcaps, to which entries refer by index."""
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
    # Strings may overlap, so the size of the cache does not bound their total length.
    return os.fsdecode(get_string(view[offset : offset + MAX_STRING], 0))


def list_cached_libraries(path: Path = CACHE_PATH) -> Iterator[tuple[str, str]]:
    """Yield soname and path of each entry of a cache file; nothing if there is no valid cache."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE)
    except OSError as error:
        raise_if_exhausted(error)
        return
    cache = read_cache(data)
    yield from ((entry.name, entry.path) for entry in cache.entries) if cache else ()
