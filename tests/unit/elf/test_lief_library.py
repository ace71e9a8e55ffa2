"""LIEF on machines that cannot load it: a note, and an error only if the user selects it."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.fake_lief import TOO_NEW, replace_lief
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.lief_library import load_lief, require_editor
from bundle_fix.elf.verify.lief_crosscheck import crosscheck
from bundle_fix.model.errors import BundleFixError
from elf.edit.programs import build_program
from elf.support import get_content

CXX = "/lib64/libstdc++.so.6: version 'GLIBCXX_3.4.20' not found (required by /x/lief/_lief.so)"
LOST = "libstdc++.so.6: cannot open shared object file: No such file or directory"
REASONS = {
    None: "LIEF is not installed",
    f"raise ImportError({TOO_NEW!r})": "LIEF needs GLIBC_2.99, which /lib64/libc.so.6 lacks",
    f"raise OSError({TOO_NEW!r})": "LIEF needs GLIBC_2.99, which /lib64/libc.so.6 lacks",
    f"raise ImportError({CXX!r})": "LIEF needs GLIBCXX_3.4.20, which /lib64/libstdc++.so.6 lacks",
    f"raise ImportError({LOST!r})": f"LIEF cannot be loaded: {LOST}",
    "from . import _lief": "LIEF cannot be loaded: cannot import name '_lief' from ",
    "import lief._lief": "LIEF cannot be loaded: No module named 'lief._lief'",
    "1 +": "LIEF cannot be loaded: invalid syntax (__init__.py, line 1)",
    "raise SystemError('one\\ntwo')": "LIEF cannot be loaded: one",
    "raise AttributeError": "LIEF cannot be loaded: AttributeError",
    "": "LIEF is not installed completely",
}
"""The reason that is given for each content of the package."""


def test_an_installed_lief_is_no_problem() -> None:
    assert load_lief() == ""
    require_editor("lief")


@pytest.mark.parametrize(("code", "reason"), REASONS.items())
def test_the_reason_why_lief_cannot_be_loaded_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str | None, reason: str
) -> None:
    replace_lief(monkeypatch, tmp_path, code)
    found = load_lief()
    assert found.startswith(reason)
    assert "\n" not in found
    for editor in (None, "auto", "segment", "patchelf"):
        require_editor(editor)
    with pytest.raises(BundleFixError, match="the ELF editor lief cannot be used: LIEF "):
        require_editor("lief")


@pytest.mark.parametrize("code", REASONS)
def test_an_edit_is_made_without_a_second_opinion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str | None
) -> None:
    path = tmp_path / "x"
    path.write_bytes(build_program(tmp_path))
    replace_lief(monkeypatch, tmp_path, code)
    content, changes = get_content(path), Changes(runpath="/o")
    edited = edit_file(content, changes, tmp_path, "auto", crosscheck)
    assert edited.editor == "slot"
    assert edited.no_opinion == f"{load_lief()}; only bundle-fix verified the result"
    with pytest.raises(EditRefusedError, match=r"lief \(headers at the end\): LIEF "):
        edit_file(content, changes, tmp_path, "lief")
