"""The record that the loader writes about its searches."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.run.record.loader_record import (
    LoadCall,
    LoadRequest,
    parse_loader_record,
    read_loader_record,
)

START = """\
file=liba.so.1 [0];  needed by /opt/pack/bin/x [0]
find library=liba.so.1 [0]; searching
  trying file=/opt/pack/lib/liba.so.1
  trying file=/lib64/liba.so.1

file=liba.so.1 [0];  generating link map
  dynamic: 0x00007f9507270b60  base: 0x00007f950709e000   size: 0x00000000001e1f50

initialize program: /opt/pack/bin/x
"""


def parse(text: str, process: str = "7") -> list[LoadRequest]:
    return list(parse_loader_record(f"     {process}:\t{line}" for line in text.splitlines()))


def test_a_needed_name_has_its_requester_and_the_file_that_was_mapped() -> None:
    assert parse(START) == [
        LoadRequest(
            "liba.so.1", "/opt/pack/bin/x", LoadCall.NEEDED, "/opt/pack/bin/x", True,
            ("/opt/pack/lib/liba.so.1", "/lib64/liba.so.1"), "/lib64/liba.so.1",
        )
    ]  # fmt: skip


def test_a_library_that_is_opened_later_is_no_part_of_the_start() -> None:
    opened = START + (
        "file=/opt/my plugins/p.so [0];  dynamically loaded by /lib64/liba.so.1 [0]\n"
        "file=/opt/my plugins/p.so [0];  generating link map\n"
        "file=libb.so.1 [0];  needed by /opt/my plugins/p.so [0]\n"
    )
    _, plugin, missing = parse(opened)
    assert (plugin.call, plugin.at_start, plugin.path) == (
        LoadCall.DLOPEN, False, "/opt/my plugins/p.so",
    )  # fmt: skip
    assert (missing.requester, missing.path) == ("/opt/my plugins/p.so", None)
    assert missing.program == "/opt/pack/bin/x"


def test_a_process_that_executes_another_program_starts_again() -> None:
    other = START.replace("/opt/pack/bin/x", "sh")
    programs = [(r.program, r.at_start) for r in parse(START + other)]
    assert programs == [("/opt/pack/bin/x", True), ("sh", True)]


def test_lines_of_processes_in_one_file_are_kept_apart() -> None:
    lines = [f"     1:\t{line}" for line in START.splitlines()]
    others = [f"     2:\t{line}" for line in START.replace("liba", "libb").splitlines()]
    mixed = [line for pair in zip(lines, others, strict=True) for line in pair]
    assert [r.path for r in parse_loader_record(mixed)] == ["/lib64/liba.so.1", "/lib64/libb.so.1"]


def test_a_fork_goes_on_with_the_program_of_its_parent() -> None:
    opened = "file=p.so [0];  dynamically loaded by /lib64/liba.so.1 [0]"
    lines = [*(f"     1:\t{line}" for line in START.splitlines()), f"     2:\t{opened}"]
    _, request = parse_loader_record(lines)
    assert (request.program, request.at_start) == ("/opt/pack/bin/x", False)


@pytest.mark.parametrize("text", ["", "file=", "file=x [0];  generating link map", "\0\udcff"])
def test_other_lines_are_ignored(text: str) -> None:
    assert parse(text) == []


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "loader.1").symlink_to("/dev/zero")
    (tmp_path / "loader.2").write_text("".join(f"2:\t{line}\n" for line in START.splitlines()))
    requests, is_cut = read_loader_record(tmp_path)
    assert ([r.name for r in requests], is_cut) == (["liba.so.1"], False)
