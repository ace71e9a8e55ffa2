"""The cross-check with LIEF: if LIEF reads something else, the edit is discarded."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.verify import lief_crosscheck
from bundle_fix.elf.verify.lief_crosscheck import crosscheck
from bundle_fix.model.content import BytesContent, Content
from elf.support import (
    build_tiny_elf,
    change_dynamic_entry,
    get_content,
    parse_image,
    read_bytes_of,
    read_image_of,
)


def build_library(directory: Path, toolchain: Toolchain = HOST) -> Path:
    needed = ["liba.so.1", "libb.so.1"]
    return build_elf(
        directory / "x.so", soname="libx.so.1", needed=needed, runpath="/opt/x", toolchain=toolchain
    )


@pytest.mark.parametrize("name", [*LINKERS, *CROSS])
def test_both_readers_agree_on_the_output_of_linkers(tmp_path: Path, name: str) -> None:
    path = build_library(tmp_path, {**LINKERS, **CROSS}[name])
    assert crosscheck(get_content(path), read_image_of(path)) is None


def test_both_readers_agree_on_a_program_with_an_rpath(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, rpath="/opt/x:$ORIGIN")
    assert crosscheck(get_content(path), read_image_of(path)) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("needed", ("liba.so.1", "libb.so.1")),
        ("needed", ()),
        ("needed", ("libb.so.1", "liba.so.1", "libc.so.6")),
        ("soname", None),
        ("soname", "libx.so.2"),
        ("runpath", None),
        ("runpath", ""),
        ("runpath", "/opt/x:/opt/y"),
        ("rpath", "/opt/x"),
    ],
)
def test_every_different_string_is_a_mismatch(tmp_path: Path, field: str, value: object) -> None:
    path = build_library(tmp_path)
    image = replace(read_image_of(path), **{field: value})
    mismatch = crosscheck(get_content(path), image)
    assert mismatch is not None
    assert mismatch.startswith(f"LIEF reads the {field} as ")
    assert repr(value) in mismatch


def test_a_file_that_lief_cannot_read_is_a_mismatch(tmp_path: Path) -> None:
    image = read_image_of(build_library(tmp_path))
    assert crosscheck(BytesContent(b"#!/bin/sh\n"), image) == "LIEF cannot read the edited file"


def test_names_in_invalid_utf8_are_not_a_mismatch() -> None:
    content = build_tiny_elf([(c.DT_RUNPATH, 1), (c.DT_NEEDED, 7)], b"\0/\xe9/\xff!\0lib\xe9.so\0")
    assert crosscheck(content, parse_image(read_bytes_of(content))) is None


def test_both_readers_take_the_last_of_two_runpaths(tmp_path: Path) -> None:
    data = build_library(tmp_path).read_bytes()
    two = change_dynamic_entry(
        data, c.DT_SONAME, parse_image(data).find_value(c.DT_SONAME) or 0, c.DT_RUNPATH
    )
    image = parse_image(two)
    assert (image.runpath, image.soname) == (parse_image(data).runpath, None)
    assert crosscheck(BytesContent(two), image) is None
    assert crosscheck(BytesContent(two), replace(image, runpath="libx.so.1")) is not None


def test_an_edit_with_a_mismatch_is_discarded(tmp_path: Path) -> None:
    def disagree(content: Content, image: Image) -> str:
        return f"LIEF reads {content.size} bytes of {image.type}"

    with pytest.raises(EditRefusedError, match="slot: its result is discarded: LIEF reads"):
        edit_file(
            get_content(build_library(tmp_path)),
            Changes(runpath="/o"),
            tmp_path,
            "inplace",
            disagree,
        )


def test_a_file_above_the_size_limit_is_not_read_by_lief(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_library(tmp_path)
    with path.open("r+b") as file:
        file.truncate(lief_crosscheck.SIZE_LIMIT + 1)
    monkeypatch.setattr(
        "bundle_fix.elf.edit.edit.crosscheck", lambda *_: pytest.fail("LIEF was used")
    )
    assert edit_file(get_content(path), Changes(runpath="/o"), tmp_path, "inplace").editor == "slot"
