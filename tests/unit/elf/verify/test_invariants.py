"""Every invariant can fail: a file is damaged on purpose, and the damage is reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.elf import CROSS, LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.model.content import BytesContent, BytesReader
from elf.support import (
    find_section,
    get_format,
    parse_image,
    read_bytes_of,
    replace_bytes,
    run_tool,
)
from elf.verify.damage import (
    VALUE,
    Damage,
    damage_bytes,
    damage_dynamic_entry,
    damage_header,
    damage_section,
    damage_section_end,
    damage_section_header,
    damage_segment,
    damage_string,
    damage_symbol,
    flip_byte,
    make_undefined,
)

RICH = """
#include <stdio.h>
__thread int per_thread = 4;
int in_data = 1, in_bss[64];
static const char *const words[] = {"one", "two"};
int exported(int n) { per_thread += n; return puts(words[n & 1]) + in_bss[n] + in_data; }
int second(void) { return in_data; }
"""
SCRIPT = "RICH_1 { global: exported; second; local: *; };"
FLAGS = ["-Wl,-z,now", "-Wl,-f,libaux.so.1", "-fcf-protection=full", "-Wl,--hash-style=both"]
PT_ARM_EXIDX = 0x70000001


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Build a library with every structure that an edit could break, and with appended data."""
    directory = tmp_path_factory.mktemp("rich")
    (directory / "script").write_text(SCRIPT)
    path = build_elf(
        directory / "librich.so",
        soname="librich.so.1",
        needed=["liba.so.1"],
        runpath="/opt/long/enough/lib",
        source=RICH,
        flags=[*FLAGS, f"-Wl,--version-script={directory / 'script'}"],
        toolchain=LINKERS["bfd"],
    )
    return path.read_bytes() + b"appended to the file"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("program") / "x"
    return build_elf(path, program=True, runpath="/opt/x", toolchain=LINKERS["bfd"]).read_bytes()


def list_broken(
    before: bytes, after: bytes, changes: Changes | None = None, touched: list[Span] | None = None
) -> list[str]:
    found = find_broken_invariants(
        BytesReader(before), BytesReader(after), changes or Changes(), touched
    )
    return list(found)


def list_differences(one: bytes, other: bytes) -> list[Span]:
    """Return the ranges of bytes that differ, as an in-place editor declares them."""
    spans: list[Span] = []
    for at in range(len(one)):
        if one[at] != other[at]:
            if spans and spans[-1].end == at:
                spans[-1] = Span(spans[-1].start, at + 1)
            else:
                spans.append(Span(at, at + 1))
    return spans


@dataclass(frozen=True)
class Case:
    """A damage and a part of the report on it."""

    damage: Damage
    report: str


