"""Reader of gzip files with garbage after the last member, which it ignores like gzip(1).

The fastest reader raises an error for such a file and loses the bytes that it has read ahead.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x1f\x8b"
READ_SIZE = 1 << 18
GZIP_WBITS = 16 + zlib.MAX_WBITS
"""The value of ``wbits`` for a gzip member with its header and trailer."""


def read_gzip_members(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of all members.

    Raises:
        EOFError: the file ends within a member.
        zlib.error: a member is damaged.
    """
    with path.open("rb") as file:
        rest = file.read(READ_SIZE)
        while rest.startswith(MAGIC):
            inflate = zlib.decompressobj(GZIP_WBITS)
            while not inflate.eof:
                if not rest:
                    raise EOFError("the file ends within a member")
                chunk = inflate.decompress(rest, READ_SIZE)
                rest = inflate.unconsumed_tail or (b"" if inflate.eof else file.read(READ_SIZE))
                if chunk:
                    yield chunk
            rest = inflate.unused_data
            if len(rest) < len(MAGIC):
                rest += file.read(READ_SIZE)
