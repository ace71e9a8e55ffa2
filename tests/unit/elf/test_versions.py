"""Symbol versions: what is wanted of whom, what is offered, and lists that lie."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.edit.slot import rename_libraries
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.versions import read_needed_versions, read_verdef, read_verneed
from bundle_fix.model.content import BytesReader, PatchedReader
from elf.support import (
    bytes_of,
    content_of,
    section_of,
    splice,
    system_files,
    tiny_elf,
    with_dynamic,
    without_section_headers,
)

OFFERS = """
__asm__(".symver old_open,open_it@LIBV_1.0");
__asm__(".symver new_open,open_it@@LIBV_1.1");
int old_open(void) { return 1; }
int new_open(void) { return 2; }
int other(void) { return 3; }
"""
SCRIPT = "LIBV_1.0 { global: open_it; local: *; }; LIBV_1.1 { global: other; } LIBV_1.0;"
WANTS = "int open_it(void); int other(void); int main(void) { return open_it() + other(); }"
TOOLCHAINS = {**LINKERS, **CROSS}


def offering(folder: Path, toolchain: Toolchain = HOST) -> Path:
    (folder / "script").write_text(SCRIPT)
    return build_elf(
        folder / "libv.so.1",
        soname="libv.so.1",
        source=OFFERS,
        flags=[f"-Wl,--version-script={folder / 'script'}"],
        toolchain=toolchain,
    )


def wanted(data: bytes) -> dict[str, tuple[str, ...]]:
    reader = BytesReader(data)
    return read_needed_versions(reader, read_image(reader))


def offered(data: bytes) -> list[list[str]]:
    reader = BytesReader(data)
    image = read_image(reader)
    lists, table = read_verdef(reader, image), find_string_table(image)
    assert lists is not None
    assert table is not None
    strings = reader.pread(*table)
    return [[get_string(strings, at).decode() for at in group] for group in lists.groups]


def by_pyelftools(path: Path) -> tuple[dict[str, tuple[str, ...]], list[list[str]]]:
    needs: dict[str, tuple[str, ...]] = {}
    definitions = []
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if isinstance(section, GNUVerNeedSection):
                for need, aux in section.iter_versions():
                    needs[str(need.name)] = tuple(a.name for a in aux)
            elif isinstance(section, GNUVerDefSection):
                definitions = [[a.name for a in aux] for _, aux in section.iter_versions()]
    return needs, definitions


@pytest.mark.parametrize("name", [n for n in TOOLCHAINS if n != "gold"])
def test_versions_are_read_as_pyelftools_reads_them(tmp_path: Path, name: str) -> None:
    library = offering(tmp_path, TOOLCHAINS[name])
    assert offered(library.read_bytes()) == by_pyelftools(library)[1]
    # lld and mold leave out which version a version comes after.
    assert "LIBV_1.1" in [names[0] for names in offered(library.read_bytes())]
    program = build_elf(
        tmp_path / "x", program=True, source=WANTS, flags=[str(library)],
        toolchain=TOOLCHAINS[name],
    )  # fmt: skip
    needs = wanted(program.read_bytes())
    assert needs == by_pyelftools(program)[0]
    assert needs["libv.so.1"] == ("LIBV_1.1",)
    assert all(v.startswith("GLIBC_") for v in needs["libc.so.6"])


def test_no_section_headers_are_needed(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    assert wanted(without_section_headers(data)) == wanted(data) != {}


def test_a_file_that_wants_no_version_has_none(tmp_path: Path) -> None:
    flags = ["-nostdlib"]
    data = build_elf(tmp_path / "x.so", source="int x;", flags=flags).read_bytes()
    assert wanted(data) == {}


def test_the_machines_own_files_are_read_as_pyelftools_reads_them() -> None:
    wrong = []
    for path in system_files(every=9):
        with content_of(path).open() as reader:
            image = read_image(reader)
            if image.is_dynamic and read_needed_versions(reader, image) != by_pyelftools(path)[0]:
                wrong.append(path)
    assert not wrong


@pytest.mark.parametrize("name", ["bfd", "lld", "s390x", "i386"])
def test_the_lists_are_as_large_as_their_sections(tmp_path: Path, name: str) -> None:
    reader = BytesReader(offering(tmp_path, TOOLCHAINS[name]).read_bytes())
    lists = read_verdef(reader, read_image(reader))
    assert lists is not None
    assert lists.size == section_of(reader.data, ".gnu.version_d")[1].size
    reader = BytesReader(
        build_elf(tmp_path / "x", program=True, toolchain=TOOLCHAINS[name]).read_bytes()
    )
    lists = read_verneed(reader, read_image(reader))
    assert lists is not None
    assert lists.size == section_of(reader.data, ".gnu.version_r")[1].size


@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"]])
def test_the_versions_of_a_library_can_be_made_those_of_another(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    library = offering(tmp_path, toolchain)
    flags = [str(library), "-Wl,-rpath,libother.so.1"]
    data = build_elf(
        tmp_path / "x", program=True, source=WANTS, flags=flags, toolchain=toolchain
    ).read_bytes()
    reader = BytesReader(data)
    image = read_image(reader)
    table = find_string_table(image)
    assert table is not None
    at = data.index(b"libother.so.1\0") - table[0]
    patches = rename_libraries(reader, image, {"libv.so.1": at, "libnone.so": 0})
    renamed = read_needed_versions(PatchedReader(reader, patches), image)
    before = read_needed_versions(reader, image)
    assert {**renamed, "libv.so.1": renamed["libother.so.1"]} == {
        **before,
        "libother.so.1": before["libv.so.1"],
    }


# --- lists that lie ---------------------------------------------------------------------------


def test_a_list_outside_all_segments_is_damage(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    with pytest.raises(DamagedElfError, match="no loaded segment contains its list"):
        wanted(with_dynamic(data, c.DT_VERNEED, 1 << 40))


def test_a_claim_of_billions_of_records_is_damage(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    with pytest.raises(DamagedElfError):
        wanted(with_dynamic(data, c.DT_VERNEEDNUM, 1 << 40))


@pytest.mark.parametrize("field", [4, 8, 12])
def test_an_offset_beyond_the_file_is_damage(tmp_path: Path, field: int) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    _, section = section_of(data, ".gnu.version_r")
    lying = splice(data, section.offset + field, b"\xff\xff\xff\x7f")
    # The library's name, the first version, the next library: the last of which is never reached.
    if field == 12:
        lying = with_dynamic(lying, c.DT_VERNEEDNUM, 2)
    with pytest.raises(DamagedElfError):
        wanted(lying)


def test_a_list_that_points_to_itself_ends(tmp_path: Path) -> None:
    # Every record's versions are the same 20,000 ones: 400 million of them in all.
    number = 20_000
    aux = b"".join(struct.pack("<IHHII", 0, 0, 2, 1, 16 * (n < number - 1)) for n in range(number))
    records = b"".join(
        struct.pack("<HHIII", 1, 0xFFFF, 1, (number - n) * 16, 16) for n in range(number)
    )
    content = tiny_elf(
        [(c.DT_VERNEED, 0), (c.DT_VERNEEDNUM, number)], b"\0x\0", behind=records + aux
    )
    start = len(bytes_of(content)) - len(records + aux)
    data = with_dynamic(bytes_of(content), c.DT_VERNEED, start)
    begun = time.monotonic()
    with pytest.raises(DamagedElfError, match="exceeds 32768 records"):
        wanted(data)
    assert time.monotonic() - begun < 5


def test_names_that_overlap_cannot_fill_the_memory() -> None:
    number = 20_000
    aux = b"".join(struct.pack("<IHHII", 0, 0, 2, 1 + n % 50, 16) for n in range(number))
    record = struct.pack("<HHIII", 1, number, 1, 16, 0)
    table = b"\0" + b"x" * 50_000 + b"\0"
    content = tiny_elf([(c.DT_VERNEED, 0), (c.DT_VERNEEDNUM, 1)], table, behind=record + aux)
    start = len(bytes_of(content)) - len(record + aux)
    with pytest.raises(DamagedElfError, match="exceed the limit of 1048576 bytes"):
        wanted(with_dynamic(bytes_of(content), c.DT_VERNEED, start))


def test_a_version_named_beyond_the_string_table_is_damage(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    _, section = section_of(data, ".gnu.version_r")
    assert data[section.offset : section.offset + 2] == b"\1\0"
    lying = splice(data, section.offset + 16 + 8, b"\xff\xff\0\0")
    with pytest.raises(DamagedElfError, match="lies outside its table"):
        wanted(lying)
