"""LIEF as the second reader: where it reads something else than we do, the edit is thrown away."""

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
from bundle_fix.elf.verify import lief_crosscheck as second_reader
from bundle_fix.elf.verify.lief_crosscheck import crosscheck
from bundle_fix.model.content import BytesContent, Content
from elf.support import bytes_of, content_of, image_in, image_of, tiny_elf, with_dynamic


def file(folder: Path, toolchain: Toolchain = HOST) -> Path:
    needed = ["liba.so.1", "libb.so.1"]
    return build_elf(
        folder / "x.so", soname="libx.so.1", needed=needed, runpath="/opt/x", toolchain=toolchain
    )


@pytest.mark.parametrize("name", [*LINKERS, *CROSS])
def test_both_readers_agree_on_what_linkers_write(tmp_path: Path, name: str) -> None:
    path = file(tmp_path, {**LINKERS, **CROSS}[name])
    assert crosscheck(content_of(path), image_of(path)) is None


def test_both_readers_agree_on_a_program_with_an_rpath(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, rpath="/opt/x:$ORIGIN")
    assert crosscheck(content_of(path), image_of(path)) is None


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
def test_every_string_that_differs_is_noticed(tmp_path: Path, field: str, value: object) -> None:
    path = file(tmp_path)
    image = replace(image_of(path), **{field: value})  # type: ignore[arg-type]
    said = crosscheck(content_of(path), image)
    assert said is not None
    assert said.startswith(f"LIEF reads the {field} as ")
    assert repr(value) in said


def test_a_file_that_lief_cannot_read_is_a_disagreement(tmp_path: Path) -> None:
    image = image_of(file(tmp_path))
    assert crosscheck(BytesContent(b"#!/bin/sh\n"), image) == "LIEF cannot read the edited file"


def test_names_that_are_not_utf8_are_no_disagreement() -> None:
    content = tiny_elf([(c.DT_RUNPATH, 1), (c.DT_NEEDED, 7)], b"\0/\xe9/\xff!\0lib\xe9.so\0")
    assert crosscheck(content, image_in(bytes_of(content))) is None


def test_a_second_runpath_that_only_one_reader_heeds_is_noticed(tmp_path: Path) -> None:
    data = file(tmp_path).read_bytes()
    two = with_dynamic(data, c.DT_SONAME, image_in(data).find_value(c.DT_SONAME) or 0, c.DT_RUNPATH)
    assert crosscheck(BytesContent(two), image_in(two)) is not None


def test_an_edit_that_lief_reads_otherwise_is_thrown_away(tmp_path: Path) -> None:
    def disagree(content: Content, image: Image) -> str:
        return f"LIEF reads {content.size} bytes of {image.type}"

    with pytest.raises(EditRefusedError, match="slot: its result is discarded: LIEF reads"):
        edit_file(content_of(file(tmp_path)), Changes(runpath="/o"), tmp_path, "inplace", disagree)


def test_a_file_too_large_for_lief_is_not_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(tmp_path)
    with path.open("r+b") as grown:
        grown.truncate(second_reader.SIZE_LIMIT + 1)
    monkeypatch.setattr("bundle_fix.elf.edit.edit.crosscheck", lambda *_: pytest.fail("asked"))
    assert edit_file(content_of(path), Changes(runpath="/o"), tmp_path, "inplace").editor == "slot"
