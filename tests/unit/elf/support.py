"""Helpers of the tests of `bundle_fix.elf`: other readers, and changes of single bytes."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from elftools.elf.dynamic import DynamicSection, DynamicSegment
from elftools.elf.elffile import ELFFile

from builders.elf import HOST, Toolchain, build_elf, compile_cached
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.structs import Format, Header, Section, get_elf_format
from bundle_fix.model.content import BytesContent, BytesReader, Content, PathContent, read_chunks

LOADER = "/lib64/ld-linux-x86-64.so.2"
SYSTEM_DIRECTORIES = ("/usr/bin", "/usr/lib/x86_64-linux-gnu")


class Strings(NamedTuple):
    """The strings of a dynamic section, as any reader returns them."""

    needed: tuple[str, ...]
    soname: str | None
    rpath: str | None
    runpath: str | None


def get_content(path: Path) -> PathContent:
    return PathContent(path, path.stat().st_size)


def read_bytes_of(content: Content) -> bytes:
    with content.open() as reader:
        return b"".join(read_chunks(reader))


def read_image_of(path: Path) -> Image:
    with get_content(path).open() as reader:
        return read_image(reader)


def parse_image(data: bytes) -> Image:
    return read_image(BytesReader(data))


def get_strings(image: Image) -> Strings:
    return Strings(image.needed, image.soname, image.rpath, image.runpath)


def read_with_readelf(path: Path) -> Strings:
    """Return the strings that readelf prints; fail if it prints a warning."""
    done = run_tool("readelf", "-dW", path)
    assert "arning" not in done.stderr, done.stderr
    found: dict[str, list[str]] = {"NEEDED": [], "SONAME": [], "RPATH": [], "RUNPATH": []}
    for tag, text in re.findall(r"^ 0x\w+ \((\w+)\)\s+[A-Z][\w ]+: \[(.*)\]$", done.stdout, re.M):
        found.setdefault(tag, []).append(text)
    soname, rpath, runpath = (found[t][0] if found[t] else None for t in list(found)[1:4])
    return Strings(tuple(found["NEEDED"]), soname, rpath, runpath)


def read_with_pyelftools(path: Path) -> Strings:
    with path.open("rb") as file:
        return get_pyelftools_strings(ELFFile(file))


def get_pyelftools_strings(file: ELFFile) -> Strings:
    found: dict[str, list[str]] = {"needed": [], "soname": [], "rpath": [], "runpath": []}
    parts = (*file.iter_sections(), *file.iter_segments())
    source = next(part for part in parts if isinstance(part, DynamicSection | DynamicSegment))
    for tag in source.iter_tags():
        name = str(tag.entry.d_tag).removeprefix("DT_").lower()
        if name in found:
            found[name].append(getattr(tag, name))
    singles = (found[name][0] if found[name] else None for name in ("soname", "rpath", "runpath"))
    return Strings(tuple(found["needed"]), *singles)


def run_tool(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program, which must succeed; skip the test if it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environ},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def drop_section_headers(data: bytes) -> bytes:
    """Return the file without section headers: e_shoff, e_shnum and e_shstrndx are zero."""
    image = parse_image(data)
    header = image.header._replace(shoff=0, shnum=0, shstrndx=0)
    return data[:16] + image.format.header.pack(*header) + data[16 + image.format.header.size :]


def build_sample_library(directory: Path, toolchain: Toolchain = HOST) -> Path:
    """Build a library with a soname, two needed names and a RUNPATH."""
    needed = ["liba.so.1", "libb.so.2"]
    path = directory / "libx.so"
    return build_elf(
        path, soname="libx.so.7", needed=needed, runpath="$ORIGIN:/opt/x", toolchain=toolchain
    )


def build_object_file(flags: Sequence[str], source: str, toolchain: Toolchain) -> Path:
    return compile_cached(source, [*toolchain.flags, *flags], toolchain)


def list_system_files(every: int = 1) -> list[Path]:
    """Return every ``every``-th ELF file of this machine."""
    paths = (p for directory in SYSTEM_DIRECTORIES for p in sorted(Path(directory).glob("*")))
    files = [p for p in paths if p.is_file() and not p.is_symlink()]
    return [p for p in files[::every] if is_elf_file(p)]


def find_libc() -> Path:
    """Return the path of this machine's C library."""
    return Path(run_tool("cc", "-print-file-name=libc.so.6").stdout.strip()).resolve()


