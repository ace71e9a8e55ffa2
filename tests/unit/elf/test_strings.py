"""Room in the string table: what is overwritten is used by nobody."""

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
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.string_table import Placement, allocate_strings, find_used_offsets
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.model.content import BytesReader
from elf.support import (
    bytes_of,
    content_of,
    image_in,
    section_of,
    splice,
    with_dynamic,
    with_header,
    without_section_headers,
)

FOO = "int foo(void) { return 1; }\nint bar(void) { return 2; }\n"


def placed(table: bytes, kept: list[int], freed: list[int], *texts: str) -> Placement:
    return allocate_strings(table, [array("I", kept)], freed, texts)


def applied(table: bytes, placement: Placement) -> bytes:
    for patch in placement.patches:
        assert patch.end <= len(table)
        table = splice(table, patch.offset, patch.data)
    return table


def test_a_shorter_string_goes_where_the_old_one_was_and_the_rest_is_cleared() -> None:
    placement = placed(b"\0/opt/long\0x\0", [11], [1], "/a")
    assert applied(b"\0/opt/long\0x\0", placement) == b"\0/a\0\0\0\0\0\0\0\0x\0"
    assert placement.offsets == {"/a": 1}


def test_a_string_of_the_same_length_fits() -> None:
    assert placed(b"\0/abc\0", [], [1], "/xyz").offsets == {"/xyz": 1}


def test_a_longer_string_finds_no_room() -> None:
    placement = placed(b"\0/abc\0y\0", [6], [1], "/wxyz")
    assert placement.unplaced == ("/wxyz",)
    assert not placement.patches


def test_a_string_that_stands_there_already_is_used_and_nothing_is_written() -> None:
    placement = placed(b"\0libfoo.so\0", [1], [], "foo.so")
    assert placement.offsets == {"foo.so": 4}
    assert not placement.patches


def test_a_tail_of_a_freed_string_that_serves_a_new_one_keeps_its_place() -> None:
    table = b"\0/opt/x/foo\0"
    placement = placed(table, [], [1], "x/foo", "/ab")
    assert placement.offsets == {"x/foo": 6}
    assert placement.unplaced == ("/ab",)
    assert not placement.patches


@pytest.mark.parametrize("user", [2, 5, 8, 10])
def test_a_string_whose_tail_has_a_user_is_never_overwritten(user: int) -> None:
    table = b"\0/opt/x/foo\0bar\0"
    placement = placed(table, [user], [1], "/a")
    assert placement.unplaced == ("/a",)


def test_a_string_that_is_the_tail_of_a_used_one_is_never_overwritten() -> None:
    assert placed(b"\0/opt/x/foo\0", [1], [8], "y").unplaced == ("y",)


def test_the_empty_string_behind_a_freed_one_may_have_users() -> None:
    table = b"\0/opt\0"
    placement = placed(table, [5], [1], "/a")
    assert get_string(applied(table, placement), 5) == b""


def test_a_freed_string_without_end_is_no_room() -> None:
    assert placed(b"\0/opt/x", [], [1], "/a").unplaced == ("/a",)
    assert placed(b"\0/opt\0", [], [99], "/a").unplaced == ("/a",)


def test_two_strings_never_share_a_slot() -> None:
    table = b"\0/opt/some/where\0/r\0"
    placement = placed(table, [], [1, 17], "/a", "/b")
    after = applied(table, placement)
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
def test_every_kept_string_still_reads_the_same_and_every_new_one_as_asked(
    strings: list[str], picks: list[tuple[int, int, bool]], texts: list[str]
) -> None:
    table = b"\0" + b"".join(text.encode() + b"\0" for text in strings)
    starts = [1 + sum(len(s) + 1 for s in strings[:n]) for n in range(len(strings))]
    kept: list[int] = []
    freed: list[int] = []
    for number, tail, stays in picks:
        at = starts[number % len(strings)] + tail % (len(strings[number % len(strings)]) + 1)
        (kept if stays else freed).append(at)
    placement = placed(table, kept, freed, *texts)
    after = applied(table, placement)
    assert len(after) == len(table)
    assert [get_string(after, at) for at in kept] == [get_string(table, at) for at in kept]
    for text, at in placement.offsets.items():
        assert get_string(after, at) == text.encode()
    assert {*placement.offsets, *placement.unplaced} == set(texts)


# --- tables that linkers made -----------------------------------------------------------------


def sharing(folder: Path, toolchain: Toolchain = HOST) -> Path:
    """A library whose RUNPATH ends in the name of one of its symbols."""
    return build_elf(
        folder / "x.so", soname="libx.so", source=FOO, runpath="/opt/x/foo", toolchain=toolchain
    )


