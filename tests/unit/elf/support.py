"""What the tests of `bundle_fix.elf` share: other readers' opinions, files made byte by byte."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elftools.elf.dynamic import DynamicSection, DynamicSegment
from elftools.elf.elffile import ELFFile

from builders.elf import compile_cached
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.structs import Format, Header, Section, get_elf_format
from bundle_fix.model.content import BytesContent, BytesReader, Content, PathContent, read_chunks

LOADER = "/lib64/ld-linux-x86-64.so.2"
SYSTEM_FOLDERS = ("/usr/bin", "/usr/lib/x86_64-linux-gnu")


class Strings(NamedTuple):
    """The strings of a dynamic section, by whichever reader."""

    needed: tuple[str, ...]
    soname: str | None
    rpath: str | None
    runpath: str | None


def content_of(path: Path) -> PathContent:
    return PathContent(path, path.stat().st_size)


def bytes_of(content: Content) -> bytes:
    with content.open() as reader:
        return b"".join(read_chunks(reader))


def image_of(path: Path) -> Image:
    with content_of(path).open() as reader:
        return read_image(reader)


def image_in(data: bytes) -> Image:
    return read_image(BytesReader(data))


def ours(image: Image) -> Strings:
    return Strings(image.needed, image.soname, image.rpath, image.runpath)


def by_readelf(path: Path) -> Strings:
    """What readelf prints of the dynamic section; any complaint of it is a failure."""
    done = run("readelf", "-dW", path)
    assert "arning" not in done.stderr, done.stderr
    found: dict[str, list[str]] = {"NEEDED": [], "SONAME": [], "RPATH": [], "RUNPATH": []}
    for tag, text in re.findall(r"^ 0x\w+ \((\w+)\)\s+[A-Z][\w ]+: \[(.*)\]$", done.stdout, re.M):
        found.setdefault(tag, []).append(text)
    soname, rpath, runpath = (found[t][0] if found[t] else None for t in list(found)[1:4])
    return Strings(tuple(found["NEEDED"]), soname, rpath, runpath)


def by_pyelftools(path: Path) -> Strings:
    with path.open("rb") as file:
        return strings_by_pyelftools(ELFFile(file))


def strings_by_pyelftools(file: ELFFile) -> Strings:
    found: dict[str, list[str]] = {"needed": [], "soname": [], "rpath": [], "runpath": []}
    parts = (*file.iter_sections(), *file.iter_segments())
    source = next(part for part in parts if isinstance(part, DynamicSection | DynamicSegment))
    for tag in source.iter_tags():
        name = str(tag.entry.d_tag).removeprefix("DT_").lower()
        if name in found:
            found[name].append(getattr(tag, name))
    singles = (found[name][0] if found[name] else None for name in ("soname", "rpath", "runpath"))
    return Strings(tuple(found["needed"]), *singles)


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program, which must succeed; skip the test, saying why, where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environ},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def without_section_headers(data: bytes) -> bytes:
    """The file as sstrip leaves it: e_shoff, e_shnum and e_shstrndx are zero."""
    image = image_in(data)
    header = image.header._replace(shoff=0, shnum=0, shstrndx=0)
    return data[:16] + image.format.header.pack(*header) + data[16 + image.format.header.size :]


def object_file(flags: Sequence[str], source: str, toolchain: Any) -> Path:
    return compile_cached(source, [*toolchain.flags, *flags], toolchain)


def system_files(every: int = 1) -> list[Path]:
    """The machine's own ELF files, or each ``every``-th of them."""
    paths = (p for folder in SYSTEM_FOLDERS for p in sorted(Path(folder).glob("*")))
    files = [p for p in paths if p.is_file() and not p.is_symlink()]
    return [p for p in files[::every] if starts_as_elf(p)]


def libc() -> Path:
    """The C library of the machine's own compiler."""
    return Path(run("cc", "-print-file-name=libc.so.6").stdout.strip()).resolve()


def starts_as_elf(path: Path) -> bool:
    with content_of(path).open() as reader:
        return is_elf(reader)