ON_LIBRARY = {
    "the OS ABI": Case(lambda d: replace_bytes(d, 7, b"\x09"), "e_ident changed"),
    "the type": Case(damage_header(type=c.ET_EXEC), "header's type changed"),
    "the machine": Case(damage_header(machine=183), "header's machine changed"),
    "the version": Case(damage_header(version=2), "header's version changed"),
    "the entry point": Case(damage_header(entry=0x1000), "header's entry changed"),
    "the machine's flags": Case(damage_header(flags=5), "header's flags changed"),
    "TLS": Case(damage_segment(c.PT_TLS, memsz=8), "TLS segment changed"),
    "TLS gone": Case(damage_segment(c.PT_TLS, type=-c.PT_TLS), "TLS segment changed"),
    "RELRO": Case(damage_segment(c.PT_GNU_RELRO, memsz=-8), "RELRO segment changed"),
    "an executable stack": Case(damage_segment(c.PT_GNU_STACK, flags=1), "stack flags changed"),
    "the unwind table": Case(damage_segment(c.PT_GNU_EH_FRAME, vaddr=8), "unwind table changed"),
    "the build-id": Case(damage_section_end(".note.gnu.build-id"), "a note is missing or changed"),
    "a note gone": Case(damage_segment(c.PT_NOTE, filesz=-16), "a note is missing or changed"),
    "a segment's offset": Case(damage_segment(c.PT_LOAD, 1, offset=8), "not aligned with its file"),
    "a segment too long": Case(
        damage_segment(c.PT_LOAD, 3, filesz=1 << 20, memsz=1 << 20), "beyond the file"
    ),
    "segments that overlap": Case(damage_segment(c.PT_LOAD, 0, memsz=0x3000), "overlap or are out"),
    "a page shared": Case(
        damage_segment(c.PT_LOAD, 0, memsz=0x1000), "different permissions share"
    ),
    "PT_DYNAMIC elsewhere": Case(
        damage_segment(c.PT_DYNAMIC, vaddr=8), "no loaded segment contains PT_DYN"
    ),
    "a string table too long": Case(
        damage_dynamic_entry(c.DT_STRSZ, 0x800), "tag 0x5 reaches beyond"
    ),
    "DT_FLAGS": Case(damage_dynamic_entry(c.DT_FLAGS, -8), "dynamic tags changed"),
    "DT_FLAGS_1": Case(damage_dynamic_entry(c.DT_FLAGS_1, 0x800), "dynamic tags changed"),
    "a tag gone": Case(damage_dynamic_entry(c.DT_FLAGS, 0, 0x6FFFFEF9), "dynamic tags changed"),
    "DT_INIT": Case(damage_dynamic_entry(c.DT_INIT, 8), "dynamic tags changed"),
    "a needed name": Case(damage_string(b"liba.so.1", b"libz"), "needed is ('libz.so.1'"),
    "the soname": Case(
        damage_string(b"librich.so.1", b"libp"), "soname is 'libpich.so.1', expected"
    ),
    "the runpath": Case(damage_string(b"/opt/long/enough/lib", b"/srv"), "runpath is '/srv/long"),
    "an rpath": Case(damage_dynamic_entry(c.DT_RUNPATH, 0, c.DT_RPATH), "rpath is '/opt/long"),
    "a filter": Case(damage_string(b"libaux.so.1", b"libu"), "audit, filter or auxiliary"),
    "a symbol's value": Case(
        damage_symbol(".dynsym", b"exported", VALUE), "dynamic symbols changed"
    ),
    "a symbol's size": Case(damage_symbol(".dynsym", b"exported", 16), "dynamic symbols changed"),
    "a symbol's binding": Case(damage_symbol(".dynsym", b"exported", 4), "dynamic symbols changed"),
    "a definition gone": Case(make_undefined, "dynamic symbols changed"),
    "a symbol's letter": Case(damage_string(b"exported", b"importe"), "names of dynamic symbols"),
    "a symbol's name": Case(damage_symbol(".dynsym", b"exported", 0), "names of dynamic symbols"),
    "a version's index": Case(damage_section_end(".gnu.version"), "symbol versions or hash tables"),
    "a GNU hash": Case(damage_section_end(".gnu.hash"), "symbol versions or hash tables"),
    "a SysV hash": Case(damage_section_end(".hash"), "symbol versions or hash tables"),
    "a needed version's hash": Case(
        damage_section(".gnu.version_r", 16), "symbol versions or hash"
    ),
    "a needed version's name": Case(damage_string(b"GLIBC_2.2.5", b"GLIBC_2.3"), "symbol versions"),
    "a library of versions": Case(damage_string(b"libc.so.6", b"libz.so.6"), "symbol versions"),
    "a defined version's flags": Case(
        damage_section(".gnu.version_d", 2), "symbol versions or hash"
    ),
    "a defined version's name": Case(
        damage_string(b"RICH_1", b"RICH_2"), "symbol versions or hash"
    ),
    "code": Case(damage_section(".text", 40), "loaded bytes changed near address 0x1"),
    "constants": Case(damage_section(".rodata"), "loaded bytes changed near address 0x2"),
    "data": Case(damage_section_end(".data"), "loaded bytes changed near address"),
    "relocations": Case(damage_section(".rela.dyn"), "loaded bytes changed near address"),
    "the unwind table's bytes": Case(damage_section(".eh_frame_hdr", 8), "loaded bytes changed"),
    "permissions": Case(damage_segment(c.PT_LOAD, 1, flags=2), "has other permissions"),
    "data cut off": Case(damage_segment(c.PT_LOAD, 3, filesz=-8), "missing, smaller, or"),
    "memory cut off": Case(damage_segment(c.PT_LOAD, 3, memsz=-8), "zeroed memory of the segment"),
    "the data segment moved": Case(
        damage_segment(c.PT_LOAD, 3, vaddr=0x1000), "missing, smaller, or has other permissions"
    ),
    "zeroed memory": Case(damage_segment(c.PT_LOAD, 3, memsz=64), "zeroed memory of the segment"),
    "a section's name": Case(damage_bytes(b"\0.comment\0", b"\0.komment\0"), ".comment is missing"),
    "the compiler's comment": Case(damage_section(".comment"), "section .comment changed"),
    "debug information": Case(damage_section_end(".debug_info"), "section .debug_info changed"),
    "debug information elsewhere": Case(
        damage_section_header(".debug_info", offset=1), "section .debug_info changed"
    ),
    "a shorter section": Case(damage_section_header(".debug_line", size=-1), ".debug_line changed"),
    "a static symbol's value": Case(
        damage_symbol(".symtab", b"exported", VALUE), ".symtab changed"
    ),
    "a static symbol's name": Case(damage_symbol(".symtab", b"exported", 0), ".symtab changed"),
    "the names of static symbols": Case(damage_section_end(".strtab", 3), ".strtab changed"),
    "a section's type": Case(damage_section_header(".init_array", type=1), "its type or flags"),
    "a section's flags": Case(damage_section_header(".data", flags=4), "its type or flags"),
    "a flag of debug information": Case(
        damage_section_header(".debug_str", flags=-0x20), ".debug_str changed"
    ),
    "a section's strings": Case(damage_section_header(".symtab", link=-1), "another sh_link"),
    "a section that moved": Case(damage_section_header(".bss", addr=32), ".bss moved"),
    "a section beside its segment": Case(
        damage_section_header(".dynsym", addr=8), ".dynsym does not agree with the segment"
    ),
    "no section headers": Case(damage_header(shoff=0, shnum=0, shstrndx=0), ".text is missing"),
    "appended data": Case(lambda d: d[:-1] + b"!", "which no header describes, changed"),
    "notes elsewhere": Case(damage_segment(c.PT_NOTE, vaddr=16), "the place of a note changed"),
    "notes elsewhere in the file": Case(
        damage_segment(c.PT_NOTE, offset=16), "the place of a note changed"
    ),
    "the program headers": Case(damage_header(phoff=120, phnum=2), "program headers moved"),
}
ON_PROGRAM = {
    "the properties": Case(damage_segment(c.PT_GNU_PROPERTY, filesz=-8), "GNU properties changed"),
    "the interpreter": Case(damage_section(".interp", 9), "interpreter changed"),
    "PT_PHDR's offset": Case(damage_segment(c.PT_PHDR, offset=8), "PT_PHDR does not match"),
    "PT_PHDR's address": Case(damage_segment(c.PT_PHDR, vaddr=8), "PT_PHDR does not match"),
    "other program headers": Case(damage_header(phoff=120, phnum=2), "segment"),
}


