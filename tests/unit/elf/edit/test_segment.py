"""The segment editor: a new string table behind all that is loaded; nothing else moves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import EditResult, edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.model.content import BytesContent
from elf.support import (
    change_header,
    change_segment,
    find_section,
    get_content,
    parse_image,
    read_bytes_of,
    read_with_readelf,
    replace_bytes,
    run_tool,
)

OLD = "/opt/build/of/the/program/lib"
LONGER = "$ORIGIN/../lib:/opt/" + "x" * 90
PROGRAM = """
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
struct note { uint32_t name_size, size, type; char name[8], text[8]; };
__attribute__((section(".note.own"), used, aligned(4)))
static const struct note own = {5, 8, 1, "Demo", "release"};
const struct note *volatile note = &own;
extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
static char zeros[70000];
int main(void) {
    int tags = 0;
    for (ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag; entry++) tags += entry->d_tag == DT_DEBUG;
    for (unsigned at = 0; at < sizeof zeros; at++) if (zeros[at]) return 1;
    memset(zeros, 1, sizeof zeros);
    printf("%d %s %.3s\\n", tags, note->text, __ehdr_start + 1);
    return 0;
}
"""
EXPECTED = "1 release ELF\n"


def edit(data: bytes, directory: Path, changes: Changes, editor: str = "segment") -> EditResult:
    return edit_file(BytesContent(data), changes, directory, editor)


def run(data: bytes, directory: Path) -> str:
    path = directory / "edited"
    path.write_bytes(data)
    path.chmod(0o755)
    return run_tool(path).stdout


@pytest.mark.parametrize("flags", [(), ("-no-pie", "-fno-pie")])
@pytest.mark.parametrize("linker", LINKERS)
def test_a_program_finds_its_dynamic_section_notes_and_header(
    tmp_path: Path, linker: str, flags: tuple[str, ...]
) -> None:
    path = build_elf(
        tmp_path / "x", program=True, source=PROGRAM, flags=flags, toolchain=LINKERS[linker]
    )
    data = path.read_bytes()
    assert run(data, tmp_path) == EXPECTED
    after = read_bytes_of(edit(data, tmp_path, Changes(runpath=LONGER)).content)
    assert run(after, tmp_path) == EXPECTED
    assert read_with_readelf(tmp_path / "edited").runpath == LONGER
    fixed = {c.PT_PHDR, c.PT_INTERP, c.PT_DYNAMIC, c.PT_NOTE, c.PT_GNU_RELRO, c.PT_TLS}
    old, new = ([s for s in parse_image(d).segments if s.type in fixed] for d in (data, after))
    assert old == new


def test_what_is_not_loaded_moves_by_whole_pages(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True, toolchain=LINKERS["lld"]).read_bytes()
    after = read_bytes_of(edit(data, tmp_path, Changes(runpath=LONGER)).content)
    assert (len(after) - len(data)) % 4096 == 0
    for name in (".debug_info", ".symtab", ".comment"):
        moved = find_section(after, name)[1].offset - find_section(data, name)[1].offset
        assert moved == len(after) - len(data)


def test_the_next_edit_uses_the_rest_of_the_page(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True, toolchain=LINKERS["lld"]).read_bytes()
    first = read_bytes_of(edit(data, tmp_path, Changes(runpath="/opt/first")).content)
    second = read_bytes_of(edit(first, tmp_path, Changes(runpath=LONGER)).content)
    assert len(second) == len(first)
    assert parse_image(second).runpath == LONGER
    assert b"/opt/first" not in second


@pytest.mark.parametrize("toolchain", [LINKERS["bfd"], LINKERS["lld"], CROSS["s390x"]])
@pytest.mark.parametrize("changes", [Changes(runpath=""), Changes(runpath=LONGER)])
def test_a_removed_string_is_not_left_in_the_file(
    tmp_path: Path, toolchain: Toolchain, changes: Changes
) -> None:
    path = build_elf(tmp_path / "x", program=True, runpath=OLD, toolchain=toolchain)
    after = read_bytes_of(edit_file(get_content(path), changes, tmp_path).content)
    assert OLD.encode() not in after


def add_free_header(data: bytes) -> bytes:
    """Return a program whose header of notes is gone, with zeros at the end of the table."""
    image = parse_image(data)
    size = image.format.segment.size
    start = image.header.phoff
    rows = [data[start + n * size : start + (n + 1) * size] for n in range(image.header.phnum)]
    kept = [row for row, s in zip(rows, image.segments, strict=True) if s.type != c.PT_NOTE]
    table = b"".join(kept).ljust(size * len(rows), b"\0")
    shorter = change_header(replace_bytes(data, start, table), phnum=len(kept))
    length = len(kept) * size
    return change_segment(shorter, c.PT_PHDR, filesz=length, memsz=length)


def test_an_unused_program_header_takes_the_table_if_much_memory_is_zeroed(tmp_path: Path) -> None:
    source = (
        "static volatile char much[600 << 20]; int main(void) { return much[4] + much[5 << 20]; }"
    )
    data = build_elf(
        tmp_path / "x", program=True, source=source, toolchain=LINKERS["lld"]
    ).read_bytes()
    with pytest.raises(EditRefusedError, match="bytes of its zeroed memory would become a part"):
        edit(data, tmp_path, Changes(runpath=LONGER))
    free = add_free_header(data)
    after = read_bytes_of(edit(free, tmp_path, Changes(runpath=LONGER)).content)
    assert len(after) - len(data) == 4096
    assert len(parse_image(after).find_loads()) == len(parse_image(data).find_loads()) + 1
    assert run(after, tmp_path) == ""
    assert read_with_readelf(tmp_path / "edited").runpath == LONGER


def test_appended_data_is_not_moved(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "x", program=True, toolchain=LINKERS["lld"]).read_bytes()
    with pytest.raises(EditRefusedError, match="that no header describes, and which would move"):
        edit(data + b"a payload", tmp_path, Changes(runpath=LONGER))


def test_a_build_id_is_still_in_the_core_file_of_an_edited_program(tmp_path: Path) -> None:
    source = "#include <stdlib.h>\nint main(void) { abort(); }"
    path = build_elf(
        tmp_path / "x", program=True, source=source, toolchain=LINKERS["lld"],
        flags=["-Wl,--build-id=sha1"],
    )  # fmt: skip
    edited = edit(path.read_bytes(), tmp_path, Changes(runpath=LONGER))
    (tmp_path / "edited").write_bytes(read_bytes_of(edited.content))
    (tmp_path / "edited").chmod(0o755)
    gdb = ["gdb", "-nx", "-q", "-batch", "-ex", "run", "-ex", f"gcore {tmp_path}/core", "edited"]
    done = subprocess.run(gdb, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "not permitted" in done.stderr:
        pytest.skip("gdb is not permitted to trace processes")
    identity = run_tool("readelf", "-n", path).stdout.partition("Build ID: ")[2].split()[0]
    assert identity in run_tool("eu-unstrip", "-n", f"--core={tmp_path}/core").stdout
