"""The verifier's reader: it finds what pyelftools finds, in every kind of file.

Section numbers that do not fit into the ELF header are read as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection
from elftools.elf.segments import InterpSegment, NoteSegment

from builders.elf import CROSS, LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.elf.verify.notes import read_interpreter, split_notes
from bundle_fix.elf.verify.reading import ElfStructure, read_structure
from bundle_fix.elf.verify.tables import DynamicTables, locate_tables
from bundle_fix.model.content import BytesContent, BytesReader
from elf.matrix import CELLS, BuiltCell, build_cell
from elf.support import (
    change_header,
    drop_section_headers,
    find_section,
    get_format,
    get_pyelftools_strings,
    parse_image,
    read_bytes_of,
    replace_bytes,
)

SECTIONS = {
    c.DT_STRTAB: ".dynstr",
    c.DT_SYMTAB: ".dynsym",
    c.DT_HASH: ".hash",
    c.DT_GNU_HASH: ".gnu.hash",
    c.DT_VERSYM: ".gnu.version",
    c.DT_VERNEED: ".gnu.version_r",
    c.DT_VERDEF: ".gnu.version_d",
}
"""The section of each table, by its dynamic tag."""


def read_both(path: Path) -> tuple[ElfStructure, ELFFile]:
    data = path.read_bytes()
    return read_structure(BytesReader(data)), ELFFile(path.open("rb"))


@pytest.fixture(scope="module", params=CELLS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuiltCell:
    return build_cell(CELLS[request.param], tmp_path_factory.mktemp("cell"))


def test_headers_and_entries_match_pyelftools(built: BuiltCell) -> None:
    for path in built.files:
        elf, file = read_both(path)
        assert (elf.bits, elf.order == "little") == (file.elfclass, file.little_endian)
        assert list(elf.header)[3:] == list(file.header.values())[4:]
        assert len(elf.segments) == file.num_segments()
        for segment, other in zip(elf.segments, file.iter_segments(), strict=True):
            theirs = {key.removeprefix("p_"): value for key, value in other.header.items()}
            assert segment._asdict() | {"type": 0} == theirs | {"type": 0}
        dynamic = next(s for s in file.iter_segments() if isinstance(s, DynamicSegment))
        assert [value for _, value in elf.dynamic] == [t.entry.d_val for t in dynamic.iter_tags()][
            :-1
        ]
        texts = elf.read_dynamic_strings(v for tag, v in elf.dynamic if tag == c.DT_NEEDED)
        assert tuple(map(bytes.decode, texts)) == get_pyelftools_strings(file).needed
        interpreters = [
            s.get_interp_name() for s in file.iter_segments() if isinstance(s, InterpSegment)
        ]
        assert [(read_interpreter(elf) or b"").decode()] == (interpreters or [""])


def test_sections_match_pyelftools(built: BuiltCell) -> None:
    for path in built.files:
        elf, file = read_both(path)
        theirs = list(file.iter_sections())
        assert [name.partition("#")[0] for name in elf.sections] == [s.name for s in theirs[1:]]
        for section, other in zip(elf.section_headers, theirs, strict=True):
            assert list(section)[2:] == list(other.header.values())[2:]


def test_tables_match_pyelftools(built: BuiltCell) -> None:
    for path in built.files:
        elf, file = read_both(path)
        tables = locate_tables(elf)
        for tag, span in tables.spans.items():
            section = file.get_section_by_name(SECTIONS[tag])
            if section is not None:
                assert span == (section["sh_offset"], section["sh_offset"] + section["sh_size"])
        assert_versions_match(tables, file)


def test_tables_are_measured_without_section_headers(tmp_path: Path) -> None:
    for path in build_cell(CELLS["bfd"], tmp_path).files:
        data = path.read_bytes()
        tables = locate_tables(read_structure(BytesReader(data)))
        bare = locate_tables(read_structure(BytesReader(drop_section_headers(data))))
        assert bare == tables


def assert_versions_match(tables: DynamicTables, file: ELFFile) -> None:
    for section in file.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            needed = [
                (need.name, [v.name for v in parts]) for need, parts in section.iter_versions()
            ]
            records = tables.versions[c.DT_VERNEED]
            assert [n.decode() for n in records.libraries] == [library for library, _ in needed]
            names = [name for _, parts in needed for name in parts]
            assert [n.decode() for n in records.names] == names
        if isinstance(section, GNUVerDefSection):
            own = [v.name for _, parts in section.iter_versions() for v in parts]
            assert [n.decode() for n in tables.versions[c.DT_VERDEF].names] == own


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
@pytest.mark.parametrize("machine", ["i386", "s390x", "aarch64"])
def test_symbols_are_counted_with_every_hash_table(
    tmp_path: Path, machine: str, style: str
) -> None:
    script = tmp_path / "script"
    script.write_text("ONE { global: f; }; TWO { global: g; } ONE;")
    path = build_elf(
        tmp_path / "x.so",
        source="extern int h(void); int f(void) { return h(); } int g(void) { return 2; }",
        flags=[f"-Wl,--hash-style={style}", f"-Wl,--version-script={script}"],
        toolchain=CROSS[machine],
    )
    elf, file = read_both(path)
    tables = locate_tables(elf)
    for tag, span in tables.spans.items():
        section = file.get_section_by_name(SECTIONS[tag])
        assert section is not None
        assert span == (section["sh_offset"], section["sh_offset"] + section["sh_size"])
    assert_versions_match(tables, file)
    assert tables.versions[c.DT_VERDEF].names[1:] == (b"ONE", b"TWO", b"ONE")


@pytest.mark.parametrize("name", [*LINKERS, *CROSS])
def test_notes_match_pyelftools(tmp_path: Path, name: str) -> None:
    toolchain = {**LINKERS, **CROSS}[name]
    path = build_elf(tmp_path / "x", program=True, toolchain=toolchain)
    elf, file = read_both(path)
    theirs = [
        (note["n_name"].encode() + b"\0", note["n_descdata"])
        for segment in file.iter_segments()
        if isinstance(segment, NoteSegment)
        for note in segment.iter_notes()
    ]
    # mold 1 puts notes of two alignments into one segment; pyelftools pads all of them to 4 bytes.
    found = [(owner, content) for _, owner, content in split_notes(elf)]
    assert found == (theirs[: len(found)] if name == "mold" else theirs)
    assert found


def number_sections_in_the_first_header(data: bytes) -> bytes:
    """Return the file with the numbers of its sections in the null section's header."""
    header = parse_image(data).header
    fmt = get_format(data)
    null = [0] * 10
    null[5], null[6] = header.shnum, header.shstrndx
    data = change_header(data, shnum=0, shstrndx=c.SHN_XINDEX)
    return replace_bytes(data, header.shoff, fmt.section.pack(*null))


