"""The reader: every class, byte order and kind of file, and what lies about itself."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.symbols.hashes import count_symbols, provides_symbol
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.elf.symbols.versions import read_needed_versions, read_verdef
from bundle_fix.model.content import BytesReader, FileReader, Reader
from elf.support import (
    Strings,
    by_pyelftools,
    by_readelf,
    bytes_of,
    image_in,
    image_of,
    libc,
    object_file,
    ours,
    run,
    splice,
    strings_by_pyelftools,
    system_files,
    tiny_elf,
    with_dynamic,
    with_header,
    with_segment,
    without_section_headers,
)

ARCHITECTURES = {
    "aarch64": (64, "little", "aarch64"),
    "armhf": (32, "little", "arm"),
    "i386": (32, "little", "i386"),
    "ppc64le": (64, "little", "powerpc64"),
    "riscv64": (64, "little", "riscv"),
    "s390x": (64, "big", "s390"),
}
MUCH_DEBUG = (
    "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\nint main(void){return 0;}\n"
)


def library(folder: Path, toolchain: Toolchain = HOST) -> Path:
    needed = ["liba.so.1", "libb.so.2"]
    path = folder / "libx.so"
    return build_elf(
        path, soname="libx.so.7", needed=needed, runpath="$ORIGIN:/opt/x", toolchain=toolchain
    )


@pytest.mark.parametrize("name", CROSS)
def test_class_byte_order_and_machine_are_read(tmp_path: Path, name: str) -> None:
    image = image_of(library(tmp_path, CROSS[name]))
    assert (image.format.bits, image.format.order, image.machine) == ARCHITECTURES[name]
    assert image.architecture[:2] == ARCHITECTURES[name][:2]
    assert (image.type, image.is_library, image.is_program) == ("dyn", True, False)


@pytest.mark.parametrize("toolchain", [*LINKERS.values(), *CROSS.values()], ids=[*LINKERS, *CROSS])
def test_the_strings_are_those_that_readelf_sees(tmp_path: Path, toolchain: Toolchain) -> None:
    path = library(tmp_path, toolchain)
    seen = ours(image_of(path))
    assert seen.needed[:2] == ("liba.so.1", "libb.so.2")
    assert seen[1:] == ("libx.so.7", None, "$ORIGIN:/opt/x")
    assert seen == by_readelf(path) == by_pyelftools(path)


def test_an_rpath_is_no_runpath(tmp_path: Path) -> None:
    image = image_of(build_elf(tmp_path / "x", program=True, rpath="/opt/x"))
    assert (image.rpath, image.runpath) == ("/opt/x", None)


def test_a_library_without_soname_has_none_and_not_an_empty_one(tmp_path: Path) -> None:
    image = image_of(build_elf(tmp_path / "libx.so", runpath=""))
    assert image.soname is None


def test_strings_that_are_not_utf8_survive() -> None:
    content = tiny_elf([(c.DT_RUNPATH, 1)], b"\0caf\xe9/lib\0")
    assert image_in(bytes_of(content)).runpath == os.fsdecode(b"caf\xe9/lib")


def test_a_pie_is_a_program(tmp_path: Path) -> None:
    image = image_of(build_elf(tmp_path / "x", program=True))
    assert (image.type, image.is_program, image.is_library) == ("dyn", True, False)
    assert image.interpreter == "/lib64/ld-linux-x86-64.so.2"


def test_a_program_at_a_fixed_address_is_a_program(tmp_path: Path) -> None:
    image = image_of(build_elf(tmp_path / "x", program=True, flags=["-no-pie"]))
    assert (image.type, image.is_program, image.is_library) == ("exec", True, False)


def test_a_library_that_can_also_be_started_is_a_library() -> None:
    image = image_of(libc())
    assert image.interpreter
    assert (image.is_program, image.is_library) == (False, True)


def test_a_static_program_has_no_dynamic_section(tmp_path: Path) -> None:
    image = image_of(build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"]))
    assert (image.type, image.is_dynamic, image.is_program) == ("exec", False, False)


def test_a_static_pie_needs_nobody(tmp_path: Path) -> None:
    image = image_of(build_elf(tmp_path / "x", program=True, flags=["-static-pie"]))
    assert (image.is_dynamic, image.interpreter, image.needed) == (True, None, ())
    assert not image.is_program


def test_an_object_file_is_neither_program_nor_library() -> None:
    image = image_of(object_file(["-c"], "int x;", HOST))
    assert (image.type, image.is_dynamic, image.is_library) == ("rel", False, False)


def test_of_a_core_file_only_the_header_is_read(tmp_path: Path) -> None:
    # A core file may have more than 65,535 segments; the loader has no business with any.
    data = library(tmp_path).read_bytes()
    image = image_in(with_header(data, type=c.ET_CORE, phnum=0xFFFF))
    assert (image.type, image.segments, image.is_dynamic) == ("core", (), False)


def test_a_debug_file_of_objcopy_is_not_dynamic(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, source=MUCH_DEBUG, flags=["-g3"])
    run("objcopy", "--only-keep-debug", path, tmp_path / "x.debug")
    image = image_of(tmp_path / "x.debug")
    assert not image.is_dynamic


@pytest.mark.parametrize("flags", [["-g3"], ["-g"], ["-g0"]])
def test_a_debug_file_of_eu_strip_is_not_dynamic(tmp_path: Path, flags: list[str]) -> None:
    # Its program headers still tell where the dynamic section was: behind the end, or in DWARF.
    path = build_elf(tmp_path / "x", program=True, source=MUCH_DEBUG, flags=flags)
    run("eu-strip", "-f", tmp_path / "x.debug", path)
    assert image_of(path).is_dynamic
    assert not image_of(tmp_path / "x.debug").is_dynamic


@pytest.mark.parametrize("filler", [b"\0", b"\x01", b"abcdefgh", b"\xff"])
def test_a_debug_file_is_known_whatever_stands_in_the_place_of_its_dynamic_section(
    tmp_path: Path, filler: bytes
) -> None:
    path = build_elf(tmp_path / "x", program=True, source=MUCH_DEBUG, flags=["-g3"])
    run("eu-strip", "-f", tmp_path / "x.debug", path)
    data = (tmp_path / "x.debug").read_bytes()
    dynamic = next(s for s in image_in(data).segments if s.type == c.PT_DYNAMIC)
    assert len(data) > dynamic.file_end
    fill = (filler * dynamic.filesz)[: dynamic.filesz]
    assert not image_in(splice(data, dynamic.offset, fill)).is_dynamic


@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"], CROSS["armhf"]])
def test_nothing_is_missed_without_section_headers(tmp_path: Path, toolchain: Toolchain) -> None:
    data = library(tmp_path, toolchain).read_bytes()
    bare = image_in(without_section_headers(data))
    whole = image_in(data)
    assert ours(bare) == ours(whole)
    assert bare.dynamic == whole.dynamic


def test_thousands_of_sections_are_read_by_the_number_in_the_first_header(tmp_path: Path) -> None:
    data = library(tmp_path).read_bytes()
    image = image_in(data)
    sections = read_sections(BytesReader(data), image.format, image.header)
    first = sections[0]._replace(size=len(sections))
    moved = with_header(data, shnum=0)
    moved = splice(moved, image.header.shoff, image.format.section.pack(*first))
    again = image_in(moved)
    assert len(read_sections(BytesReader(moved), again.format, again.header)) == len(sections)


def test_the_machines_own_files_are_read_as_readelf_reads_them() -> None:
    files = system_files(every=10)
    assert files
    wrong = [p for p in files if image_of(p).is_dynamic and ours(image_of(p)) != by_readelf(p)]
    assert not wrong


def test_the_machines_own_files_are_read_as_pyelftools_reads_them() -> None:
    different = []
    for path in system_files(every=5):
        with path.open("rb") as file:
            theirs = ELFFile(file)
            image = image_of(path)
            dynamic = any(s["p_type"] == "PT_DYNAMIC" for s in theirs.iter_segments())
            strings = strings_by_pyelftools(theirs) if dynamic else None
            if strings != (ours(image) if image.is_dynamic else None):
                different.append(path)
    assert not different


# --- files that lie ---------------------------------------------------------------------------


LIES: dict[str, tuple[int, dict[str, int]]] = {
    "program headers beyond the file": (0, {"phoff": 1 << 40}),
    "program headers of another size": (0, {"phentsize": 57}),
    "program headers without number": (0, {"phnum": 0xFFFF}),
    "dynamic section beyond the file": (c.PT_DYNAMIC, {"offset": 1 << 33}),
    "dynamic section without end": (c.PT_DYNAMIC, {"filesz": 1 << 62}),
    "no segment that loads anything": (c.PT_LOAD, {"filesz": 0}),
    "a segment at another address": (c.PT_LOAD, {"vaddr": 1 << 60}),
    "a segment at another offset": (c.PT_LOAD, {"offset": 1 << 60}),
    "an interpreter beyond the file": (c.PT_INTERP, {"offset": 1 << 60}),
    "an interpreter as large as the file": (c.PT_INTERP, {"filesz": 1 << 60}),
}
"""What each lie is, and how it is told: by a segment of this type, or (0) by the ELF header."""


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_with_one_line(tmp_path: Path, lie: str) -> None:
    kind, fields = LIES[lie]
    data = build_elf(tmp_path / "x", program=True, needed=["liba.so.1"]).read_bytes()
    data = with_segment(data, kind, **fields) if kind else with_header(data, **fields)
    with pytest.raises(DamagedElfError) as error:
        image_in(data)
    assert error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (c.DT_STRTAB, 1 << 50),
        (c.DT_STRTAB, 0),
        (c.DT_STRSZ, 1 << 50),
        (c.DT_STRSZ, 1),
        (c.DT_STRSZ, 0),
        (c.DT_NEEDED, 1 << 40),
        (c.DT_SONAME, 1 << 20),
        (c.DT_RUNPATH, (1 << 64) - 1),
    ],
)
def test_a_dynamic_entry_that_lies_is_refused(tmp_path: Path, tag: int, value: int) -> None:
    data = with_dynamic(library(tmp_path).read_bytes(), tag, value)
    # An address of 0 is the ELF header, where every string is another than it was.
    if (tag, value) == (c.DT_STRTAB, 0):
        assert image_in(data).needed != ("liba.so.1", "libb.so.2", "libc.so.6")
        return
    with pytest.raises(DamagedElfError):
        image_in(data)


def test_a_dynamic_section_without_string_table_is_refused(tmp_path: Path) -> None:
    data = library(tmp_path).read_bytes()
    with pytest.raises(DamagedElfError, match="contains the string table"):
        image_in(with_dynamic(data, c.DT_STRTAB, 0, new_tag=c.DT_DEBUG))


@pytest.mark.parametrize("length", [4, 15, 16, 20, 63, 64, 100, 400, 0x1000])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()[:length]
    with pytest.raises(DamagedElfError):
        image_in(data)


@pytest.mark.parametrize(("at", "value"), [(4, 0), (4, 3), (5, 0), (5, 9)])
def test_a_class_or_byte_order_that_does_not_exist_is_refused(
    tmp_path: Path, at: int, value: int
) -> None:
    data = splice(library(tmp_path).read_bytes(), at, bytes([value]))
    with pytest.raises(DamagedElfError, match="invalid ELF class"):
        image_in(data)


def test_only_what_begins_as_elf_is_elf(tmp_path: Path) -> None:
    assert is_elf(BytesReader(library(tmp_path).read_bytes()))
    assert not is_elf(BytesReader(b"\x7fEL"))
    assert not is_elf(BytesReader(b"#!/bin/sh\n"))
    assert not is_elf(BytesReader(b""))


def test_sections_beyond_the_file_are_no_sections(tmp_path: Path) -> None:
    data = with_header(library(tmp_path).read_bytes(), shoff=1 << 40)
    image = image_in(data)
    assert read_sections(BytesReader(data), image.format, image.header) == ()


# --- files that want to be large --------------------------------------------------------------


def peak_of_reading(reader: Reader) -> int:
    """The most bytes that Python objects took while the file was read, and its refusal."""
    tracemalloc.start()
    try:
        with pytest.raises(DamagedElfError):
            read_image(reader)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [15_000, 60_000])
def test_needed_names_that_overlap_cannot_fill_the_memory(length: int) -> None:
    table = b"\0" + b"a" * length + b"\0"
    content = tiny_elf([(c.DT_NEEDED, 1 + n % 99) for n in range(60_000)], table)
    with content.open() as reader:
        assert peak_of_reading(reader) < 32 << 20


@pytest.mark.parametrize("kind", ["interpreter", "segments", "dynamic"])
def test_a_sparse_file_of_many_gigabytes_cannot_fill_the_memory(tmp_path: Path, kind: str) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    if kind == "interpreter":
        data = with_segment(data, c.PT_INTERP, filesz=1 << 32)
    elif kind == "segments":
        data = with_header(data, phoff=1 << 20, phnum=0xFFFF)
    else:
        data = with_segment(data, c.PT_DYNAMIC, offset=1 << 30, filesz=1 << 32)
    path = tmp_path / "large"
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(8 << 30)
        # A thousand entries before the zeros, and no string table for them.
        file.seek(1 << 30)
        file.write((b"\1" + bytes(15)) * 1000)
        file.flush()
        assert peak_of_reading(FileReader(file.fileno(), 0, 8 << 30)) < 32 << 20


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_file_made_byte_by_byte_is_read_in_every_class_and_order(bits: int, order: str) -> None:
    table = b"\0liba.so\0libx.so.1\0$ORIGIN\0"
    entries = [(c.DT_NEEDED, 1), (c.DT_SONAME, 9), (c.DT_RUNPATH, 19)]
    image = image_in(bytes_of(tiny_elf(entries, table, bits=bits, order=order)))
    assert ours(image) == Strings(("liba.so",), "libx.so.1", None, "$ORIGIN")
    assert (image.format.bits, image.format.order) == (bits, order)


# --- files damaged at random ------------------------------------------------------------------


def read_everything(data: bytes) -> None:
    """All that is ever read of a file, as `check` and an editor read it."""
    reader = BytesReader(data)
    image = read_image(reader)
    read_sections(reader, image.format, image.header)
    read_build_id(reader, image)
    for read in (count_symbols, read_needed_versions, read_verdef, find_movable_tables):
        read(reader, image)
    for name in (b"malloc", b"write", b"from_libx"):
        provides_symbol(reader, image, name)


def interesting_places(data: bytes) -> list[int]:
    """Offsets of the numbers that a reader follows."""
    image = image_in(data)
    ends = [64, 64 + 56 * len(image.segments)]
    spans = [(s.offset, s.file_end) for s in image.segments if s.type == c.PT_DYNAMIC]
    spans += [(t.offset, t.end) for t in find_movable_tables(BytesReader(data), image)]
    return sorted({at for start, end in [(4, max(ends)), *spans] for at in range(start, end)})


@pytest.fixture(scope="module", params=["x86_64", "s390x", "i386"])
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small library whose bytes are damaged."""
    toolchain = CROSS.get(request.param, HOST)
    return library(tmp_path_factory.mktemp("victim"), toolchain).read_bytes()