def shares(data: bytes) -> bool:
    """Whether the symbol ``foo`` is the tail of the RUNPATH in the string table."""
    image = image_in(data)
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
def test_a_runpath_whose_tail_is_a_symbols_name_keeps_the_symbol(
    tmp_path: Path, toolchain: Toolchain, runpath: str
) -> None:
    data = sharing(tmp_path, toolchain).read_bytes()
    assert shares(data)
    edited = edit_file(content_of(tmp_path / "x.so"), Changes(runpath=runpath), tmp_path, "inplace")
    after = bytes_of(edited.content)
    assert b"foo" in names_of(after)
    assert names_of(after) == names_of(data)
    assert edited.image.runpath == (runpath or None)
    assert edited.editor == ("slot" if not runpath else "table")


def names_of(data: bytes) -> list[bytes]:
    reader = BytesReader(data)
    image = read_image(reader)
    table = find_string_table(image)
    assert table is not None
    strings = reader.pread(*table)
    return [get_string(strings, at) for at in read_name_offsets(reader, image)]


@pytest.mark.parametrize("name", ["bfd", "gold", "lld", "mold"])
def test_a_runpath_of_its_own_is_overwritten(tmp_path: Path, name: str) -> None:
    build_elf(tmp_path / "x.so", source=FOO, runpath="/opt/x/own", toolchain=LINKERS[name])
    edited = edit_file(content_of(tmp_path / "x.so"), Changes(runpath="$ORIGIN"), tmp_path)
    assert edited.editor == "slot"
    assert names_of(bytes_of(edited.content)) == names_of((tmp_path / "x.so").read_bytes())


def test_a_runpath_that_is_also_a_needed_name_and_a_version_is_not_overwritten(
    tmp_path: Path,
) -> None:
    flags = ["-Wl,-rpath,libc.so.6"]
    data = build_elf(tmp_path / "x", program=True, flags=flags).read_bytes()
    image = image_in(data)
    assert image.find_value(c.DT_RUNPATH) == image.find_value(c.DT_NEEDED)
    edited = edit_file(content_of(tmp_path / "x"), Changes(runpath="/a"), tmp_path)
    assert edited.image.needed == ("libc.so.6",)
    assert edited.editor == "table"


def test_a_needed_name_that_goes_leaves_room_only_where_no_version_names_it(tmp_path: Path) -> None:
    build_elf(tmp_path / "x", program=True, needed=["libunversioned.so.1"])
    path = content_of(tmp_path / "x")
    gone = edit_file(path, Changes(replace_needed=(("libunversioned.so.1", "libu.so"),)), tmp_path)
    assert gone.editor == "slot"


def test_users_are_symbols_versions_and_the_entries_that_stay(tmp_path: Path) -> None:
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
    assert {b"foo", b"bar"} <= set(names_of(sharing(tmp_path, toolchain).read_bytes()))


def test_a_file_whose_symbols_cannot_be_counted_is_not_edited(tmp_path: Path) -> None:
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    source = "int puts(const char *); __attribute__((constructor)) static void f(void){puts(0);}"
    data = build_elf(tmp_path / "x.so", source=source, flags=flags, runpath="/a").read_bytes()
    strings = section_of(data, ".dynstr")[1]
    bare = without_section_headers(with_dynamic(data, c.DT_STRTAB, strings.addr + 1))
    reader = BytesReader(bare)
    with pytest.raises(DamagedElfError, match="number of its dynamic symbols is unknown"):
        read_name_offsets(reader, read_image(reader))


def test_a_string_table_that_section_headers_use_is_not_edited(tmp_path: Path) -> None:
    data = sharing(tmp_path).read_bytes()
    image = image_in(data)
    at, strings = section_of(data, ".dynstr")
    number = (at - image.header.shoff) // image.format.section.size
    reader = BytesReader(with_header(data, shstrndx=number))
    table = reader.pread(strings.offset, strings.size)
    with pytest.raises(CannotEditError, match="section headers use"):
        find_used_offsets(reader, image_in(reader.data), table, (), ())


def test_new_strings_are_written_as_the_file_system_names_things(tmp_path: Path) -> None:
    text = os.fsdecode(b"/caf\xe9")
    build_elf(tmp_path / "x", program=True, runpath="/opt/long/enough")
    edited = edit_file(content_of(tmp_path / "x"), Changes(runpath=text), tmp_path, "inplace")
    assert b"/caf\xe9\0" in bytes_of(edited.content)
