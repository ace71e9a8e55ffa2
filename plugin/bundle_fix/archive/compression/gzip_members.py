"""gzip members one behind the other, up to what is none: as gzip(1) reads a file.

The reader that is fastest gives up over what stands behind the last member, and with it the bytes
that it had read ahead.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x1f\x8b"
STEP = 1 << 18
GZIP = 16 + zlib.MAX_WBITS


def read_gzip_members(path: Path) -> Iterator[bytes]:
    """The bytes of all members, in pieces.

    Raises:
        EOFError: the file ends within a member.
        zlib.error: a member is damaged.
    """
    with path.open("rb") as file:
        rest = file.read(STEP)
        while rest.startswith(MAGIC):
            inflate = zlib.decompressobj(GZIP)
            while not inflate.eof:
                if not rest:
                    raise EOFError("the file ends within a member")
                piece = inflate.decompress(rest, STEP)
                rest = inflate.unconsumed_tail or (b"" if inflate.eof else file.read(STEP))
                if piece:
                    yield piece
            rest = inflate.unused_data
            if len(rest) < len(MAGIC):
                rest += file.read(STEP)