def test_an_undamaged_victim_is_read_without_complaint(victim: bytes) -> None:
    read_everything(victim)


VALUES = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)


@settings(max_examples=150, deadline=2000)
@given(data=st.data())
def test_damage_is_refused_or_read_but_never_fatal(victim: bytes, data: st.DataObject) -> None:
    places = interesting_places(victim)
    damaged = bytearray(victim)
    for at, value in data.draw(
        st.lists(st.tuples(st.sampled_from(places), VALUES), min_size=1, max_size=6)
    ):
        damaged[at] = value
    if data.draw(st.booleans()):
        word = data.draw(st.sampled_from([0, 1, (1 << 32) - 1, 1 << 31, (1 << 64) - 1, 1 << 63]))
        at = data.draw(st.sampled_from(places))
        damaged[at : at + 8] = word.to_bytes(8, "little")
    end = data.draw(st.sampled_from([len(damaged)] * 3 + [len(damaged) // 2, 600]))
    tracemalloc.start()
    try:
        read_everything(bytes(damaged[:end]))
    except DamagedElfError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 << 20


@settings(max_examples=60, deadline=2000)
@given(st.binary(max_size=300))
@example(b"")
def test_noise_behind_the_magic_is_never_fatal(noise: bytes) -> None:
    for ident in (b"\x7fELF\2\1\1", b"\x7fELF\1\2\1"):
        data = ident + bytes(9) + b"\3\0\x3e\0" + noise
        with contextlib.suppress(DamagedElfError):
            read_everything(data)
