"""Headers of members as they were read: the writer copies them, except for a changed mode."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.zip.structures import ENTRY, ZipEntry
from bundle_fix.model.content import BytesReader, Content, FileSlice, Reader

UNIX = 3
"""The system whose file modes are in the external attributes (APPNOTE 4.4.2)."""
SYSTEM_FIELD, EXTERNAL_FIELD = 2, 16
"""Positions among the fields of an entry."""
MS_DIRECTORY = 0x10
"""Attribute of a directory in MS-DOS (APPNOTE 4.4.15)."""
MS_ATTRIBUTES = 0xFFFF
"""The external attributes without the mode (APPNOTE 4.4.15)."""


class ZipArchive(Struct, frozen=True):
    """The parts of an archive that belong to no member.

    Attributes:
        preceding: the bytes before the first member, such as a self-extracting program.
        comment: the comment in the end record.
        is_zip64: whether it has a zip64 end record.
    """

    preceding: FileSlice
    comment: bytes
    is_zip64: bool


class ZipHeader(Struct, frozen=True):
    """The headers of a member in the archive that it was read from.

    Attributes:
        entry: its entry in the central directory.
        content: its content when it was read; the headers apply only to this content.
        member: its local header and compressed data, byte for byte.
        archive: the archive.
    """

    entry: ZipEntry
    content: Content
    member: FileSlice
    archive: ZipArchive

    @property
    def size(self) -> int:
        """Number of bytes of the local header."""
        return self.entry.data - self.entry.start

    def with_mode(self, mode: int) -> ZipHeader:
        """Return the header with other permission bits, which only the entry contains.

        The entry becomes one of Unix: the attributes of other systems have no mode.
        """
        entry = self.entry
        kind = stat.S_IFMT(entry.external >> 16) if entry.system == UNIX else 0
        kind = kind or (stat.S_IFDIR if entry.name.endswith(b"/") else stat.S_IFREG)
        external = (kind | mode) << 16 | entry.external & MS_ATTRIBUTES
        values = list(ENTRY.unpack_from(entry.raw))
        values[SYSTEM_FIELD], values[EXTERNAL_FIELD] = UNIX, external
        raw = ENTRY.pack(*values) + entry.raw[ENTRY.size :]
        return replace(self, entry=entry._replace(raw=raw, system=UNIX, external=external))

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the local header."""
        with self.member.open() as reader:
            yield BytesReader(reader.pread(0, self.size))
