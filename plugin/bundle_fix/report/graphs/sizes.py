"""The sizes of an artifact's files, and the files that are in it more than once."""

from __future__ import annotations

from msgspec import Struct


class FileSize(Struct, frozen=True):
    """The size of one file in bytes; or, if ``count`` is more than 1, of that many files below."""

    path: str
    size: int
    count: int = 1


class Copies(Struct, frozen=True):
    """Files with the same bytes; or, if ``soname`` is not empty, other files with one soname."""

    paths: tuple[str, ...]
    size: int
    soname: str = ""

    @property
    def wasted(self) -> int:
        """The bytes of all copies but one; 0 if the copies differ."""
        return 0 if self.soname else self.size * (len(self.paths) - 1)


class Sizes(Struct, frozen=True):
    """The sizes of the files of an artifact, the largest first, and its copies."""

    total: int
    files: tuple[FileSize, ...]
    copies: tuple[Copies, ...]
