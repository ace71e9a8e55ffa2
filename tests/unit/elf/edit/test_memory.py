"""The memory that edits of large files take."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from builders.elf import LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.strings import find_string_table
from elf.edit.sample_pack import (
    CHANGES,
    IN_SLOTS,
    OLD_RUNPATH,
    build_pack,
    edit_and_save,
)
from elf.support import (
    change_section,
    read_image_of,
    read_with_readelf,
    run_tool,
)

PEAK = """
import resource, sys, tempfile
from pathlib import Path
from bundle_fix.model.content import PathContent
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
path = Path(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
with tempfile.TemporaryDirectory() as scratch:
    content = PathContent(path, path.stat().st_size)
    print(edit_file(content, Changes(runpath=sys.argv[2]), Path(scratch), "inplace").editor)
print(peak() - before)
"""


def measure_peak(path: Path, runpath: str) -> tuple[str, int]:
    """Edit the file in its own process; return the editor and the growth of the process in KiB."""
    editor, growth = run_tool(sys.executable, "-c", PEAK, path, runpath).stdout.split()
    return editor, int(growth)


@pytest.mark.parametrize("place", ["debug information", "appended data"])
@pytest.mark.parametrize("change", ["a shorter runpath", "a longer runpath"])
def test_a_library_of_300_megabytes_takes_as_little_memory_as_a_small_one(
    tmp_path: Path, place: str, change: str
) -> None:
    path = build_pack(tmp_path, LINKERS["bfd"]).library
    if place == "appended data":
        os.truncate(path, 300 << 20)
    else:
        data = path.read_bytes()
        padding = (300 << 20) - len(data)
        path.write_bytes(change_section(data, ".debug_str", offset=len(data), size=padding))
        os.truncate(path, 300 << 20)
    assert path.stat().st_size >= 300 << 20
    editor, growth = measure_peak(path, str(CHANGES[change].runpath))
    assert editor == ("slot" if change in IN_SLOTS else "table")
    # The tables of such a small library are small; the limit for large ones is 60 MB.
    assert growth < 8 << 10


def test_a_library_of_120_000_symbols_takes_little_memory(
    tmp_path: Path,
) -> None:
    names = (f"_ZN7pegasus7replica9generated{n:06d}ServiceInterfaceImplEv" for n in range(120_000))
    source = "".join(f'__asm__(".globl {s}\\n.type {s},@function\\n{s}: ret");\n' for s in names)
    path = build_elf(
        tmp_path / "x.so", source=source, flags=["-nostdlib", "-g0"], runpath=OLD_RUNPATH,
        toolchain=LINKERS["bfd"],
    )  # fmt: skip
    table = find_string_table(read_image_of(path))
    assert table is not None
    assert table[1] > 6 << 20
    # Above the size limit of the cross-check: LIEF would read the whole file.
    os.truncate(path, 65 << 20)
    editor, growth = measure_peak(path, "$ORIGIN")
    assert editor == "slot"
    assert growth < 30 << 10


def test_a_file_with_an_empty_segment_is_edited(tmp_path: Path) -> None:
    path = build_elf(
        tmp_path / "x.so", source="int f(void) { return 1; }", runpath=OLD_RUNPATH,
        flags=["-nostdlib", "-fno-asynchronous-unwind-tables"], toolchain=LINKERS["bfd"],
    )  # fmt: skip
    assert any(s.memsz == 0 for s in read_image_of(path).find_loads())
    edit_and_save(path, Changes(runpath="$ORIGIN"))
    assert read_with_readelf(path).runpath == "$ORIGIN"
