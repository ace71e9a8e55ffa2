"""Debug files that dwz makes and several programs share: gdb finds them in a debug pack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from elf.matrix import require_tools
from elf.support import get_content

from builders.elf import build_elf
from builders.run import run_bundle_fix
from bundle_fix.debug.altlink import find_shared_file, read_altlink
from bundle_fix.elf.read.parser import read_image
from debug.test_split import SPEC, list_sections, pack_and_unpack, read_build_id, run, run_gdb

TYPES = "".join(
    f"struct type_{n} {{ int first_{n}; struct type_{n} *next_{n}; }} value_{n};\n"
    for n in range(200)
)
MAIN = f"{TYPES}int main(void) {{ return 7; }}\n"
EXPECTED = 'Line 201 of "source.c"'


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The debug file that two programs in ``in/`` share; both name it by a relative path."""
    require_tools("dwz")
    programs = [
        build_elf(
            tmp_path / "in" / name,
            program=True, source=MAIN, flags=["-Wl,--build-id=sha1", f"-DNAME={name}"],
        )
        for name in ("one", "two")
    ]  # fmt: skip
    run("dwz", "-r", "-m", tmp_path / "common.debug", *programs)
    for path in programs:
        assert ".gnu_debugaltlink" in list_sections(path)
    return tmp_path / "common.debug"


def test_gdb_finds_the_shared_file_relative_to_the_program_and_by_build_id(
    shared: Path, tmp_path: Path
) -> None:
    pack = pack_and_unpack(tmp_path, "split")
    program, name = pack / "bin/one", read_build_id(shared)
    shared.unlink()
    assert ".gnu_debugaltlink" not in list_sections(program)
    assert (pack / f".build-id/{name[:2]}/{name[2:]}.debug").is_file()
    assert EXPECTED in run_gdb(f"file {program}", "info line main")
    assert "next_7" in run_gdb(f"file {program}", "ptype struct type_7")
    (ids := tmp_path / "ids").mkdir()
    (pack / ".build-id").rename(ids / ".build-id")
    shutil.rmtree(pack / "bin/.debug")
    assert EXPECTED in run_gdb(
        f"set debug-file-directory {ids}", f"file {program}", "info line main"
    )


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\x7fELF")])
def test_a_missing_shared_file_is_reported(
    shared: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    damage(shared)
    (tmp_path / "bundle.toml").write_text(SPEC.format(strip="split"))
    done = run_bundle_fix("pack", "bundle.toml", cwd=tmp_path)
    remark = "bin/one: missing shared debug file ../common.debug (made by dwz)"
    assert remark in done.stderr
    (tmp_path / "bundle.toml").write_text(SPEC.format(strip="debug"))
    assert remark not in run_bundle_fix("pack", "bundle.toml", "--force", cwd=tmp_path).stderr


def test_a_shared_file_of_another_build_is_skipped(shared: Path, tmp_path: Path) -> None:
    with get_content(tmp_path / "in/one").open() as reader:
        altlink = read_altlink(reader, read_image(reader))
    assert altlink is not None
    assert altlink.name == "../common.debug"
    assert altlink.build_id.hex() == read_build_id(shared)
    found = find_shared_file(altlink, tmp_path / "in")
    assert found is not None
    assert found.path == shared
    assert find_shared_file(altlink._replace(build_id=b"12345678"), tmp_path / "in") is None
    assert find_shared_file(altlink, tmp_path) is None


def test_a_program_without_altlink_shares_no_debug_file(tmp_path: Path) -> None:
    with get_content(build_elf(tmp_path / "alone", program=True)).open() as reader:
        assert read_altlink(reader, read_image(reader)) is None