def tiny_elf(
    entries: Sequence[tuple[int, int]],
    table: bytes = b"\0",
    *,
    bits: int = 64,
    order: str = "little",
    kind: int = c.ET_DYN,
    behind: bytes = b"",
) -> BytesContent:
    """A file of one segment: headers, ``table`` as its string table, dynamic section, ``behind``.

    DT_STRTAB and DT_STRSZ are added to ``entries``; addresses are file offsets.
    """
    mark = "<" if order == "little" else ">"
    wide = bits == 64
    ehdr, phdr, dyn = ("HHIQQQIHHHHHH", "IIQQQQQQ", "QQ") if wide else ("HHIIIIIHHHHHH", "8I", "II")
    head = 16 + struct.calcsize(mark + ehdr)
    step = struct.calcsize(mark + phdr)
    start = head + 2 * step
    dynamic_at = start + len(table) + -(start + len(table)) % 16
    rows = [*entries, (c.DT_STRTAB, start), (c.DT_STRSZ, len(table)), (c.DT_NULL, 0)]
    dynamic = b"".join(struct.pack(mark + dyn, *row) for row in rows)
    size = dynamic_at + len(dynamic) + len(behind)

    def segment(type_: int, offset: int, length: int) -> bytes:
        if wide:
            return struct.pack(mark + phdr, type_, 6, offset, offset, offset, length, length, 8)
        return struct.pack(mark + phdr, type_, offset, offset, offset, length, length, 6, 8)

    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2, 1]) + bytes(9)
    header = struct.pack(mark + ehdr, kind, 62, 1, 0, head, 0, 0, head, step, 2, 0, 0, 0)
    segments = segment(c.PT_LOAD, 0, size) + segment(c.PT_DYNAMIC, dynamic_at, len(dynamic))
    data = (ident + header + segments + table).ljust(dynamic_at, b"\0") + dynamic + behind
    return BytesContent(data)


def with_header(data: bytes, **fields: int) -> bytes:
    """``data`` with fields of its ELF header changed."""
    fmt = format_of(data)
    header = Header(*fmt.header.unpack_from(data, 16))
    return splice(data, 16, fmt.header.pack(*header._replace(**fields)))


def with_segment(data: bytes, kind: int, number: int = 0, **fields: int) -> bytes:
    """``data`` with fields changed in the ``number``-th program header of type ``kind``."""
    fmt = format_of(data)
    header = Header(*fmt.header.unpack_from(data, 16))
    size = fmt.segment.size
    places = [header.phoff + n * size for n in range(header.phnum)]
    segments = [(at, fmt.unpack_segment(data[at : at + size])) for at in places]
    at, segment = [pair for pair in segments if pair[1].type == kind][number]
    return splice(data, at, fmt.pack_segment(segment._replace(**fields)))


def with_section(data: bytes, name: str, **fields: int) -> bytes:
    """``data`` with fields changed in the header of the section called ``name``."""
    image = image_in(data)
    at, section = section_of(data, name)
    return splice(data, at, image.format.section.pack(*section._replace(**fields)))


def section_of(data: bytes, name: str) -> tuple[int, Section]:
    """Where in the file the header of the section called ``name`` is, and what it says."""
    image = image_in(data)
    sections = read_sections(BytesReader(data), image.format, image.header)
    names = sections[image.header.shstrndx].offset
    for number, section in enumerate(sections):
        start = names + section.name
        if data[start : data.index(b"\0", start)] == name.encode():
            return image.header.shoff + number * image.format.section.size, section
    raise LookupError(name)


def format_of(data: bytes) -> Format:
    return get_elf_format(32 * data[4], "little" if data[5] == 1 else "big")


def with_dynamic(data: bytes, tag: int, value: int, new_tag: int | None = None) -> bytes:
    """``data`` with another value, or also another tag, in its first entry of ``tag``."""
    image = image_in(data)
    place = next(s.offset for s in image.segments if s.type == c.PT_DYNAMIC)
    number = next(n for n, e in enumerate(image.dynamic or ()) if e.tag == tag)
    raw = image.format.dynamic.pack(tag if new_tag is None else new_tag, value)
    return splice(data, place + number * len(raw), raw)


def splice(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]
