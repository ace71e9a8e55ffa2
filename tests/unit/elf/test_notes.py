"""The notes: build-ids as readelf prints them, padding of 4 and of 8, notes that lie."""

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
from elf.support import content_of, run, splice, system_files, with_segment

TOOLCHAINS = {**LINKERS, **CROSS}


def identified(folder: Path, style: str, toolchain: Toolchain) -> Path:
    flags = [f"-Wl,--build-id={style}"]
    return build_elf(folder / f"{style}.so", flags=flags, toolchain=toolchain)


def read_id(path: Path) -> str | None:
    with content_of(path).open() as reader:
        return read_build_id(reader, read_image(reader))


def by_readelf(path: Path) -> str | None:
    found = re.search(r"Build ID: (\w+)", run("readelf", "-nW", path).stdout)
    return found[1] if found else None


def all_notes(data: bytes) -> list[Note]:
    reader = BytesReader(data)
    return list(read_notes(reader, read_image(reader)))


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_the_build_id_is_the_one_that_readelf_prints(tmp_path: Path, name: str) -> None:
    path = identified(tmp_path, "sha1", TOOLCHAINS[name])
    seen = read_id(path)
    assert seen is not None
    assert len(seen) == 40
    assert seen == by_readelf(path)


@pytest.mark.parametrize(("style", "length"), [("md5", 32), ("0xdecafbad", 8)])
def test_a_build_id_may_have_any_length(tmp_path: Path, style: str, length: int) -> None:
    path = identified(tmp_path, style, LINKERS["bfd"])
    seen = read_id(path)
    assert seen is not None
    assert len(seen) == length
    assert seen == by_readelf(path)


def test_a_file_without_build_id_has_none(tmp_path: Path) -> None:
    assert read_id(identified(tmp_path, "none", LINKERS["bfd"])) is None


def test_notes_of_both_paddings_are_read(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True, flags=["-fcf-protection=full"]).read_bytes()
    reader = BytesReader(data)
    aligned = {s.align for s in read_image(reader).segments if s.type == c.PT_NOTE}
    assert aligned == {4, 8}
    kinds = {(note.name, note.type) for note in all_notes(data)}
    # NT_GNU_PROPERTY_TYPE_0 is padded to 8 bytes, the build-id and the ABI tag to 4.
    assert {(b"GNU\0", 5), (b"GNU\0", 3), (b"GNU\0", 1)} <= kinds


def test_several_properties_in_one_note_segment_keep_their_places(tmp_path: Path) -> None:
    # Two notes of 4 and 12 bytes, each padded to 8: the second begins at 24, not at 20.
    first = struct.pack("<III", 4, 4, 7) + b"GNU\0" + b"abcd" + bytes(4)
    second = struct.pack("<III", 4, 3, 3) + b"GNU\0" + b"xyz"
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    at = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")
    body = (first + second).ljust(48, b"\0")
    changed = with_segment(splice(data, at, body), c.PT_NOTE, offset=at, filesz=43, align=8)
    reader = BytesReader(changed)
    found = all_notes(changed)
    assert found[:2] == [Note(b"GNU\0", 7, b"abcd"), Note(b"GNU\0", 3, b"xyz")]
    assert read_build_id(reader, read_image(reader)) == b"xyz".hex()


def test_the_machines_own_build_ids_are_those_that_readelf_prints() -> None:
    files = system_files(every=25)
    assert [read_id(p) for p in files] == [by_readelf(p) for p in files]


@pytest.mark.parametrize("word", [0, 1])
def test_a_note_that_lies_about_its_size_ends_its_segment(tmp_path: Path, word: int) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    reader = BytesReader(data)
    segment = next(s for s in read_image(reader).segments if s.type == c.PT_NOTE)
    lying = splice(data, segment.offset + 4 * word, b"\xf0\xff\xff\xff")
    assert len(all_notes(lying)) < len(all_notes(data))


def test_a_note_segment_beyond_the_file_has_no_notes(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    for number in range(2):
        data = with_segment(data, c.PT_NOTE, number, offset=1 << 50, filesz=1 << 50)
    assert all_notes(data) == []