@pytest.mark.parametrize("name", ON_LIBRARY)
def test_damage_to_a_library_is_reported(library: bytes, name: str) -> None:
    assert_reported(library, ON_LIBRARY[name])


@pytest.mark.parametrize("name", ON_PROGRAM)
def test_damage_to_a_program_is_reported(program: bytes, name: str) -> None:
    assert_reported(program, ON_PROGRAM[name])


def assert_reported(before: bytes, case: Case) -> None:
    after = case.damage(before)
    assert after != before
    assert len(after) == len(before)
    assert any(case.report in text for text in list_broken(before, after))
    # The result is the same if only the changed ranges are compared.
    touched = list_differences(before, after)
    assert any(case.report in text for text in list_broken(before, after, touched=touched))


def test_a_segment_of_unknown_type_is_reported_by_its_number(tmp_path: Path) -> None:
    before = build_elf(tmp_path / "x", program=True, toolchain=CROSS["armhf"]).read_bytes()
    reports = list_broken(before, damage_segment(PT_ARM_EXIDX, memsz=8)(before))
    assert reports == ["the segment of type 0x70000001 changed"]


def test_damage_to_a_big_endian_file_is_reported(tmp_path: Path) -> None:
    before = build_elf(tmp_path / "x.so", source=RICH, toolchain=CROSS["s390x"]).read_bytes()
    assert list_broken(before, before) == []
    for damage, report in (
        (damage_section_end(".gnu.version"), "symbol versions"),
        (damage_section_end(".dynsym"), "the dynamic symbols changed"),
        (damage_section(".text", 20), "loaded bytes"),
        (damage_section_end(".symtab"), "section .symtab changed"),
    ):
        assert any(report in text for text in list_broken(before, damage(before)))


