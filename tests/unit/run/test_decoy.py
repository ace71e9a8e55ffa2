"""Decoys: loaders and readers accept them, on every machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, HOST, Toolchain, build_elf
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.run.host.decoy import build_decoy


@pytest.mark.parametrize("toolchain", [HOST, *CROSS.values()], ids=["host", *CROSS])
def test_a_decoy_has_the_architecture_of_the_pack_and_a_soname(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    like = read_image_at(build_elf(tmp_path / "liba.so.1", toolchain=toolchain))
    assert like is not None
    (tmp_path / "decoy").write_bytes(build_decoy("libz.so.1", like))
    decoy = read_image_at(tmp_path / "decoy")
    assert decoy is not None
    assert (decoy.soname, decoy.architecture, decoy.is_library) == (
        "libz.so.1", like.architecture, True,
    )  # fmt: skip
    listed = subprocess.run(
        ["readelf", "-ld", tmp_path / "decoy"], capture_output=True, text=True, check=True
    )
    assert listed.stderr == ""


def test_the_loader_of_this_machine_loads_a_decoy(tmp_path: Path) -> None:
    program = build_elf(tmp_path / "x", program=True, needed=["libz.so.1"], runpath="$ORIGIN")
    like = read_image_at(program)
    assert like is not None
    (tmp_path / "libz.so.1").write_bytes(build_decoy("libz.so.1", like))
    ran = subprocess.run([program], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("main\n", "")
