from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from bundle_fix.collect.libraries.built_files import follow_built_files
from bundle_fix.collect.pack_builder import Origin
from bundle_fix.elf.read.parser import read_image_at


def test_an_installed_file_gets_the_runpath_and_the_directory_of_the_built_one(
    tmp_path: Path,
) -> None:
    built, other = tmp_path / "build/app", tmp_path / "tests/app"
    build_elf(other, program=True, needed=["libb.so"], runpath="/wrong")
    build_elf(built, program=True, needed=["liba.so"], runpath="/deps")
    installed = tmp_path / "bin/app"
    build_elf(installed, program=True, needed=["liba.so"], runpath="$ORIGIN/../lib")
    image = read_image_at(installed)
    assert image is not None
    images, origins = follow_built_files(
        {"bin/app": image}, {"bin/app": Origin(installed, "")}, [tmp_path / "gone", other, built]
    )
    assert images["bin/app"].runpath == "/deps:$ORIGIN/../lib"
    assert origins["bin/app"].source == built
