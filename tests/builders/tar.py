"""Tarballs built from raw headers, so that each byte of a header can be chosen."""

from __future__ import annotations

import tarfile

DIR, REG, LNK, SYM = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
CHR, FIFO = tarfile.CHRTYPE, tarfile.FIFOTYPE
END_SIZE = 10240
"""Bytes of zeros after the last member: two blocks are required, GNU tar writes a record."""


def make_member(name: str, kind: bytes = REG, content: bytes = b"", target: str = "") -> bytes:
    """Return a header, and the content padded to whole blocks."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content)
    return info.tobuf() + content + bytes(-len(content) % 512)


def make_archive(*members: bytes) -> bytes:
    """Return the members with the end of an archive after them."""
    return b"".join(members) + bytes(END_SIZE)


def set_size(raw: bytes, size: bytes) -> bytes:
    """Return the member with another size field and the right checksum."""
    return fix_checksum(raw[:124] + size + raw[136:])


def fix_checksum(raw: bytes) -> bytes:
    """Return the member with the right checksum."""
    blank = raw[:148] + b" " * 8 + raw[156:]
    return blank[:148] + b"%06o\0 " % sum(blank[:512]) + blank[156:]


def make_pax_header(records: dict[str, str]) -> bytes:
    """Return a pax header for the member that follows."""
    info = tarfile.TarInfo("x")
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT)[:-512]
