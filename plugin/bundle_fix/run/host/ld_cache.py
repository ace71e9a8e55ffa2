"""The ld.so.cache of the decoy host, in the format ``glibc-ld.so.cache1.1``.

Source: glibc's sysdeps/generic/dl-cache.h and elf/dl-cache.c; `bundle_fix.loader.hosts.cache` reads
the same format.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from typing import Literal

from bundle_fix.loader.hosts.cache import MAGIC, CacheEntry

MARKS = {"little": 2, "big": 3}
"""The flag of the byte order (cache_file_new_flags_endian_little, …_big), since glibc 2.33."""


def build_cache(entries: Sequence[CacheEntry], order: Literal["little", "big"]) -> bytes:
    """Return the bytes of a cache with ``entries``, which may be in any order."""
    mark = "<" if order == "little" else ">"
    header, layout = struct.Struct(mark + "20sIIB3xI12x"), struct.Struct(mark + "iIIIQ")
    ordered = sorted(entries, key=lambda entry: _make_sort_key(entry.name), reverse=True)
    start = header.size + len(ordered) * layout.size
    rows, strings = b"", b""
    for entry in ordered:
        name = os.fsencode(entry.name) + b"\0"
        at = start + len(strings)
        rows += layout.pack(entry.flags, at, at + len(name), 0, entry.hwcap)
        strings += name + os.fsencode(entry.path) + b"\0"
    return header.pack(MAGIC, len(ordered), len(strings), MARKS[order], 0) + rows + strings


def _make_sort_key(name: str) -> list[tuple[int, int]]:
    """Return the key of the loader's binary search: numbers by value, after all other characters.

    Source: _dl_cache_libcmp.
    """
    parts = re.findall(rb"\d+|\D", os.fsencode(name))
    return [(1, int(part)) if part.isdigit() else (0, part[0]) for part in parts]
