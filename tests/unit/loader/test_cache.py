from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bundle_fix.loader.cache import CACHE, cached_libraries


def test_the_cache_reads_as_ldconfig_reads_it() -> None:
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if ldconfig is None or not CACHE.exists():
        pytest.skip("this machine has no ldconfig or no /etc/ld.so.cache")
    listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True)
    expected = re.findall(r"^\t(\S+) \(.*\) => (\S+)$", listed.stdout, re.MULTILINE)
    assert list(cached_libraries()) == expected


@pytest.mark.parametrize("size", [0, 20, 48, 78])
def test_a_damaged_cache_is_read_as_far_as_it_goes(tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "cache"
    whole = CACHE.read_bytes() if CACHE.exists() else b"glibc-ld.so.cache1.1" + bytes(200)
    damaged.write_bytes(whole[:size])
    assert len(list(cached_libraries(damaged))) <= 1


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    assert list(cached_libraries(tmp_path / "gone")) == []
