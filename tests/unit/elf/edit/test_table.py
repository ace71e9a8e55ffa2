"""The table editor: the places to which it moves tables, and the files that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import CROSS, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import plan_entries
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.string_tables.table import grow_string_table
from bundle_fix.elf.read import constants as c
from bundle_fix.model.content import BytesReader
from bundle_fix.model.patches import Patch
from elf.edit.programs import LONGER, OLD, build_program, edit_data
from elf.support import (
    build_tiny_elf,
    change_dynamic_entry,
    change_header,
    change_section,
    change_segment,
    drop_section_headers,
    find_section,
    parse_image,
    read_bytes_of,
    replace_bytes,
    run_tool,
)

NOT_LOADED = (".comment", ".debug_abbrev", ".debug_line_str")


def compute_patches(data: bytes, changes: Changes) -> tuple[Patch, ...]:
    reader, image = BytesReader(data), parse_image(data)
    return grow_string_table(reader, image, plan_entries(image, changes))


def run_data(data: bytes, directory: Path) -> str:
    path = directory / "edited"
    path.write_bytes(data)
    path.chmod(0o755)
    return run_tool(path).stdout


def get_value(data: bytes, tag: int) -> int:
    value = parse_image(data).find_value(tag)
    assert value is not None
    return value


def limit_tails(data: bytes, *spaces: int) -> bytes:
    """Return ``data`` with ``spaces`` unused bytes after its read-only segments.

    Sections that are not loaded take the rest; their content does not matter here.
    """
    segments = [s for s in parse_image(data).find_loads() if not s.flags & c.PF_W]
    for segment, space, name in zip(segments, spaces, NOT_LOADED, strict=True):
        data = change_section(data, name, offset=segment.file_end + space, size=4)
    return data


@pytest.mark.parametrize("toolchain", [LINKERS["bfd"], CROSS["s390x"], CROSS["i386"]])
def test_the_string_table_moves_if_there_is_space(tmp_path: Path, toolchain: Toolchain) -> None:
    data = build_program(tmp_path, toolchain)
    after = edit_data(data, Changes(runpath=LONGER), tmp_path)
    first = parse_image(data).find_loads()[0]
    assert get_value(after, c.DT_STRTAB) == first.memory_end
    assert parse_image(after).find_loads()[0].file_end == find_section_end(after, ".dynstr")
    assert get_value(after, c.DT_VERSYM) == get_value(data, c.DT_VERSYM)


def find_section_end(data: bytes, name: str) -> int:
    section = find_section(data, name)[1]
    return section.offset + section.size


@pytest.mark.parametrize("space", [20, 48, 64, 120])
def test_neighbouring_tables_move_if_there_is_too_little_space(tmp_path: Path, space: int) -> None:
    data = limit_tails(build_program(tmp_path), space, 0, 0)
    growth = min(space, 60) - 8
    after = edit_data(data, Changes(runpath="/opt/longer/"[:12].ljust(growth, "x")), tmp_path)
    assert get_value(after, c.DT_STRTAB) == get_value(data, c.DT_STRTAB)
    moved = [t for t in (c.DT_VERSYM, c.DT_VERNEED) if get_value(after, t) != get_value(data, t)]
    assert moved
    assert run_data(after, tmp_path) == "main\n"
    assert run_tool("readelf", "-VW", tmp_path / "edited").stderr == ""
    assert "GLIBC_2.2.5" in run_tool("readelf", "-VW", tmp_path / "edited").stdout


@pytest.mark.parametrize(
    "flags", [["-Wl,--hash-style=both"], ["-Wl,--hash-style=sysv"], ["-fuse-ld=gold"]]
)
def test_hash_tables_move_and_still_find_symbols(tmp_path: Path, flags: list[str]) -> None:
    source = "int offered(void) { return 7; }"
    library = build_elf(
        tmp_path / "libo.so", soname="libo.so", source=source, runpath=OLD, flags=flags
    )
    changes = Changes(runpath=LONGER * 3)
    library.write_bytes(edit_data(library.read_bytes(), changes, tmp_path))
    user = build_elf(
        tmp_path / "user", program=True, source="int offered(void);int main(){return offered()-7;}",
        flags=[str(library), "-Wl,-rpath,$ORIGIN", "-Wl,-z,now"],
    )  # fmt: skip
    run_tool(user)


def test_the_tail_of_another_segment_is_used_if_the_own_one_is_full(tmp_path: Path) -> None:
    data = limit_tails(build_program(tmp_path), 0, 0, 500)
    after = edit_data(data, Changes(runpath=LONGER), tmp_path)
    third = parse_image(data).find_loads()[2]
    assert get_value(after, c.DT_STRTAB) == third.memory_end
    assert not third.flags & c.PF_X
    assert run_data(after, tmp_path) == "main\n"


def test_the_tail_of_the_code_segment_is_the_last_choice(tmp_path: Path) -> None:
    data = limit_tails(build_program(tmp_path), 0, 500, 0)
    after = edit_data(data, Changes(runpath=LONGER), tmp_path)
    assert get_value(after, c.DT_STRTAB) == parse_image(data).find_loads()[1].memory_end
    assert run_data(after, tmp_path) == "main\n"


def test_an_unreadable_code_segment_is_not_used(tmp_path: Path) -> None:
    data = limit_tails(build_program(tmp_path), 0, 500, 0)
    unreadable = change_segment(data, c.PT_LOAD, 1, flags=c.PF_X)
    with pytest.raises(CannotEditError, match="no segment has enough unused space"):
        compute_patches(unreadable, Changes(runpath=LONGER))


def test_bytes_other_than_zero_are_not_overwritten(tmp_path: Path) -> None:
    data = build_program(tmp_path)
    for segment in parse_image(data).find_loads()[:3]:
        data = replace_bytes(data, segment.file_end + 5, b"x")
    with pytest.raises(CannotEditError, match="no segment has enough unused space"):
        compute_patches(data, Changes(runpath=LONGER))


def test_no_table_moves_beyond_the_address_space() -> None:
    data = read_bytes_of(build_tiny_elf([(c.DT_RUNPATH, 1)], b"\0x\0", bits=32))
    base = (1 << 32) - len(data) - 16
    strings = get_value(data, c.DT_STRTAB)
    data = change_dynamic_entry(data, c.DT_STRTAB, base + strings)
    data = change_segment(data, c.PT_LOAD, vaddr=base, flags=c.PF_R) + bytes(4096)
    with pytest.raises(CannotEditError, match="no segment has enough unused space"):
        compute_patches(data, Changes(runpath=LONGER))
    lower = change_dynamic_entry(data, c.DT_STRTAB, base - 2048 + strings)
    assert compute_patches(
        change_segment(lower, c.PT_LOAD, vaddr=base - 2048), Changes(runpath=LONGER)
    )


def test_section_symbols_follow_their_sections(tmp_path: Path) -> None:
    data = build_program(tmp_path)
    image = parse_image(data)
    at, strings = find_section(data, ".dynstr")
    number = (at - image.header.shoff) // image.format.section.size
    # Old versions of binutils leave section symbols in linked files, new ones do not.
    symbol = find_section(data, ".symtab")[1].offset + 24
    raw = data[symbol : symbol + 4] + bytes([c.STT_SECTION, 0]) + number.to_bytes(2, "little")
    data = replace_bytes(data, symbol, raw + strings.addr.to_bytes(8, "little") + bytes(8))
    after = edit_data(data, Changes(runpath=LONGER), tmp_path)
    value = int.from_bytes(after[symbol + 8 : symbol + 16], "little")
    assert value == get_value(after, c.DT_STRTAB) != strings.addr
    assert value == find_section(after, ".dynstr")[1].addr


def test_a_file_with_inconsistent_section_headers_is_refused(tmp_path: Path) -> None:
    data = build_program(tmp_path)
    at = find_section(data, ".dynstr")[1].offset
    with pytest.raises(CannotEditError, match="no single section header matches"):
        compute_patches(change_section(data, ".dynstr", offset=at + 1), Changes(runpath=LONGER))
    with pytest.raises(CannotEditError, match="no single section header matches"):
        compute_patches(change_section(data, ".dynstr", type=c.SHT_NOBITS), Changes(runpath=LONGER))


def test_a_string_table_without_final_nul_is_refused(tmp_path: Path) -> None:
    data = build_program(tmp_path)
    shorter = change_dynamic_entry(data, c.DT_STRSZ, get_value(data, c.DT_STRSZ) - 1)
    with pytest.raises(CannotEditError, match="does not end with a NUL"):
        compute_patches(shorter, Changes(runpath=LONGER))


def test_a_new_string_may_be_stored_as_the_end_of_another(tmp_path: Path) -> None:
    changes = Changes(runpath="/opt/longer/libnew.so.1", soname="libnew.so.1")
    after = edit_data(build_program(tmp_path), changes, tmp_path)
    assert after.count(b"libnew.so.1\0") == 1


def test_a_file_without_section_headers_stays_without(tmp_path: Path) -> None:
    data = drop_section_headers(build_program(tmp_path))
    after = edit_data(data, Changes(runpath=LONGER), tmp_path)
    assert parse_image(after).header == parse_image(data).header
    assert run_data(after, tmp_path) == "main\n"


def test_a_file_without_section_names_is_edited(tmp_path: Path) -> None:
    data = change_header(build_program(tmp_path), shstrndx=0)
    after = edit_data(data, Changes(runpath=LONGER), tmp_path)
    assert run_data(after, tmp_path) == "main\n"
