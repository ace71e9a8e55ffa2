"""New names of dynamic symbols: hash tables, versions and relocations follow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders.elf import CROSS, LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.elf.symbols.hashes import provides_symbol
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.model.content import BytesReader
from bundle_fix.model.errors import DamagedElfError
from elf.edit.programs import edit_data
from elf.support import find_section, parse_image
from elf.verify.damage import damage_section_end, flip_byte

COUNT = 40
NAMES = [f"value_{n}" for n in range(COUNT)]
FUNCTIONS = "".join(f"int {name}(void) {{ return {n}; }}\n" for n, name in enumerate(NAMES))
CALLS = """
int (*const pointers[])(void) = {%s};
int sum(void) { int n = 0; for (int i = 0; i < %d; i++) n += pointers[i](); return n; }
"""
SOURCE = FUNCTIONS + CALLS % (",".join(NAMES), COUNT)
RENAMES = Changes(rename_symbols=tuple((name, f"{name[6:]}_x") for name in NAMES))
LOOK_UP = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
assert [library[f"{n}_x"]() for n in range(40)] == list(range(40))
assert library.sum() == sum(range(40))
assert not hasattr(library, "value_7")
"""


def build_library(directory: Path, *flags: str) -> Path:
    return build_elf(directory / "libn.so.1", source=SOURCE, flags=flags, toolchain=LINKERS["bfd"])


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_the_loader_finds_the_new_names_only(tmp_path: Path, style: str) -> None:
    script = tmp_path / "script"
    script.write_text("N_1 { global: sum; value_1*; }; N_2 { global: value_*; } N_1;")
    path = build_library(
        tmp_path, f"-Wl,--hash-style={style},--version-script={script}", "-Wl,-z,now"
    )
    data = edit_data(path.read_bytes(), RENAMES, tmp_path)
    image = parse_image(data)
    start, size = find_string_table(image) or (0, 0)
    assert b"value_7" not in data[start : start + size]
    path.write_bytes(data)
    subprocess.run([sys.executable, "-c", LOOK_UP, path], check=True)


def test_a_program_calls_the_renamed_symbol(tmp_path: Path) -> None:
    library = build_elf(tmp_path / "libn.so.1", soname="libn.so.1", source=FUNCTIONS)
    source = "int value_3(void);\nint main(void) { return value_3(); }"
    flags = [str(library), "-Wl,-rpath,$ORIGIN"]
    program = build_elf(tmp_path / "program", program=True, source=source, flags=flags)
    changes = Changes(rename_symbols=(("value_3", "other"), ("absent", "name")))
    program.write_bytes(edit_data(program.read_bytes(), changes, tmp_path))
    failed = subprocess.run([program], capture_output=True, text=True, check=False)
    assert "undefined symbol: other" in failed.stderr
    library.write_bytes(edit_data(library.read_bytes(), changes, tmp_path))
    assert subprocess.run([program], check=False).returncode == 3


@pytest.mark.parametrize("target", ["armhf", "s390x"])
def test_other_classes_and_byte_orders_are_renamed(tmp_path: Path, target: str) -> None:
    path = build_elf(tmp_path / "libn.so.1", source=FUNCTIONS, toolchain=CROSS[target])
    data = edit_data(path.read_bytes(), RENAMES, tmp_path)
    reader, image = BytesReader(data), parse_image(data)
    assert all(provides_symbol(reader, image, f"{n}_x".encode()) for n in range(COUNT))
    assert not provides_symbol(reader, image, b"value_3")


@pytest.mark.parametrize("linker", ["bfd", "lld", "mold"])
def test_many_longer_names_need_a_new_place(tmp_path: Path, linker: str) -> None:
    names = [f"function_{n}" for n in range(300)]
    source = "".join(f"int {name}(void) {{ return {n}; }}\n" for n, name in enumerate(names))
    path = build_elf(tmp_path / "libn.so.1", source=source, toolchain=LINKERS[linker])
    changes = Changes(rename_symbols=tuple((name, f"{name}_{'x' * 20}") for name in names))
    path.write_bytes(edit_data(path.read_bytes(), changes, tmp_path, "segment"))
    program = "import ctypes, sys; library = ctypes.CDLL(sys.argv[1]);" + (
        " assert [library[f'function_{n}_' + 'x' * 20]() for n in range(300)] == [*range(300)]"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)


def test_symbols_that_the_file_does_not_have_change_nothing(tmp_path: Path) -> None:
    data = build_library(tmp_path).read_bytes()
    assert edit_data(data, Changes(rename_symbols=(("absent", "name"),)), tmp_path) == data


@pytest.mark.parametrize(
    ("section", "report"),
    [
        (".gnu.hash", "the GNU hash table does not match"),
        (".hash", "the hash table does not match"),
        (".rela.dyn", "the symbols of relocations changed"),
        (".dynsym", "the dynamic symbols changed"),
        (".gnu.version", "the dynamic symbols changed"),
        (".text", "loaded bytes changed"),
    ],
)
def test_damage_beside_new_names_is_reported(tmp_path: Path, section: str, report: str) -> None:
    before = build_library(tmp_path, "-Wl,--hash-style=both").read_bytes()
    after = edit_data(before, RENAMES, tmp_path)
    if section == ".hash":
        # The first bucket that is not empty.
        at = find_section(after, section)[1].offset + 8
        at += next(4 * n for n in range(COUNT) if after[at + 4 * n])
        damaged = flip_byte(after, at)
    else:
        damaged = damage_section_end(section, 20 if section == ".rela.dyn" else 4)(after)
    reports = list_reports(before, damaged)
    assert any(report in text for text in reports), reports
    assert list_reports(before, after) == []


def list_reports(before: bytes, after: bytes) -> list[str]:
    try:
        return list(find_broken_invariants(BytesReader(before), BytesReader(after), RENAMES))
    except DamagedElfError as error:
        return [f"the hash table does not match: {error}"]
