"""Notes: build-ids as readelf prints them, padding to 4 and to 8 bytes, invalid sizes."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from builders.elf import CROSS, LINKERS, Toolchain, build_elf
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.notes import Note, read_build_id, read_notes
from bundle_fix.elf.read.parser import read_image
from bundle_fix.model.content import BytesReader
from elf.support import change_segment, get_content, list_system_files, replace_bytes, run_tool

TOOLCHAINS = {**LINKERS, **CROSS}


def build_with_id(directory: Path, style: str, toolchain: Toolchain) -> Path:
    flags = [f"-Wl,--build-id={style}"]
    return build_elf(directory / f"{style}.so", flags=flags, toolchain=toolchain)


def read_id(path: Path) -> str | None:
    with get_content(path).open() as reader:
        return read_build_id(reader, read_image(reader))


def read_id_with_readelf(path: Path) -> str | None:
    found = re.search(r"Build ID: (\w+)", run_tool("readelf", "-nW", path).stdout)
    return found[1] if found else None


def list_notes(data: bytes) -> list[Note]:
    reader = BytesReader(data)
    return list(read_notes(reader, read_image(reader)))


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_the_build_id_matches_readelf(tmp_path: Path, name: str) -> None:
    path = build_with_id(tmp_path, "sha1", TOOLCHAINS[name])
    build_id = read_id(path)
    assert build_id is not None
    assert len(build_id) == 40
    assert build_id == read_id_with_readelf(path)


@pytest.mark.parametrize(("style", "length"), [("md5", 32), ("0xdecafbad", 8)])
def test_a_build_id_may_have_any_length(tmp_path: Path, style: str, length: int) -> None:
    path = build_with_id(tmp_path, style, LINKERS["bfd"])
    build_id = read_id(path)
    assert build_id is not None
    assert len(build_id) == length
    assert build_id == read_id_with_readelf(path)


def test_a_file_without_build_id_has_none(tmp_path: Path) -> None:
    assert read_id(build_with_id(tmp_path, "none", LINKERS["bfd"])) is None


def test_notes_with_both_paddings_are_read(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True, flags=["-fcf-protection=full"]).read_bytes()
    reader = BytesReader(data)
    aligned = {s.align for s in read_image(reader).segments if s.type == c.PT_NOTE}
    assert aligned == {4, 8}
    kinds = {(note.name, note.type) for note in list_notes(data)}
    # NT_GNU_PROPERTY_TYPE_0 is padded to 8 bytes, the build-id and the ABI tag to 4.
    assert {(b"GNU\0", 5), (b"GNU\0", 3), (b"GNU\0", 1)} <= kinds


def test_notes_padded_to_8_bytes_are_read_at_their_offsets(tmp_path: Path) -> None:
    # Two notes of 4 and 12 bytes, each padded to 8: the second begins at 24, not at 20.
    first = struct.pack("<III", 4, 4, 7) + b"GNU\0" + b"abcd" + bytes(4)
    second = struct.pack("<III", 4, 3, 3) + b"GNU\0" + b"xyz"
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    at = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")
    body = (first + second).ljust(48, b"\0")
    changed = change_segment(
        replace_bytes(data, at, body), c.PT_NOTE, offset=at, filesz=43, align=8
    )
    reader = BytesReader(changed)
    found = list_notes(changed)
    assert found[:2] == [Note(b"GNU\0", 7, b"abcd"), Note(b"GNU\0", 3, b"xyz")]
    assert read_build_id(reader, read_image(reader)) == b"xyz".hex()


def test_build_ids_of_this_machines_files_match_readelf() -> None:
    files = list_system_files(every=25)
    assert [read_id(p) for p in files] == [read_id_with_readelf(p) for p in files]


@pytest.mark.parametrize("word", [0, 1])
def test_a_note_with_an_invalid_size_ends_its_segment(tmp_path: Path, word: int) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    reader = BytesReader(data)
    segment = next(s for s in read_image(reader).segments if s.type == c.PT_NOTE)
    invalid = replace_bytes(data, segment.offset + 4 * word, b"\xf0\xff\xff\xff")
    assert len(list_notes(invalid)) < len(list_notes(data))


def test_a_note_segment_beyond_the_file_has_no_notes(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    for number in range(2):
        data = change_segment(data, c.PT_NOTE, number, offset=1 << 50, filesz=1 << 50)
    assert list_notes(data) == []
