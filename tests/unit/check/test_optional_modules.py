"""Extension modules of a wheel that its code can do without."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from builders.elf import build_elf

from .conftest import Check
from .packs import write_unpacked_wheel

GUARDED = "try:\n    from demo import _pool\nexcept {}:\n    {}\n"


@pytest.mark.parametrize(
    ("source", "severity"),
    [
        (GUARDED.format("ImportError", "_pool = None"), "warning"),
        (GUARDED.format("(OSError, ImportError)", "pass"), "warning"),
        ("def f():\n" + indent(GUARDED, " ").format("Exception", "pass"), "warning"),
        (GUARDED.format("ImportError", "raise RuntimeError"), "error"),
        (GUARDED.format("KeyError", "pass"), "error"),
        (GUARDED.format("ImportError", "import demo._pool"), "error"),
        ("from demo._pool import run", "error"),
        ("try:\n    import other\nexcept ImportError:\n    pass\n", "error"),
        ("try: from demo import _pool\nexcept (", "error"),
        ("", "error"),
    ],
)
def test_bf101_is_a_warning_about_a_module_whose_import_may_fail(
    tmp_path: Path, check: Check, source: str, severity: str
) -> None:
    write_unpacked_wheel(tmp_path, is_correct=True)
    build_elf(tmp_path / "demo/_pool.abi3.so", needed=["libtbb.so.12"])
    (tmp_path / "demo/backend.py").write_text(source)
    assert [f.severity for f in check("BF101")] == [severity]
