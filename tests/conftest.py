"""Fixtures that all tests share."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import isal.igzip_threaded  # noqa: F401 (loaded while all of Python's folders can be read)
import pytest
import zlib_ng.gzip_ng_threaded  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))

NOBODY = 65534
PR_SET_DUMPABLE = 4


@pytest.fixture
def scratch(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder for temporary files; nothing may be left in it."""
    folder = tmp_path_factory.mktemp("scratch")
    folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that everybody may write to, on a path that everybody may walk."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def nobody(common: Path) -> Iterator[None]:
    """The test runs as a user for whom modes count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    # Without this /proc/self would be root's.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "bundle-fix-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root, where it may mount a tmpfs, can make a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
