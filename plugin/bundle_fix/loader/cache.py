"""``/etc/ld.so.cache``: which file this machine's loader takes for a soname.

Source: glibc's sysdeps/generic/dl-cache.h, the format ``glibc-ld.so.cache1.1``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

from bundle_fix.elf.image import string_at

MAGIC = b"glibc-ld.so.cache1.1"
HEADER = Struct("=20sII4xI12x")
ENTRY = Struct("=iIIIQ")
MAX_SIZE = 64 << 20
CACHE = Path("/etc/ld.so.cache")


def cached_libraries(path: Path = CACHE) -> Iterator[tuple[str, str]]:
    """The cache's entries, soname and path, in its order; none where there is no cache."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE)
    except OSError:
        return
    # An old-format cache may come first; the offsets of the new one count from its own start.
    start = data.find(MAGIC)
    if start < 0 or len(data) < start + HEADER.size:
        return
    _, count, _, _ = HEADER.unpack_from(data, start)
    first = start + HEADER.size
    count = min(count, (len(data) - first) // ENTRY.size)
    for number in range(count):
        _, key, value, _, _ = ENTRY.unpack_from(data, first + number * ENTRY.size)
        yield (
            os.fsdecode(string_at(data, start + key)),
            os.fsdecode(string_at(data, start + value)),
        )
