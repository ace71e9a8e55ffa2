"""The parser with damaged and hostile files: it returns an error or a result, in bounded memory."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders.elf import CROSS, HOST, build_elf
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.symbols.hashes import count_symbols, provides_symbol
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.elf.symbols.versions import read_needed_versions, read_verdef
from bundle_fix.model.content import BytesReader, FileReader, Reader
from bundle_fix.model.errors import DamagedElfError
from elf.support import (
    Strings,
    build_sample_library,
    build_tiny_elf,
    change_dynamic_entry,
    change_header,
    change_segment,
    get_strings,
    parse_image,
    read_bytes_of,
    replace_bytes,
)

INVALID_FIELDS: dict[str, tuple[int, dict[str, int]]] = {
    "program headers beyond the file": (0, {"phoff": 1 << 40}),
    "program headers of another size": (0, {"phentsize": 57}),
    "program headers without number": (0, {"phnum": 0xFFFF}),
    "dynamic section beyond the file": (c.PT_DYNAMIC, {"offset": 1 << 33}),
    "dynamic section without end": (c.PT_DYNAMIC, {"filesz": 1 << 62}),
    "no segment that loads anything": (c.PT_LOAD, {"filesz": 0}),
    "a segment at another address": (c.PT_LOAD, {"vaddr": 1 << 60}),
    "a segment at another offset": (c.PT_LOAD, {"offset": 1 << 60}),
    "an interpreter beyond the file": (c.PT_INTERP, {"offset": 1 << 60}),
    "an interpreter as large as the file": (c.PT_INTERP, {"filesz": 1 << 60}),
}
"""The changed fields of a segment of the given type, or of the ELF header (0), by description."""


@pytest.mark.parametrize("case", INVALID_FIELDS)
def test_an_invalid_header_is_an_error_of_one_line(tmp_path: Path, case: str) -> None:
    kind, fields = INVALID_FIELDS[case]
    data = build_elf(tmp_path / "x", program=True, needed=["liba.so.1"]).read_bytes()
    data = change_segment(data, kind, **fields) if kind else change_header(data, **fields)
    with pytest.raises(DamagedElfError) as error:
        parse_image(data)
    assert error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (c.DT_STRTAB, 1 << 50),
        (c.DT_STRTAB, 0),
        (c.DT_STRSZ, 1 << 50),
        (c.DT_STRSZ, 1),
        (c.DT_STRSZ, 0),
        (c.DT_NEEDED, 1 << 40),
        (c.DT_SONAME, 1 << 20),
        (c.DT_RUNPATH, (1 << 64) - 1),
    ],
)
def test_an_invalid_dynamic_entry_is_an_error(tmp_path: Path, tag: int, value: int) -> None:
    data = change_dynamic_entry(build_sample_library(tmp_path).read_bytes(), tag, value)
    # At address 0 is the ELF header: every string is then a different one.
    if (tag, value) == (c.DT_STRTAB, 0):
        assert parse_image(data).needed != ("liba.so.1", "libb.so.2", "libc.so.6")
        return
    with pytest.raises(DamagedElfError):
        parse_image(data)


def test_a_dynamic_section_without_string_table_is_an_error(tmp_path: Path) -> None:
    data = build_sample_library(tmp_path).read_bytes()
    with pytest.raises(DamagedElfError, match="contains the string table"):
        parse_image(change_dynamic_entry(data, c.DT_STRTAB, 0, new_tag=c.DT_DEBUG))


@pytest.mark.parametrize("length", [4, 15, 16, 20, 63, 64, 100, 400, 0x1000])
def test_a_truncated_file_is_an_error(tmp_path: Path, length: int) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()[:length]
    with pytest.raises(DamagedElfError):
        parse_image(data)


@pytest.mark.parametrize(("at", "value"), [(4, 0), (4, 3), (5, 0), (5, 9)])
def test_an_invalid_class_or_byte_order_is_an_error(tmp_path: Path, at: int, value: int) -> None:
    data = replace_bytes(build_sample_library(tmp_path).read_bytes(), at, bytes([value]))
    with pytest.raises(DamagedElfError, match="invalid ELF class"):
        parse_image(data)


def test_elf_files_are_recognized_by_their_magic(tmp_path: Path) -> None:
    assert is_elf(BytesReader(build_sample_library(tmp_path).read_bytes()))
    assert not is_elf(BytesReader(b"\x7fEL"))
    assert not is_elf(BytesReader(b"#!/bin/sh\n"))
    assert not is_elf(BytesReader(b""))


def test_section_headers_beyond_the_file_are_ignored(tmp_path: Path) -> None:
    data = change_header(build_sample_library(tmp_path).read_bytes(), shoff=1 << 40)
    image = parse_image(data)
    assert read_sections(BytesReader(data), image.format, image.header) == ()


def measure_peak(reader: Reader) -> int:
    """Read a damaged file; return the peak size of all Python objects, in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(DamagedElfError):
            read_image(reader)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [15_000, 60_000])
