"""The reader of ld.so.cache, compared with ldconfig and with damaged caches."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.elf import build_elf
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.hosts.cache import CACHE_PATH, list_cached_libraries, read_cache


def test_this_machines_cache_is_read_as_ldconfig_prints_it() -> None:
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if ldconfig is None or not CACHE_PATH.exists():
        pytest.skip("this machine has no ldconfig or no /etc/ld.so.cache")
    listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True)
    expected = re.findall(r"^\t(\S+) \(.*\) => (\S+)$", listed.stdout, re.MULTILINE)
    assert list(list_cached_libraries()) == expected


@pytest.mark.parametrize("size", [0, 20, 48, 78])
def test_a_truncated_cache_is_read_as_far_as_possible(tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "cache"
    whole = CACHE_PATH.read_bytes() if CACHE_PATH.exists() else b"glibc-ld.so.cache1.1" + bytes(200)
    damaged.write_bytes(whole[:size])
    assert len(list(list_cached_libraries(damaged))) <= 1


def test_a_missing_cache_has_no_entries(tmp_path: Path) -> None:
    assert list(list_cached_libraries(tmp_path / "gone")) == []


def build_cache(entries: list[tuple[str, str, int, int]], names: list[str], mark: str) -> bytes:
    """Return a cache as ldconfig writes it.

    Args:
        entries: name, path, flags and hwcap of each entry.
        names: the names of glibc-hwcaps subdirectories.
        mark: the byte order, as `struct` spells it.
    """
    header, layout = struct.Struct(mark + "20sIIB3xI12x"), struct.Struct(mark + "iIIIQ")
    strings, places = b"", {}
    base = header.size + layout.size * len(entries)
    for text in dict.fromkeys(t for entry in entries for t in entry[:2]) | dict.fromkeys(names):
        places[text] = base + len(strings)
        strings += text.encode() + b"\0"
    strings += bytes(-len(strings) % 4)
    extension = base + len(strings)
    body = b"".join(layout.pack(f, places[n], places[p], 0, h) for n, p, f, h in entries)
    words = b"".join(struct.pack(mark + "I", places[name]) for name in names)
    section = struct.pack(mark + "IIIIII", 0xEAA42174, 1, 1, 0, extension + 24, len(words))
    flags = 2 if mark == "<" else 3
    head = header.pack(b"glibc-ld.so.cache1.1", len(entries), len(strings), flags, extension)
    return head + body + strings + section + words


EXTENSION = 1 << 62


@pytest.mark.parametrize("mark", ["<", ">"])
@pytest.mark.parametrize(
    "old", [b"", b"ld.so-1.7.0" + bytes(37)], ids=["new format", "old and new format"]
)
def test_the_best_level_is_preferred_to_an_entry_without_one(
    tmp_path: Path, mark: str, old: bytes
) -> None:
    names = ["x86-64-v2", "x86-64-v3"]
    entries = [
        ("liba.so.1", "/v2/liba.so.1", 0x0303, EXTENSION),
        ("liba.so.1", "/v3/liba.so.1", 0x0303, EXTENSION | 3 << 32 | 1),
        ("liba.so.1", "/32/liba.so.1", 0x0003, 0),
        ("liba.so.1", "/plain/liba.so.1", 0x0303, 0),
    ]
    cache = read_cache(old + build_cache(entries, names, mark))
    image = read_image_at(build_elf(tmp_path / "x", program=True))
    assert cache is not None
    assert image is not None
    if image.machine != "x86_64":
        pytest.skip("the entries are for x86-64")
    assert cache.find_library("liba.so.1", image, ("x86-64-v3", "x86-64-v2")) == "/v3/liba.so.1"
    assert cache.find_library("liba.so.1", image, ("x86-64-v2",)) == "/v2/liba.so.1"
    assert cache.find_library("liba.so.1", image, ()) == "/plain/liba.so.1"
    assert cache.find_library("libb.so.1", image, ()) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_bytes_can_be_read(noise: bytes, at: int) -> None:
    whole = build_cache([("liba.so.1", "/liba.so.1", 0x0303, EXTENSION)], ["x86-64-v2"], "<")
    read_cache(whole[:at] + noise + whole[at + len(noise) :])
    read_cache(b"glibc-ld.so.cache1.1" + noise)
