"""BF002: artifacts in which no program and no library is checked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix

from .conftest import Check
from .packs import build_library_for_system


def test_an_empty_artifact_is_a_note_if_the_policy_allows_it(check: Check) -> None:
    (error,) = check("BF002", allow_empty=False)
    (note,) = check("BF002", allow_empty=True)
    assert (error.severity, note.severity) == ("error", "note")
    assert error.message == "nothing was checked: the artifact has no files"


@pytest.mark.parametrize(
    "start",
    [b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"PK\x03\x04", b"!<arch>\n", bytes(257) + b"ustar"],
)
def test_an_archive_inside_is_named(tmp_path: Path, check: Check, start: bytes) -> None:
    (tmp_path / "README").write_text("text")
    (tmp_path / "inner").write_bytes(start + bytes(20))
    (finding,) = check("BF002", allow_empty=False)
    assert finding.message.endswith("Linux; not looked into: 1 archive (inner)")
    assert finding.evidence["files"] == ["inner"]


def test_files_for_other_systems_are_named(tmp_path: Path, check: Check) -> None:
    build_library_for_system(tmp_path, abi=9)
    for path in ("bin/server", "lib/liba.so.1"):
        (tmp_path / path).unlink()
    (tmp_path / "x.dll").write_bytes(b"MZ" + bytes(100))
    (finding,) = check("BF002", allow_empty=False)
    assert finding.evidence["files"] == ["lib/libb.so.1", "x.dll"]


@pytest.mark.parametrize("flags", [(), ("-static", "-no-pie"), ("-static-pie",)])
def test_a_program_of_any_kind_is_checked(
    tmp_path: Path, check: Check, flags: tuple[str, ...]
) -> None:
    build_elf(tmp_path / "bin/x", program=True, flags=flags)
    (tmp_path / "x.jar").write_bytes(b"PK\x03\x04")
    assert check("BF002", allow_empty=False) == []


def test_the_library_in_a_zip_archive_of_any_suffix_is_checked(tmp_path: Path) -> None:
    library = build_elf(tmp_path / "liba.so", soname="liba.so")
    with zipfile.ZipFile(tmp_path / "a.jar", "w") as jar:
        jar.write(library, "linux/liba.so")
    assert run_bundle_fix("check", tmp_path / "a.jar").returncode == 0