def test_overlapping_needed_names_take_bounded_memory(length: int) -> None:
    table = b"\0" + b"a" * length + b"\0"
    content = build_tiny_elf([(c.DT_NEEDED, 1 + n % 99) for n in range(60_000)], table)
    with content.open() as reader:
        assert measure_peak(reader) < 32 << 20


@pytest.mark.parametrize("kind", ["interpreter", "segments", "dynamic"])
def test_a_sparse_file_of_many_gigabytes_takes_bounded_memory(tmp_path: Path, kind: str) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    if kind == "interpreter":
        data = change_segment(data, c.PT_INTERP, filesz=1 << 32)
    elif kind == "segments":
        data = change_header(data, phoff=1 << 20, phnum=0xFFFF)
    else:
        data = change_segment(data, c.PT_DYNAMIC, offset=1 << 30, filesz=1 << 32)
    path = tmp_path / "large"
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(8 << 30)
        # A thousand entries before the zeros, and no string table for them.
        file.seek(1 << 30)
        file.write((b"\1" + bytes(15)) * 1000)
        file.flush()
        assert measure_peak(FileReader(file.fileno(), 0, 8 << 30)) < 32 << 20


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_generated_file_is_read_in_every_class_and_byte_order(bits: int, order: str) -> None:
    table = b"\0liba.so\0libx.so.1\0$ORIGIN\0"
    entries = [(c.DT_NEEDED, 1), (c.DT_SONAME, 9), (c.DT_RUNPATH, 19)]
    image = parse_image(read_bytes_of(build_tiny_elf(entries, table, bits=bits, order=order)))
    assert get_strings(image) == Strings(("liba.so",), "libx.so.1", None, "$ORIGIN")
    assert (image.format.bits, image.format.order) == (bits, order)


def read_everything(data: bytes) -> None:
    """Read everything that `check` and the editors read of a file."""
    reader = BytesReader(data)
    image = read_image(reader)
    read_sections(reader, image.format, image.header)
    read_build_id(reader, image)
    for read in (count_symbols, read_needed_versions, read_verdef, find_movable_tables):
        read(reader, image)
    for name in (b"malloc", b"write", b"from_libx"):
        provides_symbol(reader, image, name)


def list_interesting_offsets(data: bytes) -> list[int]:
    """Return the offsets of the bytes that a reader depends on."""
    image = parse_image(data)
    ends = [64, 64 + 56 * len(image.segments)]
    spans = [(s.offset, s.file_end) for s in image.segments if s.type == c.PT_DYNAMIC]
    spans += [(t.offset, t.end) for t in find_movable_tables(BytesReader(data), image)]
    return sorted({at for start, end in [(4, max(ends)), *spans] for at in range(start, end)})


@pytest.fixture(scope="module", params=["x86_64", "s390x", "i386"])
def undamaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a small library to damage."""
    toolchain = CROSS.get(request.param, HOST)
    return build_sample_library(tmp_path_factory.mktemp("undamaged"), toolchain).read_bytes()


def test_the_undamaged_library_is_read_without_error(undamaged: bytes) -> None:
    read_everything(undamaged)


VALUES = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)


@settings(max_examples=150, deadline=2000)
@given(data=st.data())
def test_a_damaged_file_is_read_or_is_an_error(undamaged: bytes, data: st.DataObject) -> None:
    places = list_interesting_offsets(undamaged)
    damaged = bytearray(undamaged)
    for at, value in data.draw(
        st.lists(st.tuples(st.sampled_from(places), VALUES), min_size=1, max_size=6)
    ):
        damaged[at] = value
    if data.draw(st.booleans()):
        word = data.draw(st.sampled_from([0, 1, (1 << 32) - 1, 1 << 31, (1 << 64) - 1, 1 << 63]))
        at = data.draw(st.sampled_from(places))
        damaged[at : at + 8] = word.to_bytes(8, "little")
    end = data.draw(st.sampled_from([len(damaged)] * 3 + [len(damaged) // 2, 600]))
    tracemalloc.start()
    try:
        read_everything(bytes(damaged[:end]))
    except DamagedElfError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 << 20


@settings(max_examples=60, deadline=2000)
@given(st.binary(max_size=300))
@example(b"")
def test_random_bytes_after_the_magic_are_read_or_are_an_error(noise: bytes) -> None:
    for ident in (b"\x7fELF\2\1\1", b"\x7fELF\1\2\1"):
        data = ident + bytes(9) + b"\3\0\x3e\0" + noise
        with contextlib.suppress(DamagedElfError):
            read_everything(data)
