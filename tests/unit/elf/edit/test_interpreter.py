"""A longer interpreter gets a new place that is loaded, and that other tools keep."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.model.content import BytesContent
from elf.edit.programs import edit_data
from elf.support import LOADER, drop_section_headers, find_section, parse_image, run_tool


def build(directory: Path) -> Path:
    return build_elf(directory / "x", program=True, runpath="/opt/x", toolchain=LINKERS["bfd"])


def test_a_program_starts_with_a_longer_interpreter(tmp_path: Path) -> None:
    loader = tmp_path / ("loader" + "x" * 60)
    loader.symlink_to(LOADER)
    path = build(tmp_path)
    before = path.read_bytes()
    changes = Changes(interpreter=str(loader), runpath="/opt/a-longer-path-than-before")
    edited = edit_file(BytesContent(before), changes, tmp_path, "inplace")
    with edited.content.open() as reader:
        path.write_bytes(reader.pread(0, reader.size))
    assert (edited.image.interpreter, edited.image.runpath) == (
        str(loader), "/opt/a-longer-path-than-before",
    )  # fmt: skip
    assert subprocess.run([path], check=False, capture_output=True).returncode == 0
    run_tool("strip", path)
    assert subprocess.run([path], check=False, capture_output=True).returncode == 0
    assert parse_image(path.read_bytes()).interpreter == str(loader)
    assert "arning" not in run_tool("readelf", "-aW", path).stderr
    loader.unlink()
    with pytest.raises(FileNotFoundError):
        subprocess.run([path], check=False)


def test_the_old_interpreter_is_erased_and_its_section_moves(tmp_path: Path) -> None:
    before = build(tmp_path).read_bytes()
    text = "/opt/" + "i" * 100
    after = edit_data(before, Changes(interpreter=text), tmp_path)
    assert b"ld-linux" not in after.replace(b"ld-linux-x86-64.so.2\0GLIBC", b"")
    section = find_section(after, ".interp")[1]
    assert after[section.offset : section.offset + section.size] == text.encode() + b"\0"
    again = edit_data(after, Changes(interpreter="/opt/short"), tmp_path)
    assert parse_image(again).interpreter == "/opt/short"


def test_a_file_without_section_headers_gets_a_longer_interpreter(tmp_path: Path) -> None:
    before = drop_section_headers(build(tmp_path).read_bytes())
    after = edit_data(before, Changes(interpreter="/" + "i" * 50), tmp_path)
    assert parse_image(after).interpreter == "/" + "i" * 50


@pytest.mark.parametrize("linker", ["lld", "mold"])
def test_a_file_without_slack_gets_a_longer_interpreter(tmp_path: Path, linker: str) -> None:
    loader = tmp_path / ("loader" + "x" * 60)
    loader.symlink_to(LOADER)
    path = build_elf(tmp_path / "x", program=True, toolchain=LINKERS[linker])
    changes = Changes(interpreter=str(loader), executable_stack=True, runpath="/opt/x")
    path.write_bytes(edit_data(path.read_bytes(), changes, tmp_path, "segment"))
    image = parse_image(path.read_bytes())
    assert (image.interpreter, image.runpath) == (str(loader), "/opt/x")
    assert image.requests_executable_stack
    for command in (["true"], ["strip", path]):
        run_tool(*command)
        assert subprocess.run([path], check=False, capture_output=True).returncode == 0