def is_elf_file(path: Path) -> bool:
    with get_content(path).open() as reader:
        return is_elf(reader)


def build_tiny_elf(
    entries: Sequence[tuple[int, int]],
    table: bytes = b"\0",
    *,
    bits: int = 64,
    order: str = "little",
    kind: int = c.ET_DYN,
    appended: bytes = b"",
) -> BytesContent:
    """Build an ELF file with one loaded segment; addresses are file offsets.

    Args:
        entries: tags and values of its dynamic section; DT_STRTAB and DT_STRSZ are added.
        table: its string table, between the program headers and the dynamic section.
        bits: its class.
        order: its byte order.
        kind: its e_type.
        appended: bytes after the dynamic section.
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
    size = dynamic_at + len(dynamic) + len(appended)

    def segment(type_: int, offset: int, length: int) -> bytes:
        if wide:
            return struct.pack(mark + phdr, type_, 6, offset, offset, offset, length, length, 8)
        return struct.pack(mark + phdr, type_, offset, offset, offset, length, length, 6, 8)

    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2, 1]) + bytes(9)
    header = struct.pack(mark + ehdr, kind, 62, 1, 0, head, 0, 0, head, step, 2, 0, 0, 0)
    segments = segment(c.PT_LOAD, 0, size) + segment(c.PT_DYNAMIC, dynamic_at, len(dynamic))
    data = (ident + header + segments + table).ljust(dynamic_at, b"\0") + dynamic + appended
    return BytesContent(data)


def change_header(data: bytes, **fields: int) -> bytes:
    """Return ``data`` with changed fields of its ELF header."""
    fmt = get_format(data)
    header = Header(*fmt.header.unpack_from(data, 16))
    return replace_bytes(data, 16, fmt.header.pack(*header._replace(**fields)))


def change_segment(data: bytes, kind: int, number: int = 0, **fields: int) -> bytes:
    """Return ``data`` with changed fields of the ``number``-th program header of type ``kind``."""
    fmt = get_format(data)
    header = Header(*fmt.header.unpack_from(data, 16))
    size = fmt.segment.size
    places = [header.phoff + n * size for n in range(header.phnum)]
    segments = [(at, fmt.unpack_segment(data[at : at + size])) for at in places]
    at, segment = [pair for pair in segments if pair[1].type == kind][number]
    return replace_bytes(data, at, fmt.pack_segment(segment._replace(**fields)))


def change_section(data: bytes, name: str, **fields: int) -> bytes:
    """Return ``data`` with changed fields of the header of the section ``name``."""
    image = parse_image(data)
    at, section = find_section(data, name)
    return replace_bytes(data, at, image.format.section.pack(*section._replace(**fields)))


def find_section(data: bytes, name: str) -> tuple[int, Section]:
    """Return the file offset of the header of the section ``name``, and the header."""
    image = parse_image(data)
    sections = read_sections(BytesReader(data), image.format, image.header)
    names = sections[image.header.shstrndx].offset
    for number, section in enumerate(sections):
        start = names + section.name
        if data[start : data.index(b"\0", start)] == name.encode():
            return image.header.shoff + number * image.format.section.size, section
    raise LookupError(name)


def get_format(data: bytes) -> Format:
    return get_elf_format(32 * data[4], "little" if data[5] == 1 else "big")


def change_dynamic_entry(data: bytes, tag: int, value: int, new_tag: int | None = None) -> bytes:
    """Return ``data`` with another value, and tag if given, in its first entry of ``tag``."""
    image = parse_image(data)
    place = next(s.offset for s in image.segments if s.type == c.PT_DYNAMIC)
    number = next(n for n, e in enumerate(image.dynamic or ()) if e.tag == tag)
    raw = image.format.dynamic.pack(tag if new_tag is None else new_tag, value)
    return replace_bytes(data, place + number * len(raw), raw)


def replace_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]
