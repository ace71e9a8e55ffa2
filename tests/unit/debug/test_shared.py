"""Debug information that dwz moved into a file of its own, found by gdb once it is split off."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from elf.matrix import needs
from elf.support import content_of

from builders.elf import elf
from builders.run import bundle_fix
from bundle_fix.debug.shared import find_shared, shared_by
from bundle_fix.elf.read.parser import read_image
from debug.test_split import SPEC, build_id, gdb, packed, run, sections

TYPES = "".join(
    f"struct type_{n} {{ int first_{n}; struct type_{n} *next_{n}; }} value_{n};\n"
    for n in range(200)
)
MAIN = f"{TYPES}int main(void) {{ return 7; }}\n"
WANTED = 'Line 201 of "source.c"'


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The file that two programs in ``in/`` share, which dwz names relative to them."""
    needs("dwz")
    programs = [
        elf(
            tmp_path / "in" / name,
            program=True, source=MAIN, flags=["-Wl,--build-id=sha1", f"-DNAME={name}"],
        )
        for name in ("one", "two")
    ]  # fmt: skip
    run("dwz", "-r", "-m", tmp_path / "common.debug", *programs)
    for path in programs:
        assert ".gnu_debugaltlink" in sections(path)
    return tmp_path / "common.debug"


def test_gdb_finds_it_from_beside_the_program_and_by_build_id(shared: Path, tmp_path: Path) -> None:
    pack = packed(tmp_path, "split")
    program, name = pack / "bin/one", build_id(shared)
    shared.unlink()
    assert ".gnu_debugaltlink" not in sections(program)
    assert (pack / f".build-id/{name[:2]}/{name[2:]}.debug").is_file()
    assert WANTED in gdb(f"file {program}", "info line main")
    assert "next_7" in gdb(f"file {program}", "ptype struct type_7")
    (ids := tmp_path / "ids").mkdir()
    (pack / ".build-id").rename(ids / ".build-id")
    shutil.rmtree(pack / "bin/.debug")
    assert WANTED in gdb(f"set debug-file-directory {ids}", f"file {program}", "info line main")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\x7fELF")])
def test_that_it_is_missing_is_told(
    shared: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    damage(shared)
    (tmp_path / "bundle.toml").write_text(SPEC.format(how="split"))
    done = bundle_fix("pack", "bundle.toml", cwd=tmp_path)
    told = "bin/one: shares debug information with others in ../common.debug (dwz), which is not"
    assert told in done.stderr
    (tmp_path / "bundle.toml").write_text(SPEC.format(how="debug"))
    assert told not in bundle_fix("pack", "bundle.toml", "--force", cwd=tmp_path).stderr


def test_the_file_of_another_build_is_not_taken(shared: Path, tmp_path: Path) -> None:
    with content_of(tmp_path / "in/one").open() as reader:
        link = shared_by(reader, read_image(reader))
    assert link is not None
    assert link.name == "../common.debug"
    assert link.build_id.hex() == build_id(shared)
    found = find_shared(link, tmp_path / "in")
    assert found is not None
    assert found.path == shared
    assert find_shared(link._replace(build_id=b"12345678"), tmp_path / "in") is None
    assert find_shared(link, tmp_path) is None


def test_a_file_by_itself_shares_nothing(tmp_path: Path) -> None:
    with content_of(elf(tmp_path / "alone", program=True)).open() as reader:
        assert shared_by(reader, read_image(reader)) is None
