"""The cross-check with LIEF: if LIEF reads something else, the edit is discarded."""

from __future__ import annotations

import struct
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
from bundle_fix.elf.verify.lief_crosscheck import SecondOpinion, crosscheck
from bundle_fix.model.content import BytesContent, Content
from bundle_fix.subprocesses.isolation import LimitReachedError
from elf.support import (
    build_tiny_elf,
    change_dynamic_entry,
    get_content,
    parse_image,
    read_bytes_of,
    read_image_of,
)

AGREES = SecondOpinion()


def ask_lief(content: Content, image: Image) -> SecondOpinion:
    return crosscheck(content, content, image)


def build_library(directory: Path, toolchain: Toolchain = HOST) -> Path:
    needed = ["liba.so.1", "libb.so.1"]
    return build_elf(
        directory / "x.so", soname="libx.so.1", needed=needed, runpath="/opt/x", toolchain=toolchain
    )


@pytest.mark.parametrize("name", [*LINKERS, *CROSS])
def test_both_readers_agree_on_the_output_of_linkers(tmp_path: Path, name: str) -> None:
    path = build_library(tmp_path, {**LINKERS, **CROSS}[name])
    assert ask_lief(get_content(path), read_image_of(path)) == AGREES


def test_both_readers_agree_on_a_program_with_an_rpath(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, rpath="/opt/x:$ORIGIN")
    assert ask_lief(get_content(path), read_image_of(path)) == AGREES


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
    mismatch = ask_lief(get_content(path), image).mismatch
    assert mismatch.startswith(f"LIEF reads the {field} as ")
    assert repr(value) in mismatch


def test_a_file_that_only_lief_cannot_read_after_the_edit_is_a_mismatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_library(tmp_path)
    image = read_image_of(path)
    unreadable = BytesContent(b"#!/bin/sh\n")
    monkeypatch.setattr(lief_crosscheck, "find_excess", lambda _: "")
    opinion = crosscheck(get_content(path), unreadable, image)
    assert opinion.mismatch == "LIEF cannot read the edited file"
    assert ask_lief(unreadable, image).missing == "LIEF cannot read the original file either"


def test_names_in_invalid_utf8_are_not_a_mismatch() -> None:
    content = build_tiny_elf([(c.DT_RUNPATH, 1), (c.DT_NEEDED, 7)], b"\0/\xe9/\xff!\0lib\xe9.so\0")
    assert ask_lief(content, parse_image(read_bytes_of(content))) == AGREES


def test_both_readers_take_the_last_of_two_runpaths(tmp_path: Path) -> None:
    data = build_library(tmp_path).read_bytes()
    two = change_dynamic_entry(
        data, c.DT_SONAME, parse_image(data).find_value(c.DT_SONAME) or 0, c.DT_RUNPATH
    )
    image = parse_image(two)
    assert (image.runpath, image.soname) == (parse_image(data).runpath, None)
    assert ask_lief(BytesContent(two), image) == AGREES
    assert ask_lief(BytesContent(two), replace(image, runpath="libx.so.1")).mismatch


def test_an_edit_with_a_mismatch_is_discarded(tmp_path: Path) -> None:
    def disagree(_before: Content, after: Content, image: Image) -> SecondOpinion:
        return SecondOpinion(f"LIEF reads {after.size} bytes of {image.type}")

    with pytest.raises(EditRefusedError, match="slot: its result is discarded: LIEF reads"):
        edit_file(
            get_content(build_library(tmp_path)),
            Changes(runpath="/o"),
            tmp_path,
            "inplace",
            disagree,
        )


def test_a_file_above_the_size_limit_is_not_read_by_lief(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    with path.open("r+b") as file:
        file.truncate(lief_crosscheck.SIZE_LIMIT + (1 << 20))
    missing = ask_lief(get_content(path), read_image_of(path)).missing
    assert missing == "it has 65 MiB; the limit for LIEF is 64"


def test_headers_that_promise_more_than_the_file_keep_lief_away(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    data = bytearray(path.read_bytes())
    headers = int.from_bytes(data[40:48], "little")
    struct.pack_into("<QQ", data, headers + 64 + 24, 0xC0000000, 1)
    missing = ask_lief(BytesContent(bytes(data)), read_image_of(path)).missing
    assert missing == (
        f"LIEF is not run: its section 1 ends at {0xC0000001}, but the file at {len(data)}"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LimitReachedError("the limit of 30 seconds is reached"), "LIEF did not finish: the limit"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "LIEF cannot be started: Res"),
    ],
)
def test_a_limit_is_a_missing_opinion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    path = build_library(tmp_path)
    monkeypatch.setattr(lief_crosscheck, "run_isolated", refuse)
    assert ask_lief(get_content(path), read_image_of(path)).missing.startswith(text)
