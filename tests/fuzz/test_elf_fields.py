"""Each number of an ELF file set to its extremes, one at a time, with the commands in turn."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from itertools import cycle
from pathlib import Path

import lief  # noqa: F401 (each edit forks, and importing it takes a second)
import pytest

from builders.elf import build_elf, build_versioned_library
from fuzz.commands import ELF_COMMANDS, run_command
from fuzz.elf_fields import Field, list_fields, replace_by_extremes

QUICK = [command for command in ELF_COMMANDS if command[0] != "fix"]
ALL = bool(os.environ.get("BUNDLE_FIX_FUZZ"))
STEP = 1 if ALL else 7
"""Every seventh changed file is tested; with BUNDLE_FIX_FUZZ all are."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("samples")
    both = ["-Wl,--hash-style=both"]
    program = build_elf(
        directory / "x", program=True, needed=["liby.so.1"], runpath="$ORIGIN", flags=both
    )
    library = build_versioned_library(directory / "libv.so", "libv.so.1", "f", ["V_1", "V_2"])
    return {"program": program.read_bytes(), "library": library.read_bytes()}


@pytest.mark.parametrize("kind", ["program", "library"])
def test_commands_read_or_refuse_every_extreme_of_every_field(
    tmp_path: Path, samples: dict[str, bytes], kind: str
) -> None:
    data = samples[kind]
    commands = cycle(QUICK)
    artifact = tmp_path / "x"
    number = 0
    failures: list[tuple[Field, str]] = []
    for field in list_fields(data):
        for changed in replace_by_extremes(data, field):
            number += 1
            if number % STEP:
                continue
            artifact.write_bytes(changed)
            command = next(commands)
            try:
                run_command(command, artifact, tmp_path)
            except Exception as error:
                failures.append((field, f"{command[0]}: {error!r}"))
    assert failures == []
    assert number > 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20


@pytest.mark.parametrize("kind", ["program", "library"])
def test_fix_reads_or_refuses_every_extreme_of_every_field(
    tmp_path: Path, samples: dict[str, bytes], kind: str
) -> None:
    data = samples[kind]
    pack = tmp_path / "pack"
    (pack / "bin").mkdir(parents=True)
    build_elf(pack / "liby.so.1", soname="liby.so.1")
    number = 0
    for field in list_fields(data):
        for changed in replace_by_extremes(data, field):
            number += 1
            if number % (STEP * 5):
                continue
            (pack / "bin/x").write_bytes(changed)
            status = fix_tarball(pack, tmp_path)
            assert status in (0, 1, 2), field


def fix_tarball(pack: Path, directory: Path) -> int:
    archive = directory / "pack.tar"
    subprocess.run(["tar", "-cf", archive, "-C", directory, "pack"], check=True)
    shutil.rmtree(directory / "work", ignore_errors=True)
    (directory / "work").mkdir()
    archive.replace(directory / "work/pack.tar")
    command = ("fix", "--force", "{}", "-o", "{out}")
    return run_command(command, directory / "work/pack.tar", directory / "work").status
