"""Edits of flags, numbers and interpreters that keep their size."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import LINKERS, build_elf, build_versioned_library
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.model.content import BytesContent
from elf.edit.programs import build_program, edit_data
from elf.support import change_segment, parse_image, run_tool


def list_differences(one: bytes, other: bytes) -> list[int]:
    assert len(one) == len(other)
    return [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


@pytest.mark.parametrize("asked", [True, False])
def test_only_the_flag_of_an_executable_stack_changes(tmp_path: Path, asked: bool) -> None:
    flag = "-Wl,-z,noexecstack" if asked else "-Wl,-z,execstack"
    before = build_program(tmp_path, LINKERS["bfd"], flag)
    after = edit_data(before, Changes(executable_stack=asked), tmp_path)
    assert parse_image(after).requests_executable_stack is asked
    assert len(list_differences(before, after)) == 1
    assert edit_data(after, Changes(executable_stack=not asked), tmp_path) == before


def test_a_free_program_header_becomes_one_for_the_stack(tmp_path: Path) -> None:
    before = change_segment(build_program(tmp_path), c.PT_GNU_STACK, type=c.PT_NULL)
    after = edit_data(before, Changes(executable_stack=False), tmp_path)
    assert parse_image(after).requests_executable_stack is False


def test_a_file_without_space_for_the_stack_flags_is_refused(tmp_path: Path) -> None:
    before = change_segment(build_program(tmp_path), c.PT_GNU_STACK, type=0x60001234)
    with pytest.raises(EditRefusedError, match="no PT_GNU_STACK, and no free program header"):
        edit_data(before, Changes(executable_stack=False), tmp_path)


def test_the_os_abi_is_one_byte_also_of_a_static_program(tmp_path: Path) -> None:
    before = build_program(tmp_path, LINKERS["bfd"], "-static-pie")
    after = edit_data(before, Changes(os_abi=9), tmp_path)
    assert list_differences(before, after) == [7]
    assert parse_image(after).os_abi == 9


def test_a_shorter_interpreter_is_written_over_the_old_one(tmp_path: Path) -> None:
    before = build_program(tmp_path)
    after = edit_data(before, Changes(interpreter="/oops", executable_stack=True), tmp_path)
    assert parse_image(after).interpreter == "/oops"
    assert b"ld-linux" not in after
    path = tmp_path / "program"
    path.write_bytes(after)
    path.chmod(0o755)
    with pytest.raises(FileNotFoundError):
        subprocess.run([path], check=False)


def test_a_library_without_interpreter_gets_none(tmp_path: Path) -> None:
    data = build_elf(tmp_path / "libx.so").read_bytes()
    with pytest.raises(EditRefusedError, match="it has no interpreter"):
        edit_data(data, Changes(interpreter="/oops"), tmp_path)


def test_flags_and_tags_share_one_edit_with_strings(tmp_path: Path) -> None:
    before = build_elf(tmp_path / "libx.so", runpath="/opt/old").read_bytes()
    changes = Changes(runpath="$ORIGIN", no_default_lib=True, debug_tag=True, os_abi=3)
    edited = edit_file(BytesContent(before), changes, tmp_path, "inplace")
    image = edited.image
    assert (image.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_NODEFLIB
    assert image.find_value(c.DT_DEBUG) == 0
    assert (image.runpath, image.os_abi) == ("$ORIGIN", 3)
    with edited.content.open() as reader:
        again = edit_data(reader.pread(0, reader.size), changes, tmp_path)
        assert again == reader.pread(0, reader.size)


def test_the_loader_ignores_its_default_directories(tmp_path: Path) -> None:
    path = tmp_path / "program"
    before = build_program(tmp_path)
    path.write_bytes(edit_data(before, Changes(no_default_lib=True), tmp_path))
    path.chmod(0o755)
    done = subprocess.run([path], capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "libc.so.6: cannot open shared object file" in done.stderr


def test_a_symbol_loses_its_version(tmp_path: Path) -> None:
    path = build_versioned_library(tmp_path / "libv.so.1", "libv.so.1", "f", ["V_1"])
    other = build_versioned_library(tmp_path / "libw.so.1", "libw.so.1", "g", ["V_1"])
    for library, symbol in ((path, "f"), (other, "f")):
        changes = Changes(clear_versions=("f",))
        library.write_bytes(edit_data(library.read_bytes(), changes, tmp_path))
        names = run_tool("nm", "-D", "--defined-only", library).stdout.split()
        assert ("f" in names, "g@@V_1" in names) == (library is path, library is other), symbol
