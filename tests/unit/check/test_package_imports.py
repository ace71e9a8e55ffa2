"""Libraries that the import of a Python package loads before its other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .packs import write_unpacked_wheel


@pytest.mark.parametrize(
    ("init", "count"),
    [
        ("from demo._core import run", 0),
        ("from . import _core, other", 0),
        ("import demo._core as core", 0),
        ("import os\nfrom demo import _core", 0),
        ("from demo import _core_tools", 1),
        ("# import _core", 1),
        ("", 1),
    ],
)
def test_bf102_is_silent_about_a_name_that_the_import_of_the_package_loads(
    tmp_path: Path, check: Check, init: str, count: int
) -> None:
    write_unpacked_wheel(tmp_path, is_correct=True)
    build_elf(tmp_path / "demo/libdemo.so.3", soname="libdemo.so.3")
    needed = ["libdemo.so.3"]
    build_elf(tmp_path / "demo/_core.abi3.so", needed=needed, runpath="$ORIGIN")
    build_elf(tmp_path / "demo/sub/_viewer.abi3.so", needed=needed)
    (tmp_path / "demo/__init__.py").write_text(init)
    assert len(check("BF102")) == count


def test_bf102_reports_the_imported_module_itself(tmp_path: Path, check: Check) -> None:
    write_unpacked_wheel(tmp_path, is_correct=True)
    build_elf(tmp_path / "demo/lib/libdemo.so.3", soname="libdemo.so.3")
    build_elf(tmp_path / "demo/_core.abi3.so", needed=["libdemo.so.3"])
    (tmp_path / "demo/__init__.py").write_text("from demo import _core")
    assert [f.path for f in check("BF102")] == ["demo/_core.abi3.so"]
