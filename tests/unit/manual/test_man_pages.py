"""The man pages are valid, and the wheel installs them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from manual.__main__ import MAN_PAGES

from builders.shells import PROJECT, SHARE, require_debian_program
from bundle_fix.cli.commands import COMMANDS


def run_mandoc(*arguments: str | Path) -> str:
    require_debian_program("mandoc", "mandoc")
    command = ["mandoc", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_man_pages_have_no_warnings() -> None:
    assert run_mandoc("-Tlint", "-Wwarning", *sorted(MAN_PAGES.iterdir())) == ""


def test_an_option_is_printed_as_it_is_typed() -> None:
    text = remove_overstrikes(run_mandoc("-Tascii", MAN_PAGES / "bundle-fix-elf.1"))
    assert "       -o, --output OUT\n" in text
    assert "bundle-fix elf --set-runpath '$ORIGIN/../lib' --in-place bin/server\n" in text


def remove_overstrikes(text: str) -> str:
    """Return text without the characters that a terminal prints bold or underlined (col -b)."""
    return re.sub(".\b", "", text)


def test_the_wheel_installs_man_pages_and_completion(tmp_path: Path) -> None:
    build = f"from scikit_build_core.build import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=PROJECT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = {name.partition(".data/data/share/")[2] for name in archive.namelist()} - {""}
    assert data == {str(path.relative_to(SHARE)) for path in SHARE.rglob("*") if path.is_file()}
    assert len(data) == len(COMMANDS) + 1 + 3
