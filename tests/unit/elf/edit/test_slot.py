"""The slot editor and the entries of the dynamic section."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import plan_entries
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.string_tables.dynamic_section import compute_dynamic_patch
from bundle_fix.elf.edit.string_tables.slot import edit_in_slots
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry
from bundle_fix.model.content import BytesReader
from elf.edit.programs import build_program, edit_data
from elf.support import (
    build_tiny_elf,
    change_dynamic_entry,
    change_segment,
    parse_image,
    read_bytes_of,
)

DT_MIPS_RLD_MAP_REL = 0x70000035


def test_removed_entries_leave_zeros(tmp_path: Path) -> None:
    data = build_program(tmp_path)
    after = edit_data(data, Changes(runpath=""), tmp_path)
    before = parse_image(data).dynamic or ()
    assert len(parse_image(after).dynamic or ()) == len(before) - 1
    segment = next(s for s in parse_image(after).segments if s.type == c.PT_DYNAMIC)
    last = segment.offset + 16 * (len(before) - 1)
    assert after[last : last + 16] == bytes(16)


def test_a_value_relative_to_its_own_entry_follows_the_entry() -> None:
    rows = [(c.DT_RUNPATH, 1), (DT_MIPS_RLD_MAP_REL, 64), (c.DT_NEEDED, 1)]
    image = parse_image(read_bytes_of(build_tiny_elf(rows, b"\0x\0")))
    entries = image.dynamic or ()
    kept = compute_dynamic_patch(image, [*entries[:2], *entries[3:]]).data
    assert image.format.dynamic.pack(DT_MIPS_RLD_MAP_REL, 64) in kept
    moved = compute_dynamic_patch(image, entries[1:]).data
    assert moved.startswith(image.format.dynamic.pack(DT_MIPS_RLD_MAP_REL, 64 + 16))


def test_a_dynamic_section_without_dt_null_does_not_grow() -> None:
    data = read_bytes_of(build_tiny_elf([(c.DT_RUNPATH, 1)], b"\0x\0"))
    segment = next(s for s in parse_image(data).segments if s.type == c.PT_DYNAMIC)
    endless = parse_image(change_segment(data, c.PT_DYNAMIC, filesz=segment.filesz - 16))
    entries = endless.dynamic or ()
    assert compute_dynamic_patch(endless, entries).end == segment.file_end - 16
    with pytest.raises(CannotEditError, match="has space for"):
        compute_dynamic_patch(endless, [*entries, DynamicEntry(c.DT_NEEDED, 1)])


def test_a_file_without_string_table_has_no_slots() -> None:
    data = read_bytes_of(build_tiny_elf([(c.DT_DEBUG, 0)], b"\0"))
    image = parse_image(change_dynamic_entry(data, c.DT_STRTAB, 0, c.DT_DEBUG))
    with pytest.raises(CannotEditError, match="no dynamic string table"):
        edit_in_slots(BytesReader(data), image, plan_entries(image, Changes(runpath="x")))
