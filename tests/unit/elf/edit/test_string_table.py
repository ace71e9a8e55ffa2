"""Space in the string table: only strings without any user are overwritten."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.string_tables.string_table import (
    Placement,
    allocate_strings,
    find_used_offsets,
)
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.model.content import BytesReader
from bundle_fix.model.errors import DamagedElfError
from elf.support import (
    change_dynamic_entry,
    change_header,
    drop_section_headers,
    find_section,
    get_content,
    parse_image,
    read_bytes_of,
    replace_bytes,
)

FOO = "int foo(void) { return 1; }\nint bar(void) { return 2; }\n"


def place_texts(table: bytes, kept: list[int], freed: list[int], *texts: str) -> Placement:
    return allocate_strings(table, [array("I", kept)], freed, texts)


def apply_placement(table: bytes, placement: Placement) -> bytes:
    for patch in placement.patches:
        assert patch.end <= len(table)
        table = replace_bytes(table, patch.offset, patch.data)
    return table


def test_a_shorter_string_overwrites_the_old_one_and_the_rest_is_cleared() -> None:
    placement = place_texts(b"\0/opt/long\0x\0", [11], [1], "/a")
    assert apply_placement(b"\0/opt/long\0x\0", placement) == b"\0/a\0\0\0\0\0\0\0\0x\0"
    assert placement.offsets == {"/a": 1}


def test_a_string_of_the_same_length_fits() -> None:
    assert place_texts(b"\0/abc\0", [], [1], "/xyz").offsets == {"/xyz": 1}


def test_a_longer_string_does_not_fit() -> None:
    placement = place_texts(b"\0/abc\0y\0", [6], [1], "/wxyz")
    assert placement.unplaced == ("/wxyz",)
    assert apply_placement(b"\0/abc\0y\0", placement) == b"\0\0\0\0\0\0y\0"


def test_an_existing_string_is_used_again() -> None:
    placement = place_texts(b"\0libfoo.so\0", [1], [], "foo.so")
    assert placement.offsets == {"foo.so": 4}
    assert not placement.patches


def test_the_end_of_a_freed_string_that_equals_a_new_one_is_written_again() -> None:
    table = b"\0/opt/x/foo\0"
    placement = place_texts(table, [], [1], "x/foo", "/ab")
    assert placement.offsets == {"x/foo": 1}
    assert placement.unplaced == ("/ab",)
    assert apply_placement(table, placement) == b"\0x/foo\0\0\0\0\0\0"


@pytest.mark.parametrize("user", [2, 5, 8, 10])
def test_only_the_part_of_a_freed_string_before_a_used_end_is_cleared(user: int) -> None:
    table = b"\0/opt/x/foo\0bar\0"
    placement = place_texts(table, [user], [1], "/opt")
    after = apply_placement(table, placement)
    assert get_string(after, user) == get_string(table, user)
    assert placement.offsets == ({"/opt": 1} if user > 5 else {})
    assert after[1:user].strip(b"\0") == (b"/opt" if user > 5 else b"")


def test_a_freed_string_that_something_else_uses_is_kept() -> None:
    placement = place_texts(b"\0/opt/x\0", [1], [1])
    assert not placement.patches


def test_a_string_that_is_the_end_of_a_used_one_is_not_overwritten() -> None:
    assert place_texts(b"\0/opt/x/foo\0", [1], [8], "y").unplaced == ("y",)


def test_the_empty_string_after_a_freed_one_may_be_used() -> None:
    table = b"\0/opt\0"
    placement = place_texts(table, [5], [1], "/a")
    assert get_string(apply_placement(table, placement), 5) == b""


def test_a_freed_string_without_nul_is_not_overwritten() -> None:
    assert place_texts(b"\0/opt/x", [], [1], "/a").unplaced == ("/a",)
    assert place_texts(b"\0/opt\0", [], [99], "/a").unplaced == ("/a",)


def test_two_strings_do_not_share_a_slot() -> None:
    table = b"\0/opt/some/where\0/r\0"
    placement = place_texts(table, [], [1, 17], "/a", "/b")
    after = apply_placement(table, placement)
    assert {t: get_string(after, at).decode() for t, at in placement.offsets.items()} == {
        "/a": "/a",
        "/b": "/b",
    }


LETTERS = st.text("ab/", max_size=6)


@given(
    strings=st.lists(LETTERS, min_size=1, max_size=8),
    picks=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5), st.booleans()), max_size=8),
    texts=st.lists(LETTERS, max_size=3),
)
def test_kept_strings_are_unchanged_and_new_ones_are_as_requested(
    strings: list[str], picks: list[tuple[int, int, bool]], texts: list[str]
) -> None:
    table = b"\0" + b"".join(text.encode() + b"\0" for text in strings)
    starts = [1 + sum(len(s) + 1 for s in strings[:n]) for n in range(len(strings))]
    kept: list[int] = []
    freed: list[int] = []
    for number, tail, stays in picks:
        at = starts[number % len(strings)] + tail % (len(strings[number % len(strings)]) + 1)
        (kept if stays else freed).append(at)
    placement = place_texts(table, kept, freed, *texts)
    after = apply_placement(table, placement)
    assert len(after) == len(table)
    assert [get_string(after, at) for at in kept] == [get_string(table, at) for at in kept]
    for text, at in placement.offsets.items():
        assert get_string(after, at) == text.encode()
    assert {*placement.offsets, *placement.unplaced} == set(texts)


# --- tables that linkers made -----------------------------------------------------------------


def build_sharing_library(directory: Path, toolchain: Toolchain = HOST) -> Path:
    """Build a library whose RUNPATH ends with the name of one of its symbols."""
    return build_elf(
        directory / "x.so", soname="libx.so", source=FOO, runpath="/opt/x/foo", toolchain=toolchain
    )


def shares_symbol_name(data: bytes) -> bool:
    """Return whether the name of the symbol ``foo`` is stored as the end of the RUNPATH."""
    image = parse_image(data)
    reader = BytesReader(data)
    table = find_string_table(image)
    assert table is not None
    strings = reader.pread(*table)
    start = image.find_value(c.DT_RUNPATH)
    assert start is not None
    return any(start < at < start + 10 and get_string(strings, at) == b"foo"
               for at in read_name_offsets(reader, image))  # fmt: skip


@pytest.mark.parametrize("toolchain", [LINKERS["bfd"], CROSS["s390x"], CROSS["i386"]])
@pytest.mark.parametrize("runpath", ["/a", "/opt/x/fo", "/opt/y/foo", "", "/opt/much/longer/foo"])
def test_a_symbol_name_stored_in_the_old_runpath_is_kept(
    tmp_path: Path, toolchain: Toolchain, runpath: str
) -> None:
    data = build_sharing_library(tmp_path, toolchain).read_bytes()
    assert shares_symbol_name(data)
    edited = edit_file(
        get_content(tmp_path / "x.so"), Changes(runpath=runpath), tmp_path, "inplace"
    )
    after = read_bytes_of(edited.content)
    assert b"foo" in list_symbol_names(after)
    assert list_symbol_names(after) == list_symbol_names(data)
    assert edited.image.runpath == (runpath or None)
    assert edited.editor == ("table" if len(runpath) >= len("/opt/x") else "slot")
    assert b"/opt/x" not in after.replace(os.fsencode(runpath) or b"-", b"")


def list_symbol_names(data: bytes) -> list[bytes]:
    reader = BytesReader(data)
    image = read_image(reader)
    table = find_string_table(image)
    assert table is not None
    strings = reader.pread(*table)
    return [get_string(strings, at) for at in read_name_offsets(reader, image)]


@pytest.mark.parametrize("name", ["bfd", "gold", "lld", "mold"])
def test_a_runpath_without_other_users_is_overwritten(tmp_path: Path, name: str) -> None:
    build_elf(tmp_path / "x.so", source=FOO, runpath="/opt/x/own", toolchain=LINKERS[name])
    edited = edit_file(get_content(tmp_path / "x.so"), Changes(runpath="$ORIGIN"), tmp_path)
    assert edited.editor == "slot"
    assert list_symbol_names(read_bytes_of(edited.content)) == list_symbol_names(
        (tmp_path / "x.so").read_bytes()
    )


def test_a_runpath_that_is_also_a_needed_name_and_a_version_is_not_overwritten(
    tmp_path: Path,
) -> None:
    flags = ["-Wl,-rpath,libc.so.6"]
    data = build_elf(tmp_path / "x", program=True, flags=flags).read_bytes()
    image = parse_image(data)
    assert image.find_value(c.DT_RUNPATH) == image.find_value(c.DT_NEEDED)
    edited = edit_file(get_content(tmp_path / "x"), Changes(runpath="/a"), tmp_path)
    assert edited.image.needed == ("libc.so.6",)
    assert edited.editor == "table"


def test_a_replaced_needed_name_without_versions_is_overwritten(tmp_path: Path) -> None:
    build_elf(tmp_path / "x", program=True, needed=["libunversioned.so.1"])
    path = get_content(tmp_path / "x")
    edited = edit_file(
        path, Changes(replace_needed=(("libunversioned.so.1", "libu.so"),)), tmp_path
    )
    assert edited.editor == "slot"


def test_symbols_versions_and_kept_entries_use_strings(tmp_path: Path) -> None:
    reader = BytesReader(build_elf(tmp_path / "x", program=True, runpath="/opt/own").read_bytes())
    image = read_image(reader)
    table = find_string_table(image)
    assert table is not None
    strings = reader.pread(*table)
    kept = [e for e in image.dynamic or () if e.tag != c.DT_RUNPATH]
    used = {get_string(strings, at) for users in find_used_offsets(reader, image, strings, kept, ())
            for at in users}  # fmt: skip
    assert {b"libc.so.6", b"write", b"GLIBC_2.2.5"} <= used
    assert b"/opt/own" not in used


@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"]])
def test_symbol_names_are_read_in_either_byte_order(tmp_path: Path, toolchain: Toolchain) -> None:
    assert {b"foo", b"bar"} <= set(
        list_symbol_names(build_sharing_library(tmp_path, toolchain).read_bytes())
    )


def test_a_file_whose_symbols_cannot_be_counted_is_not_edited(tmp_path: Path) -> None:
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    source = "int puts(const char *); __attribute__((constructor)) static void f(void){puts(0);}"
    data = build_elf(tmp_path / "x.so", source=source, flags=flags, runpath="/a").read_bytes()
    strings = find_section(data, ".dynstr")[1]
    bare = drop_section_headers(change_dynamic_entry(data, c.DT_STRTAB, strings.addr + 1))
    reader = BytesReader(bare)
    with pytest.raises(DamagedElfError, match="number of its dynamic symbols is unknown"):
        read_name_offsets(reader, read_image(reader))


def test_names_of_sections_in_the_same_table_are_used(tmp_path: Path) -> None:
    data = build_sharing_library(tmp_path).read_bytes()
    image = parse_image(data)
    at, strings = find_section(data, ".dynstr")
    number = (at - image.header.shoff) // image.format.section.size
    reader = BytesReader(change_header(data, shstrndx=number))
    table = reader.pread(strings.offset, strings.size)
    used = find_used_offsets(reader, parse_image(reader.data), table, (), ())
    assert set(used[-1]) == {s.name for s in read_sections(reader, image.format, image.header)}


def test_new_strings_have_the_encoding_of_the_file_system(tmp_path: Path) -> None:
    text = os.fsdecode(b"/caf\xe9")
    build_elf(tmp_path / "x", program=True, runpath="/opt/long/enough")
    edited = edit_file(get_content(tmp_path / "x"), Changes(runpath=text), tmp_path, "inplace")
    assert b"/caf\xe9\0" in read_bytes_of(edited.content)
