"""Suggestions for what the user may have misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.model.suggestions import suggest_file


@pytest.mark.parametrize(
    ("name", "hint"),
    [("server-2.5.tgz", "did you mean `{}/server-2.5.tar.gz`?"), ("gone", ""), ("gone/x", "")],
)
def test_a_file_with_a_similar_name_is_suggested(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "server-2.5.tar.gz").touch()
    assert suggest_file(tmp_path / name) == hint.format(tmp_path)
