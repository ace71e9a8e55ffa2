"""Symbol versions: needed ones, defined ones, and invalid lists."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.edit.string_tables.slot import rename_libraries
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.versions import read_needed_versions, read_verdef, read_verneed
from bundle_fix.model.content import BytesReader
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.model.patches import PatchedReader
from elf.support import (
    build_tiny_elf,
    change_dynamic_entry,
    drop_section_headers,
    find_section,
    get_content,
    list_system_files,
    read_bytes_of,
    replace_bytes,
)

DEFINES = """
__asm__(".symver old_open,open_it@LIBV_1.0");
__asm__(".symver new_open,open_it@@LIBV_1.1");
int old_open(void) { return 1; }
int new_open(void) { return 2; }
int other(void) { return 3; }
"""
SCRIPT = "LIBV_1.0 { global: open_it; local: *; }; LIBV_1.1 { global: other; } LIBV_1.0;"
NEEDS = "int open_it(void); int other(void); int main(void) { return open_it() + other(); }"
TOOLCHAINS = {**LINKERS, **CROSS}


def build_library(directory: Path, toolchain: Toolchain = HOST) -> Path:
    (directory / "script").write_text(SCRIPT)
    return build_elf(
        directory / "libv.so.1",
        soname="libv.so.1",
        source=DEFINES,
        flags=[f"-Wl,--version-script={directory / 'script'}"],
        toolchain=toolchain,
    )


def read_needed(data: bytes) -> dict[str, tuple[str, ...]]:
    reader = BytesReader(data)
    return read_needed_versions(reader, read_image(reader))


def read_defined(data: bytes) -> list[list[str]]:
    reader = BytesReader(data)
    image = read_image(reader)
    lists, table = read_verdef(reader, image), find_string_table(image)
    assert lists is not None
    assert table is not None
    strings = reader.pread(*table)
    return [[get_string(strings, at).decode() for at in group] for group in lists.groups]


def read_versions_with_pyelftools(path: Path) -> tuple[dict[str, tuple[str, ...]], list[list[str]]]:
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
def test_versions_match_pyelftools(tmp_path: Path, name: str) -> None:
    library = build_library(tmp_path, TOOLCHAINS[name])
    assert read_defined(library.read_bytes()) == read_versions_with_pyelftools(library)[1]
    # lld and mold leave out the parents of a version.
    assert "LIBV_1.1" in [names[0] for names in read_defined(library.read_bytes())]
    program = build_elf(
        tmp_path / "x", program=True, source=NEEDS, flags=[str(library)],
        toolchain=TOOLCHAINS[name],
    )  # fmt: skip
    needs = read_needed(program.read_bytes())
    assert needs == read_versions_with_pyelftools(program)[0]
    assert needs["libv.so.1"] == ("LIBV_1.1",)
    assert all(v.startswith("GLIBC_") for v in needs["libc.so.6"])


def test_section_headers_are_not_needed(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    assert read_needed(drop_section_headers(data)) == read_needed(data) != {}


def test_a_file_without_needed_versions_has_none(tmp_path: Path) -> None:
    flags = ["-nostdlib"]
    data = build_elf(tmp_path / "x.so", source="int x;", flags=flags).read_bytes()
    assert read_needed(data) == {}


def test_versions_of_this_machines_files_match_pyelftools() -> None:
    wrong = []
    for path in list_system_files(every=9):
        with get_content(path).open() as reader:
            image = read_image(reader)
            if (
                image.is_dynamic
                and read_needed_versions(reader, image) != read_versions_with_pyelftools(path)[0]
            ):
                wrong.append(path)
    assert not wrong


@pytest.mark.parametrize("name", ["bfd", "lld", "s390x", "i386"])
def test_sizes_of_lists_match_their_sections(tmp_path: Path, name: str) -> None:
    reader = BytesReader(build_library(tmp_path, TOOLCHAINS[name]).read_bytes())
    lists = read_verdef(reader, read_image(reader))
    assert lists is not None
    assert lists.size == find_section(reader.data, ".gnu.version_d")[1].size
    reader = BytesReader(
        build_elf(tmp_path / "x", program=True, toolchain=TOOLCHAINS[name]).read_bytes()
    )
    lists = read_verneed(reader, read_image(reader))
    assert lists is not None
    assert lists.size == find_section(reader.data, ".gnu.version_r")[1].size


@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"]])
def test_needed_versions_can_be_moved_to_another_library(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    library = build_library(tmp_path, toolchain)
    flags = [str(library), "-Wl,-rpath,libother.so.1"]
    data = build_elf(
        tmp_path / "x", program=True, source=NEEDS, flags=flags, toolchain=toolchain
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


# --- invalid lists ----------------------------------------------------------------------------


def test_a_list_outside_all_segments_is_an_error(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    with pytest.raises(DamagedElfError, match="no loaded segment contains its list"):
        read_needed(change_dynamic_entry(data, c.DT_VERNEED, 1 << 40))


def test_billions_of_records_are_an_error(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    with pytest.raises(DamagedElfError):
        read_needed(change_dynamic_entry(data, c.DT_VERNEEDNUM, 1 << 40))


@pytest.mark.parametrize("field", [4, 8, 12])
def test_an_offset_beyond_the_file_is_an_error(tmp_path: Path, field: int) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    _, section = find_section(data, ".gnu.version_r")
    invalid = replace_bytes(data, section.offset + field, b"\xff\xff\xff\x7f")
    # The fields: the library's name, the first version, the next library (read if there are two).
    if field == 12:
        invalid = change_dynamic_entry(invalid, c.DT_VERNEEDNUM, 2)
    with pytest.raises(DamagedElfError):
        read_needed(invalid)


def test_records_that_share_versions_are_limited(tmp_path: Path) -> None:
    # All records share the same 20,000 versions: 400 million in total.
    number = 20_000
    aux = b"".join(struct.pack("<IHHII", 0, 0, 2, 1, 16 * (n < number - 1)) for n in range(number))
    records = b"".join(
        struct.pack("<HHIII", 1, 0xFFFF, 1, (number - n) * 16, 16) for n in range(number)
    )
    content = build_tiny_elf(
        [(c.DT_VERNEED, 0), (c.DT_VERNEEDNUM, number)], b"\0x\0", appended=records + aux
    )
    start = len(read_bytes_of(content)) - len(records + aux)
    data = change_dynamic_entry(read_bytes_of(content), c.DT_VERNEED, start)
    start_time = time.monotonic()
    with pytest.raises(DamagedElfError, match="exceeds 32768 records"):
        read_needed(data)
    assert time.monotonic() - start_time < 5


def test_overlapping_names_take_bounded_memory() -> None:
    number = 20_000
    aux = b"".join(struct.pack("<IHHII", 0, 0, 2, 1 + n % 50, 16) for n in range(number))
    record = struct.pack("<HHIII", 1, number, 1, 16, 0)
    table = b"\0" + b"x" * 50_000 + b"\0"
    content = build_tiny_elf(
        [(c.DT_VERNEED, 0), (c.DT_VERNEEDNUM, 1)], table, appended=record + aux
    )
    start = len(read_bytes_of(content)) - len(record + aux)
    with pytest.raises(DamagedElfError, match="exceed the limit of 1048576 bytes"):
        read_needed(change_dynamic_entry(read_bytes_of(content), c.DT_VERNEED, start))


def test_a_version_name_beyond_the_string_table_is_an_error(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    _, section = find_section(data, ".gnu.version_r")
    assert data[section.offset : section.offset + 2] == b"\1\0"
    invalid = replace_bytes(data, section.offset + 16 + 8, b"\xff\xff\0\0")
    with pytest.raises(DamagedElfError, match="lies outside its table"):
        read_needed(invalid)
