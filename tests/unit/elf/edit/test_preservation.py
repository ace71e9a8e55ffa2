"""The parts of a file that no edit changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from builders.elf import LINKERS
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from elf.edit.sample_pack import (
    CHANGES,
    EDITORS,
    build_pack,
    edit_and_save,
    run_and_list_tags,
)
from elf.support import (
    get_content,
    run_tool,
)


@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("change", ["a shorter runpath", "a longer runpath"])
def test_appended_data_is_kept(tmp_path: Path, editor: str, change: str) -> None:
    path = build_pack(tmp_path, LINKERS["bfd"]).program
    payload = os.urandom(5000)
    path.write_bytes(path.read_bytes() + payload)
    try:
        edit_and_save(path, CHANGES[change], editor)
    except EditRefusedError:
        assert editor in ("lief", "patchelf")
        return
    assert path.read_bytes().endswith(payload)
    assert run_and_list_tags(path, "program") == {"main", "libdep"}


def test_an_in_place_edit_writes_no_scratch_file(tmp_path: Path) -> None:
    path = build_pack(tmp_path).program
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    edit_file(get_content(path), CHANGES["a longer runpath"], scratch)
    assert not any(scratch.iterdir())


def test_line_numbers_symbols_and_notes_are_unchanged(tmp_path: Path) -> None:
    path = build_pack(tmp_path, LINKERS["bfd"]).program
    commands = ("readelf", "--debug-dump=decodedline", path), ("nm", path), ("readelf", "-nW", path)
    before = [run_tool(*command).stdout for command in commands]
    edit_and_save(path, CHANGES["a longer runpath"])
    assert [run_tool(*command).stdout for command in commands] == before


def test_elflint_has_no_new_complaint(tmp_path: Path) -> None:
    path = build_pack(tmp_path, LINKERS["bfd"]).program
    shutil.copy(path, tmp_path / "before")
    edit_and_save(path, CHANGES["a longer runpath"])
    assert list_complaints(path) <= list_complaints(tmp_path / "before")


def list_complaints(path: Path) -> set[str]:
    run_tool("eu-elflint", "--version")
    return set(run_tool("sh", "-c", f"eu-elflint --gnu-ld {path} || true").stdout.splitlines())
