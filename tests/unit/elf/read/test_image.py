"""The parser: every class, byte order and kind of file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.model.content import BytesReader
from elf.support import (
    build_object_file,
    build_sample_library,
    build_tiny_elf,
    change_header,
    drop_section_headers,
    find_libc,
    get_pyelftools_strings,
    get_strings,
    list_system_files,
    parse_image,
    read_bytes_of,
    read_image_of,
    read_with_pyelftools,
    read_with_readelf,
    replace_bytes,
    run_tool,
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


@pytest.mark.parametrize("name", CROSS)
def test_class_byte_order_and_machine_are_read(tmp_path: Path, name: str) -> None:
    image = read_image_of(build_sample_library(tmp_path, CROSS[name]))
    assert (image.format.bits, image.format.order, image.machine) == ARCHITECTURES[name]
    assert image.architecture[:2] == ARCHITECTURES[name][:2]
    assert (image.type, image.is_library, image.is_program) == ("dyn", True, False)


@pytest.mark.parametrize("toolchain", [*LINKERS.values(), *CROSS.values()], ids=[*LINKERS, *CROSS])
def test_strings_match_readelf_and_pyelftools(tmp_path: Path, toolchain: Toolchain) -> None:
    path = build_sample_library(tmp_path, toolchain)
    strings = get_strings(read_image_of(path))
    assert strings.needed[:2] == ("liba.so.1", "libb.so.2")
    assert strings[1:] == ("libx.so.7", None, "$ORIGIN:/opt/x")
    assert strings == read_with_readelf(path) == read_with_pyelftools(path)


def test_an_rpath_is_not_a_runpath(tmp_path: Path) -> None:
    image = read_image_of(build_elf(tmp_path / "x", program=True, rpath="/opt/x"))
    assert (image.rpath, image.runpath) == ("/opt/x", None)


def test_a_missing_soname_is_not_an_empty_one(tmp_path: Path) -> None:
    image = read_image_of(build_elf(tmp_path / "libx.so", runpath=""))
    assert image.soname is None


def test_strings_may_be_invalid_utf8() -> None:
    content = build_tiny_elf([(c.DT_RUNPATH, 1)], b"\0caf\xe9/lib\0")
    assert parse_image(read_bytes_of(content)).runpath == os.fsdecode(b"caf\xe9/lib")


def test_a_pie_is_a_program(tmp_path: Path) -> None:
    image = read_image_of(build_elf(tmp_path / "x", program=True))
    assert (image.type, image.is_program, image.is_library) == ("dyn", True, False)
    assert image.interpreter == "/lib64/ld-linux-x86-64.so.2"


def test_a_program_at_a_fixed_address_is_a_program(tmp_path: Path) -> None:
    image = read_image_of(build_elf(tmp_path / "x", program=True, flags=["-no-pie"]))
    assert (image.type, image.is_program, image.is_library) == ("exec", True, False)


def test_a_library_with_an_interpreter_is_a_library() -> None:
    image = read_image_of(find_libc())
    assert image.interpreter
    assert (image.is_program, image.is_library) == (False, True)


def test_a_static_program_has_no_dynamic_section(tmp_path: Path) -> None:
    image = read_image_of(build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"]))
    assert (image.type, image.is_dynamic, image.is_program) == ("exec", False, False)
    assert image.is_static_program


def test_a_static_pie_has_no_needed_names(tmp_path: Path) -> None:
    image = read_image_of(build_elf(tmp_path / "x", program=True, flags=["-static-pie"]))
    assert (image.is_dynamic, image.interpreter, image.needed) == (True, None, ())
    assert (image.is_program, image.is_library, image.is_static_program) == (False, False, True)


def test_an_object_file_is_neither_program_nor_library() -> None:
    image = read_image_of(build_object_file(["-c"], "int x;", HOST))
    assert (image.type, image.is_dynamic, image.is_library) == ("rel", False, False)


def test_only_the_header_of_a_core_file_is_read(tmp_path: Path) -> None:
    # A core file may have more than 65,535 segments; the loader reads none of them.
    data = build_sample_library(tmp_path).read_bytes()
    image = parse_image(change_header(data, type=c.ET_CORE, phnum=0xFFFF))
    assert (image.type, image.segments, image.is_dynamic) == ("core", (), False)


def test_a_debug_file_of_objcopy_is_not_dynamic(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, source=MUCH_DEBUG, flags=["-g3"])
    run_tool("objcopy", "--only-keep-debug", path, tmp_path / "x.debug")
    image = read_image_of(tmp_path / "x.debug")
    assert not image.is_dynamic


@pytest.mark.parametrize("flags", [["-g3"], ["-g"], ["-g0"]])
def test_a_debug_file_of_eu_strip_is_not_dynamic(tmp_path: Path, flags: list[str]) -> None:
    # Its program headers have the old offset of the dynamic section: after the end, or in DWARF.
    path = build_elf(tmp_path / "x", program=True, source=MUCH_DEBUG, flags=flags)
    run_tool("eu-strip", "-f", tmp_path / "x.debug", path)
    assert read_image_of(path).is_dynamic
    assert not read_image_of(tmp_path / "x.debug").is_dynamic


@pytest.mark.parametrize("filler", [b"\0", b"\x01", b"abcdefgh", b"\xff"])
def test_a_debug_file_is_recognized_whatever_its_dynamic_section_contains(
    tmp_path: Path, filler: bytes
) -> None:
    path = build_elf(tmp_path / "x", program=True, source=MUCH_DEBUG, flags=["-g3"])
    run_tool("eu-strip", "-f", tmp_path / "x.debug", path)
    data = (tmp_path / "x.debug").read_bytes()
    dynamic = next(s for s in parse_image(data).segments if s.type == c.PT_DYNAMIC)
    assert len(data) > dynamic.file_end
    fill = (filler * dynamic.filesz)[: dynamic.filesz]
    assert not parse_image(replace_bytes(data, dynamic.offset, fill)).is_dynamic


@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"], CROSS["armhf"]])
def test_a_file_without_section_headers_is_read_completely(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    data = build_sample_library(tmp_path, toolchain).read_bytes()
    bare = parse_image(drop_section_headers(data))
    whole = parse_image(data)
    assert get_strings(bare) == get_strings(whole)
    assert bare.dynamic == whole.dynamic


def test_the_number_of_sections_may_be_in_the_first_section_header(tmp_path: Path) -> None:
    data = build_sample_library(tmp_path).read_bytes()
    image = parse_image(data)
    sections = read_sections(BytesReader(data), image.format, image.header)
    first = sections[0]._replace(size=len(sections))
    moved = change_header(data, shnum=0)
    moved = replace_bytes(moved, image.header.shoff, image.format.section.pack(*first))
    again = parse_image(moved)
    assert len(read_sections(BytesReader(moved), again.format, again.header)) == len(sections)


def test_this_machines_files_match_readelf() -> None:
    files = list_system_files(every=10)
    assert files
    wrong = [
        p
        for p in files
        if read_image_of(p).is_dynamic and get_strings(read_image_of(p)) != read_with_readelf(p)
    ]
    assert not wrong


def test_this_machines_files_match_pyelftools() -> None:
    different = []
    for path in list_system_files(every=5):
        with path.open("rb") as file:
            theirs = ELFFile(file)
            image = read_image_of(path)
            dynamic = any(s["p_type"] == "PT_DYNAMIC" for s in theirs.iter_segments())
            strings = get_pyelftools_strings(theirs) if dynamic else None
            if strings != (get_strings(image) if image.is_dynamic else None):
                different.append(path)
    assert not different
