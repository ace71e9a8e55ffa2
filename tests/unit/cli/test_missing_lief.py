"""Commands on a machine that cannot load LIEF."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.fake_lief import TOO_NEW, replace_lief
from bundle_fix.cli.main import main

SPEC = """\
[bundle]
name = "p"
[[files]]
from = "bin/*"
to = "bin/"
[[libraries]]
from = "lib/*"
"""
NOTE = "note: no second opinion on the edit: LIEF needs GLIBC_2.99, which /lib64/libc.so.6 lacks"


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack whose program needs a RUNPATH, beside its spec, on a machine with an old glibc."""
    build_elf(tmp_path / "p/lib/libx.so.4", soname="libx.so.4")
    build_elf(tmp_path / "p/bin/server", program=True, needed=["libx.so.4"])
    (tmp_path / "p/bundle.toml").write_text(SPEC)
    replace_lief(monkeypatch, tmp_path, f"raise ImportError({TOO_NEW!r})")
    return tmp_path / "p"


@pytest.mark.parametrize(
    "command",
    [
        ["pack", "p/bundle.toml", "-o", "out"],
        ["fix", "p", "-o", "out"],
        ["elf", "--set-runpath", "/o", "--cross-check", "-o", "out", "p/bin/server"],
    ],
)
def test_a_missing_second_opinion_is_a_note(
    pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(pack.parent)
    assert main(command) == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "LIEF" in line]
    assert note.endswith(f"bin/server: {NOTE}; only bundle-fix verified the result")
    assert (pack.parent / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["pack", "p/lief.toml", "-o", "out"],
        ["pack", "p/bundle.toml", "-o", "out", "--editor=lief"],
        ["fix", "p", "-o", "out", "--editor=lief"],
        ["fix-tree", "p", "--all", "--editor=lief"],
        ["elf", "--set-runpath", "/o", "-o", "out", "--editor=lief", "p/bin/server"],
    ],
)
def test_selecting_a_missing_lief_is_an_error_in_one_line(
    pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:  # fmt: skip
    (pack / "lief.toml").write_text(f'{SPEC}[runpath]\neditor = "lief"\n')
    monkeypatch.chdir(pack.parent)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("bundle-fix: error: the ELF editor lief cannot be used: LIEF needs ")
    assert error.endswith(" (use the editor auto)\n")
    assert (error.count("\n"), (pack.parent / "out").exists()) == (1, False)
