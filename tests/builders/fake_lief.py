"""A package named lief that takes the place of LIEF, such as one that cannot be loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOO_NEW = "/lib64/libc.so.6: version `GLIBC_2.99' not found (required by /x/lief/_lief.so)"
"""The message of glibc's loader (dl-version.c) about a library that was built for a newer glibc."""


def replace_lief(monkeypatch: pytest.MonkeyPatch, directory: Path, code: str | None) -> None:
    """Let ``import lief`` run ``code`` in this process and its forks; None hides LIEF."""
    # Setting an entry first makes the monkeypatch restore it at the end.
    for name in {"lief", *(name for name in sys.modules if name.startswith("lief."))}:
        monkeypatch.setitem(sys.modules, name, None)
    if code is None:
        return
    package = directory / "fake" / "lief"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(package.parent)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lief"]:
        del sys.modules[name]
