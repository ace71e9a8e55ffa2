"""A few seconds of mutations with fixed seeds; ``make fuzz`` runs longer with new seeds."""

from __future__ import annotations

import random
import resource
from pathlib import Path

import pytest

from fuzz.commands import COMMANDS, ELF_COMMANDS, run_command
from fuzz.corpus import build_corpus
from fuzz.mutation import mutate_artifact

KINDS = (
    "elf", "tar", "sparse.tar", "gnu.tar", "tar.gz", "a.zip", "stored.zip", "deb", "rpm",
    "image.tar", "oci.tar", "v6.rpm", "conda", "squashfs", "AppImage", "pyz",
)  # fmt: skip
RUNS = 25


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found = build_corpus(tmp_path_factory.mktemp("corpus"))
    assert set(found) == set(KINDS)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_artifact_is_read_or_refused(
    tmp_path: Path, kinds: dict[str, bytes], kind: str
) -> None:
    rng = random.Random(f"{kind} 1")
    commands = ELF_COMMANDS if kind == "elf" else COMMANDS
    artifact = tmp_path / f"a.{kind}"
    for number in range(RUNS):
        artifact.write_bytes(mutate_artifact(rng, kinds, kind))
        run_command(commands[number % len(commands)], artifact, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20
