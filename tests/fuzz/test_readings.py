"""Each odd archive is rejected or read as the programs read it that people unpack archives with.

``BUNDLE_FIX_EXAMPLES=5000`` tests as many archives; 500 are tested by default.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.odd_tars import odd_tars
from fuzz.odd_zips import odd_zips
from fuzz.readings import (
    Reading,
    find_node_tar,
    read_here,
    read_with_zipfile,
    unpack_all,
    unpack_with_node_tar,
    unpack_with_tarfile,
)

BATCH = 50
"""Archives that each program unpacks in one process of a shell."""
BATCHES = max(1, int(os.environ.get("BUNDLE_FIX_EXAMPLES", "500")) // BATCH // 2)
PROGRAMS = ("tar", "bsdtar", "unzip")
many = settings(
    max_examples=BATCHES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    # The archives are small, and to make a batch smaller takes minutes.
    phases=[Phase.generate],
    # A run of the suite repeats the same archives; a longer one makes new ones.
    derandomize="BUNDLE_FIX_EXAMPLES" not in os.environ,
)


@pytest.fixture(autouse=True)
def programs_are_installed() -> None:
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing and os.environ.get("BUNDLE_FIX_TOOLCHAINS") != "all":
        pytest.skip(f"missing programs: {', '.join(missing)}")
    assert missing == []


def read_batch(
    raws: Sequence[bytes], directory: Path, suffix: str
) -> Iterator[tuple[Path, Reading]]:
    """Write archives into a directory and yield those that bundle-fix reads."""
    for number, raw in enumerate(raws):
        path = directory / f"{number}{suffix}"
        path.write_bytes(raw)
        reading = read_here(path)
        if reading is not None:
            yield path, reading


def assert_same(ours: Reading, theirs: Reading, program: str, archive: Path) -> None:
    """Compare the members, and the directories that hold no member of the other reading."""
    raw = archive.read_bytes()
    assert ours.members == theirs.members, (program, raw)
    assert ours.directories >= theirs.directories, (program, raw)


def assert_unpacked_alike(accepted: Sequence[tuple[Path, Reading]], *programs: str) -> None:
    """Compare what bundle-fix reads in archives with what each of ``programs`` unpacks."""
    archives = [path for path, _ in accepted]
    for program in programs:
        for (path, ours), theirs in zip(accepted, unpack_all(program, archives), strict=True):
            assert_same(ours, theirs, program, path)


@many
@given(st.lists(odd_tars(), min_size=BATCH, max_size=BATCH))
def test_an_odd_tarball_is_rejected_or_read_as_other_programs_read_it(raws: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        accepted = list(read_batch(raws, Path(name), ".tar"))
        assert_unpacked_alike(accepted, "GNU tar", "bsdtar")
        for path, ours in accepted:
            assert_same(ours, unpack_with_tarfile(path), "tarfile", path)


@pytest.fixture(scope="module")
def node_tar() -> Path:
    found = find_node_tar()
    if found is None and os.environ.get("BUNDLE_FIX_TOOLCHAINS") != "all":
        pytest.skip("node-tar is not installed")
    assert found is not None
    return found


@many
@given(st.lists(odd_tars(), min_size=BATCH, max_size=BATCH))
def test_npm_unpacks_no_other_file_from_an_odd_tarball(node_tar: Path, raws: list[bytes]) -> None:
    """Npm leaves out special files, sparse files, and links that leave the directory."""
    with tempfile.TemporaryDirectory() as name:
        accepted = list(read_batch(raws, Path(name), ".tar"))
        readings = unpack_with_node_tar(node_tar, [path for path, _ in accepted])
        for (path, ours), theirs in zip(accepted, readings, strict=True):
            if theirs is not None:
                assert list_files(theirs) <= list_files(ours), path.read_bytes()


def list_files(reading: Reading) -> set[tuple[str, bytes]]:
    """Return names and contents of the files; npm replaces bytes that are not UTF-8 in names."""
    return {
        (os.fsencode(name).decode(errors="replace"), data)
        for name, (kind, data) in reading.members.items()
        if kind == "file"
    }


@many
@given(st.lists(odd_zips(), min_size=BATCH, max_size=BATCH))
def test_an_odd_zip_is_rejected_or_read_as_other_programs_read_it(raws: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        accepted = list(read_batch(raws, Path(name), ".zip"))
        assert_unpacked_alike(accepted, "unzip", "bsdtar")
        for path, ours in accepted:
            files = {member: ("file", data) for member, (_, data) in ours.members.items()}
            assert_same(ours._replace(members=files), read_with_zipfile(path), "zipfile", path)
