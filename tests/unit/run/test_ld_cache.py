"""The ld.so.cache of the decoy host: read back, and in the order of the loader's search."""

from __future__ import annotations

from typing import Literal

import pytest

from bundle_fix.loader.hosts.cache import CacheEntry, read_cache
from bundle_fix.run.host.ld_cache import build_cache


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_cache_has_its_entries_in_descending_order(order: Literal["little", "big"]) -> None:
    names = ["liba.so.1", "liba.so.10", "liba.so.9", "libab.so", "liba-b.so", "liba.so"]
    entries = [CacheEntry(name, f"/decoys/{name}", 0x303, 0, None) for name in names]
    cache = read_cache(build_cache(entries, order))
    assert cache is not None
    assert [entry.name for entry in cache.entries] == [
        "libab.so", "liba.so.10", "liba.so.9", "liba.so.1", "liba.so", "liba-b.so",
    ]  # fmt: skip
    assert {entry.path for entry in cache.entries} == {f"/decoys/{name}" for name in names}
