"""Type flags of tar headers (POSIX ustar and pax; GNU tar's tar.h; star(5))."""

from __future__ import annotations

OLD_REGULAR = b"\0"
HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = (b"%d" % n for n in range(1, 7))
DUMP_DIRECTORY, SPARSE, VOLUME_LABEL, CONTINUATION = b"D", b"S", b"V", b"M"
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL = b"L", b"K", b"x", b"g"
SOLARIS_ACL, SOLARIS_PAX = b"A", b"X"
REGULAR, CONTIGUOUS = b"0", b"7"
EXTENSION_TYPES = frozenset({LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL})
TYPES_WITHOUT_DATA = frozenset({HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO})
"""Types that store no bytes, even if their size field is not 0 (POSIX: the size is ignored)."""
KNOWN_TYPES = frozenset(
    {OLD_REGULAR, REGULAR, CONTIGUOUS, SPARSE, CONTINUATION, *EXTENSION_TYPES, *TYPES_WITHOUT_DATA}
)
"""Types that common tools read alike, or reject."""
