"""A large tarball is judged in another process while it is written, as it would be after it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

import pytest

from archive.views import names
from archive.writers import NAMES, Stopping, marked
from bundle_fix.archive.reading import open_artifact
from bundle_fix.archive.writing import write_artifact
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import ProgressStep
from bundle_fix.model.tree import File, Metadata, Tree
from bundle_fix.subprocesses import forks

every = pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "tar.zst"])


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "WORTH", 0)
    monkeypatch.setattr(forks, "count_cores", lambda: 2)


def seen(tree: Tree) -> tuple[int, list[str], bytes]:
    """Who judges, and what it finds there."""
    held = []
    for _, file in tree.files():
        with file.content.open() as reader:
            held.append(reader.pread(0, 1))
    return os.getpid(), [path for path, _ in tree.files()], b"".join(held)


@every
def test_what_is_found_over_there_is_approved_here(tmp_path: Path, kind: str) -> None:
    approved: list[tuple[int, list[str], bytes]] = []

    def approve(found: tuple[int, list[str], bytes]) -> bool:
        approved.append(found)
        return True

    assert write_artifact(marked(b"x"), kind, tmp_path / "out", seen, approve)
    (process, paths, held) = approved[0]
    assert process != os.getpid()
    assert (paths, held) == (NAMES, b"x" * len(NAMES))
    with open_artifact(tmp_path / "out") as artifact:
        assert seen(artifact.tree)[1:] == (paths, held)


@every
def test_what_is_not_approved_leaves_nothing(tmp_path: Path, kind: str) -> None:
    assert not write_artifact(marked(b"x"), kind, tmp_path / "out", seen, lambda _: False)
    assert names(tmp_path) == []


@every
def test_what_goes_wrong_over_there_is_raised_here(tmp_path: Path, kind: str) -> None:
    def damaged(_tree: Tree) -> NoReturn:
        raise BundleFixError("the ELF file is damaged", where="out: lib/1")

    with pytest.raises(BundleFixError, match="out: lib/1: the ELF file is damaged"):
        write_artifact(marked(b"x"), kind, tmp_path / "out", damaged)
    assert names(tmp_path) == []


@every
def test_an_interrupt_ends_it(tmp_path: Path, kind: str) -> None:
    tree = Tree({"lib/a": File(Stopping(), Metadata(0o644))})
    with pytest.raises(KeyboardInterrupt):
        write_artifact(tree, kind, tmp_path / "out", lambda _: time.sleep(600) is None)
    assert names(tmp_path) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_that_it_is_waited_for_is_told(tmp_path: Path) -> None:
    steps: dict[str, None] = {}

    def tell(step: ProgressStep, _done: int) -> None:
        steps[step.title] = None

    write_artifact(marked(b"x"), "tar", tmp_path / "out", seen, bool, tell)
    assert list(steps) == ["writing out", "checking"]
