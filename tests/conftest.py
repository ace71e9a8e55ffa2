"""Fixtures that all tests share."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import isal.igzip_threaded  # noqa: F401 (loaded before a test gives up root's rights)
import pytest
import zlib_ng.gzip_ng_threaded  # noqa: F401

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

MAX_ID = 80
NOBODY = 65534
PR_SET_DUMPABLE = 4


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a long value by its length.

    The ID of the test is in the environment of its processes, where execve(2) allows 128 KiB.
    """
    if isinstance(val, str | bytes) and len(val) > MAX_ID:
        return f"{len(val)} {type(val).__name__}"
    return None


@pytest.fixture
def scratch(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Return the directory for temporary files, which must be empty after the test."""
    directory = tmp_path_factory.mktemp("scratch")
    directory.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    assert list(directory.iterdir()) == []


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """Return a directory that every user may write to, below directories every user may enter."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


@pytest.fixture
def unprivileged_user(public_directory: Path) -> Iterator[None]:
    """Run the test as a user whose access the modes of files restrict, unlike that of root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    # Changing the user clears the flag; without it /proc/self belongs to root (prctl(2)).
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of one megabyte."""
    directory = tmp_path / "small-disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "bundle-fix-test", str(directory)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk needs root and the right to mount a tmpfs")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