@pytest.mark.parametrize("after", [0, 4096])
def test_appended_data_keeps_its_distances_from_both_ends(library: bytes, after: int) -> None:
    mark = library.index(b"appended to the file")
    moved = library[:mark] + bytes(4096 - after) + library[mark:] + bytes(after)
    assert len(list_broken(library, moved)) == 1
    assert len(list_broken(library, library[:-1])) == 1


def test_a_fault_that_was_there_before_is_not_reported(library: bytes) -> None:
    misaligned = damage_segment(c.PT_LOAD, 3, align=0x1FF000)(library)
    assert list_broken(misaligned, misaligned) == []
    assert any("is not aligned" in text for text in list_broken(library, misaligned))


def test_an_unchanged_file_breaks_no_invariant(library: bytes, program: bytes) -> None:
    for data in (library, program):
        assert list_broken(data, data) == []
        assert list_broken(data, data, touched=[]) == []


def test_a_requested_change_breaks_no_invariant(library: bytes) -> None:
    after = damage_string(b"/opt/long/enough/lib", b"/srv")(library)
    assert list_broken(library, after, Changes(runpath="/srv/long/enough/lib")) == []


@pytest.mark.parametrize(
    "changes",
    [
        Changes(runpath="/srv"),
        Changes(rpath="/opt/long/enough/lib"),
        Changes(runpath=""),
        Changes(soname="libpoor.so"),
        Changes(replace_needed=(("liba.so.1", "libb.so.1"),)),
        Changes(insert_needed=(("liba.so.1", "libb.so.1"),)),
    ],
)
def test_a_missing_change_is_reported(library: bytes, changes: Changes) -> None:
    assert any(", expected" in text for text in list_broken(library, library, changes))


@pytest.mark.parametrize(
    "changes",
    [
        Changes(runpath="/srv"),
        Changes(runpath="/" + "x" * 200),
        Changes(replace_needed=(("liba.so.1", "lib-with-a-long-name.so.1"),)),
        Changes(replace_needed=(("libc.so.6", "libc-with-a-long-name.so.6"),)),
    ],
)
def test_an_edit_keeps_all_invariants(library: bytes, tmp_path: Path, changes: Changes) -> None:
    edited = edit_file(BytesContent(library), changes, tmp_path, "inplace")
    after = read_bytes_of(edited.content)
    assert list_broken(library, after, changes) == []
    assert list_broken(library, after, changes, list_differences(library, after)) == []


def test_only_section_symbols_may_move_with_a_section(library: bytes, tmp_path: Path) -> None:
    # Old versions of binutils leave section symbols in linked files, new ones do not.
    changes = Changes(runpath="/" + "x" * 200)
    after = read_bytes_of(edit_file(BytesContent(library), changes, tmp_path, "inplace").content)
    symbols = find_section(library, ".symtab")[1]
    places = range(symbols.offset, symbols.offset + symbols.size, 24)
    section = next((at for at in places if library[at + 4] & 15 == c.STT_SECTION), None)
    if section is None:
        section = symbols.offset + 24
        library, after = (replace_bytes(data, section + 4, bytes([c.STT_SECTION])) for data in
                          (library, after))  # fmt: skip
    assert list_broken(library, flip_byte(after, section + VALUE), changes) == []
    assert list_broken(library, flip_byte(after, section + 16), changes) == [
        "the section .symtab changed"
    ]


def test_a_strip_is_reported(tmp_path: Path, library: bytes) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(library)
    run_tool("strip", "-g", "-o", tmp_path / "stripped", path)
    reports = list_broken(library, (tmp_path / "stripped").read_bytes())
    assert "the section .debug_info is missing" in reports
    assert any("which no header describes" in text for text in reports)


def test_get_format_matches_the_parser(library: bytes) -> None:
    assert get_format(library) == parse_image(library).format
