"""The verifier with damaged and hostile files: a report or an error, in bounded time and memory."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders.elf import CROSS, HOST, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.headers import PROGRAM_HEADER
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.elf.verify.reading import ElfStructure, read_structure
from bundle_fix.elf.verify.tables import locate_tables
from bundle_fix.model.content import BytesReader, Reader
from bundle_fix.model.errors import DamagedElfError
from elf.support import (
    build_sample_library,
    build_tiny_elf,
    change_dynamic_entry,
    change_header,
    change_section,
    change_segment,
    read_bytes_of,
    replace_bytes,
)


def list_reports(before: Reader, after: Reader) -> list[str]:
    """Return the reports of the verifier; an error for a damaged file counts as one."""
    try:
        return list(find_broken_invariants(before, after, Changes()))
    except DamagedElfError as error:
        return [error.message]


@pytest.fixture(scope="module", params=["x86_64", "s390x", "i386"])
def undamaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    toolchain = CROSS.get(request.param, HOST)
    return build_sample_library(tmp_path_factory.mktemp("undamaged"), toolchain).read_bytes()


def list_interesting_offsets(elf: ElfStructure) -> list[int]:
    """Return the offsets of the bytes that the verifier's reader depends on."""
    spans = [(4, 64), elf.program_table, elf.section_table, *locate_tables(elf).spans.values()]
    spans += [s.span for s in elf.segments if s.type == c.PT_DYNAMIC]
    return sorted({at for start, end in spans for at in range(start, end)})


BYTES = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)


@settings(max_examples=80, deadline=2000)
@given(data=st.data())
def test_a_damaged_file_is_an_error_or_is_verified(undamaged: bytes, data: st.DataObject) -> None:
    places = list_interesting_offsets(read_structure(BytesReader(undamaged)))
    changed = bytearray(undamaged)
    for at, value in data.draw(
        st.lists(st.tuples(st.sampled_from(places), BYTES), min_size=1, max_size=6)
    ):
        changed[at] = value
    if data.draw(st.booleans()):
        word = data.draw(st.sampled_from([0, 1, (1 << 32) - 1, 1 << 31, (1 << 64) - 1, 1 << 63]))
        at = data.draw(st.sampled_from(places))
        changed[at : at + 8] = word.to_bytes(8, "little")
    end = data.draw(st.sampled_from([len(changed)] * 3 + [len(changed) // 2, 600]))
    good, damaged = BytesReader(undamaged), BytesReader(bytes(changed[:end]))
    tracemalloc.start()
    try:
        list_reports(damaged, damaged)
        list_reports(damaged, good)
        list_reports(good, damaged)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@settings(max_examples=100, deadline=2000)
@given(st.binary(max_size=400))
@example(b"")
def test_arbitrary_bytes_are_an_error_or_are_verified(noise: bytes) -> None:
    for start in (b"", b"\x7fELF", b"\x7fELF\2\1\1" + bytes(9), b"\x7fELF\1\2\1" + bytes(9)):
        reader = BytesReader(start + noise)
        try:
            locate_tables(read_structure(reader))
        except DamagedElfError:
            continue
        list_reports(reader, reader)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (0, {"phoff": 1 << 40}),
        (0, {"phentsize": 57}),
        (0, {"phnum": 0xFFFF}),
        (c.PT_DYNAMIC, {"offset": 1 << 33}),
        (c.PT_DYNAMIC, {"filesz": 1 << 62}),
        (c.PT_LOAD, {"filesz": 0}),
        (c.PT_LOAD, {"offset": 1 << 60}),
        (c.PT_INTERP, {"offset": 1 << 60}),
        (c.PT_INTERP, {"filesz": 1 << 60}),
    ],
)
def test_a_damaged_header_is_an_error(tmp_path: Path, kind: int, fields: dict[str, int]) -> None:
    data = build_elf(tmp_path / "x", program=True).read_bytes()
    data = change_segment(data, kind, **fields) if kind else change_header(data, **fields)
    with pytest.raises(DamagedElfError):
        list(find_broken_invariants(BytesReader(data), BytesReader(data), Changes()))


@pytest.mark.parametrize("tag", [c.DT_HASH, c.DT_GNU_HASH, c.DT_VERSYM, c.DT_VERNEED, c.DT_SYMTAB])
def test_a_table_that_no_segment_loads_is_an_error(tmp_path: Path, tag: int) -> None:
    data = build_elf(tmp_path / "x.so", flags=["-Wl,--hash-style=both"]).read_bytes()
    elf = read_structure(BytesReader(change_dynamic_entry(data, tag, 1 << 50)))
    with pytest.raises(DamagedElfError, match=f"dynamic tag {tag:#x}"):
        locate_tables(elf)


@pytest.mark.parametrize("words", [(1 << 31, 3), (3, 1 << 31)])
def test_a_hash_table_with_too_many_entries_is_an_error(
    tmp_path: Path, words: tuple[int, int]
) -> None:
    data = build_elf(tmp_path / "x.so", flags=["-Wl,--hash-style=sysv"]).read_bytes()
    start = locate_tables(read_structure(BytesReader(data))).spans[c.DT_HASH].start
    damaged = replace_bytes(data, start, struct.pack("<2I", *words))
    with pytest.raises(DamagedElfError, match="limit"):
        locate_tables(read_structure(BytesReader(damaged)))


def test_names_that_overlap_are_limited() -> None:
    table = b"\0" + b"a" * 60_000 + b"\0"
    data = read_bytes_of(build_tiny_elf([(c.DT_NEEDED, 1 + n % 99) for n in range(9_000)], table))
    assert list_reports(BytesReader(data), BytesReader(data)) == [
        "its dynamic strings exceed the limit of 1048576 bytes"
    ]


def test_version_records_that_overlap_are_limited() -> None:
    # Each of the records refers to 100 records after it as its auxiliary ones.
    records = struct.pack("<HHIII", 1, 100, 1, 16, 16) * 40_000
    entries = [(c.DT_VERNEED, 0), (c.DT_VERNEEDNUM, 40_000)]
    data = read_bytes_of(build_tiny_elf(entries, b"\0", appended=records))
    data = change_dynamic_entry(data, c.DT_VERNEED, len(data) - len(records))
    assert list_reports(BytesReader(data), BytesReader(data)) == [
        "its list of symbol versions exceeds 32768 records"
    ]


def test_sections_beyond_the_file_are_compared_in_bounded_time(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x.so").read_bytes()
    data = change_section(data, ".comment", size=1 << 63)
    reader = BytesReader(data)
    assert list(find_broken_invariants(reader, reader, Changes(), [(0, 1 << 62)])) == []
    assert "more than 4 times the file's" in list_reports(reader, reader)[0]


def test_many_ranges_of_many_segments_are_compared_in_bounded_time() -> None:
    """2,000 segments load the same bytes, in which 2,000 interpreters have their names."""
    size, count = 1 << 20, 2000
    first = 64 + 56 * 2 * count
    ident = b"\x7fELF\2\1\1" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2 * count, 64, 0, 0)
    layout = "<" + PROGRAM_HEADER[64]
    program = b"".join(
        struct.pack(layout, 1, 4, first, n << 32, 0, size, size, 1) for n in range(count)
    )
    program += b"".join(
        struct.pack(layout, c.PT_INTERP, 4, first + 64 * n, 0, 0, 16, 16, 1) for n in range(count)
    )
    data = ident + header + program + b"Z" * size
    assert list_reports(BytesReader(data), BytesReader(data)) == [
        "its segments have more than 65536 separate ranges"
    ]
