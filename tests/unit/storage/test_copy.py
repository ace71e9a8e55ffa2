from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundle_fix.model.content import PathContent
from bundle_fix.storage.copy import copy_bytes


def test_a_file_is_copied_by_a_python_without_copy_file_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "copy_file_range")
    source = tmp_path / "source"
    source.write_bytes(b"\x7fELF" * 5000)
    with PathContent(source, 20000).open() as reader, (tmp_path / "copy").open("wb") as copy:
        copy_bytes(reader, copy.fileno())
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
