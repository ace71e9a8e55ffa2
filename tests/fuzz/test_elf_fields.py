"""Every number of an ELF file at its extremes, one at a time, before every command in turn."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from itertools import cycle
from pathlib import Path

import pytest

from builders.elf import elf, object_with_versions
from fuzz.commands import ELF_COMMANDS, run
from fuzz.elf_fields import Field, extremes, fields

QUICK = [command for command in ELF_COMMANDS if command[0] != "fix"]
ALL = bool(os.environ.get("BUNDLE_FIX_FUZZ"))
STEP = 1 if ALL else 7
"""Each how many of the changed files a test run takes; over several commands that is all fields."""


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("victims")
    both = ["-Wl,--hash-style=both"]
    program = elf(folder / "x", program=True, needed=["liby.so.1"], runpath="$ORIGIN", flags=both)
    library = object_with_versions(folder / "libv.so", "libv.so.1", "f", ["V_1", "V_2"])
    return {"program": program.read_bytes(), "library": library.read_bytes()}


@pytest.mark.parametrize("kind", ["program", "library"])
def test_no_extreme_of_any_field_is_fatal(
    tmp_path: Path, victims: dict[str, bytes], kind: str
) -> None:
    data = victims[kind]
    commands = cycle(QUICK)
    artifact = tmp_path / "x"
    number = 0
    wrong: list[tuple[Field, str]] = []
    for field in fields(data):
        for changed in extremes(data, field):
            number += 1
            if number % STEP:
                continue
            artifact.write_bytes(changed)
            command = next(commands)
            try:
                run(command, artifact, tmp_path)
            except Exception as error:
                wrong.append((field, f"{command[0]}: {error!r}"))
    assert wrong == []
    assert number > 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20


@pytest.mark.parametrize("kind", ["program", "library"])
def test_no_extreme_of_any_field_is_fatal_to_fix(
    tmp_path: Path, victims: dict[str, bytes], kind: str
) -> None:
    data = victims[kind]
    pack = tmp_path / "pack"
    (pack / "bin").mkdir(parents=True)
    elf(pack / "liby.so.1", soname="liby.so.1")
    number = 0
    for field in fields(data):
        for changed in extremes(data, field):
            number += 1
            if number % (STEP * 5):
                continue
            (pack / "bin/x").write_bytes(changed)
            outcome = run_on_folder(pack, tmp_path)
            assert outcome in (0, 1, 2), field


def run_on_folder(pack: Path, folder: Path) -> int:
    archive = folder / "pack.tar"
    subprocess.run(["tar", "-cf", archive, "-C", folder, "pack"], check=True)
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir()
    archive.replace(folder / "work/pack.tar")
    command = ("fix", "--force", "{}", "-o", "{out}")
    return run(command, folder / "work/pack.tar", folder / "work").status