@pytest.mark.parametrize("name", ["bfd", "i386", "s390x"])
def test_section_numbers_may_be_in_the_first_section_header(tmp_path: Path, name: str) -> None:
    toolchain = {**LINKERS, **CROSS}[name]
    plain = build_elf(tmp_path / "x.so", runpath="/opt/x", toolchain=toolchain).read_bytes()
    data = number_sections_in_the_first_header(plain)
    one, other = read_structure(BytesReader(plain)), read_structure(BytesReader(data))
    assert other.sections == one.sections
    assert other.section_table == one.section_table
    changes = Changes(runpath="/" + "x" * 60)
    edited = read_bytes_of(edit_file(BytesContent(data), changes, tmp_path, "inplace").content)
    assert edited != data
    readers = BytesReader(data), BytesReader(edited)
    assert list(find_broken_invariants(*readers, changes)) == []
    at = find_section(plain, ".comment")[1].offset
    damaged = replace_bytes(edited, at, b"!")
    reports = list(find_broken_invariants(readers[0], BytesReader(damaged), changes))
    assert reports == ["the section .comment changed"]


def test_sections_of_one_name_are_numbered(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x.so").read_bytes()
    name = data[find_section(data, ".data")[0] :][:4]
    for other in (".bss", ".comment"):
        data = replace_bytes(data, find_section(data, other)[0], name)
    sections = list(read_structure(BytesReader(data)).sections)
    assert [name for name in sections if name.startswith(".data")] == [
        ".data",
        ".data#2",
        ".data#3",
    ]
