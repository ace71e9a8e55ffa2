"""Wheels that are checked, fixed, installed and run."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix
from builders.wheel import INFO, MAIN, NAME, build_wheel, format_record_line, read_wheel

pytestmark = pytest.mark.any_program


def build_broken_wheel(tmp_path: Path, **more: str) -> Path:
    """Build a wheel with three copies of a library, as from symlinks, and without RUNPATH."""
    package = tmp_path / "tree/demo"
    build_elf(package / "lib/libx.so.4.6", soname="libx.so.4", tag="shipped")
    for name in ("libx.so", "libx.so.4"):
        shutil.copy(package / "lib/libx.so.4.6", package / "lib" / name)
    build_elf(package / "bin/server", program=True, needed=["libx.so.4"])
    (package / "__init__.py").write_text(MAIN)
    return build_wheel(tmp_path / "tree", tmp_path / NAME, **more)


def fix_wheel(path: Path) -> Path:
    out = path.parent / "out"
    out.mkdir()
    done = run_bundle_fix("fix", path, "-o", out)
    assert (done.returncode, done.stdout) == (0, f"{out}/{path.name}\n"), done.stderr
    return out / path.name


def install_and_run(path: Path, directory: Path, *tool: str) -> str:
    """Install, run the console entry point in an unrelated directory, and return its output."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    subprocess.run([*tool, "install", "--no-deps", path], check=True, capture_output=True)
    program = directory / "bin/demo"
    return subprocess.run([program], cwd="/", capture_output=True, text=True, check=True).stdout


def test_the_program_of_a_fixed_wheel_finds_its_library(tmp_path: Path) -> None:
    path = build_broken_wheel(tmp_path)
    assert run_bundle_fix("check", path).returncode == 1
    fix_wheel(path)
    assert run_bundle_fix("check", "--fail-on", "warning", tmp_path / "out" / NAME).returncode == 0


def test_no_name_of_a_library_disappears(tmp_path: Path) -> None:
    path = build_broken_wheel(tmp_path)
    assert list(read_wheel(fix_wheel(path))) == list(read_wheel(path))


def test_record_matches_a_fixed_wheel_and_other_members_are_not_changed(tmp_path: Path) -> None:
    path = build_broken_wheel(tmp_path)
    before, after = read_wheel(path), read_wheel(fix_wheel(path))
    rows = after[f"{INFO}/RECORD"].decode().splitlines()
    assert rows[:-1] == [
        format_record_line(n, c) for n, c in after.items() if n != f"{INFO}/RECORD"
    ]
    assert rows[-1] == f"{INFO}/RECORD,,"
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"demo/bin/server", f"{INFO}/RECORD"}


def test_a_fixed_wheel_can_be_installed_with_pip(tmp_path: Path) -> None:
    path = fix_wheel(build_broken_wheel(tmp_path))
    pip = (sys.executable, "-m", "pip", "--python", str(tmp_path / "env"))
    assert install_and_run(path, tmp_path / "env", *pip) == "shipped\nmain\n"


def test_a_fixed_wheel_can_be_installed_with_uv(tmp_path: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
    if uv is None:
        pytest.skip("uv is not installed")
    path = build_broken_wheel(tmp_path)
    assert run_bundle_fix("fix", path).returncode == 0
    fixed = path.with_name(NAME.replace(".whl", ".fixed.whl"))
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    subprocess.run(
        [uv, "pip", "install", "--python", env / "bin/python", "--no-deps", fixed], check=True
    )
    ran = subprocess.run([env / "bin/demo"], cwd="/", capture_output=True, text=True, check=True)
    assert ran.stdout == "shipped\nmain\n"


def build_wheel_without_soname(tmp_path: Path, **more: str) -> Path:
    """Build a wheel whose library is only stored under the name with its full version."""
    package = tmp_path / "tree/demo"
    build_elf(package / "lib/libx.so.4.6", soname="libx.so.4", tag="shipped")
    build_elf(package / "bin/server", program=True, needed=["libx.so.4"], runpath="$ORIGIN/../lib")
    (package / "__init__.py").write_text(MAIN)
    return build_wheel(tmp_path / "tree", tmp_path / NAME, **more)


def test_a_library_is_renamed_if_nothing_asks_for_its_old_name(tmp_path: Path) -> None:
    members = read_wheel(fix_wheel(build_wheel_without_soname(tmp_path)))
    assert [name for name in members if "/lib/" in name] == ["demo/lib/libx.so.4"]


def test_a_library_whose_name_is_in_python_code_is_copied(tmp_path: Path) -> None:
    (tmp_path / "tree/demo").mkdir(parents=True)
    (tmp_path / "tree/demo/code.py").write_text('import ctypes\nctypes.CDLL("libx.so.4.6")\n')
    path = build_wheel_without_soname(tmp_path)
    done = run_bundle_fix("fix", path, "-o", tmp_path / "out.whl")
    assert "demo/lib/libx.so.4.6: name kept: demo/code.py contains it" in done.stderr
    assert {"demo/lib/libx.so.4.6", "demo/lib/libx.so.4"} < set(read_wheel(tmp_path / "out.whl"))


def test_a_wheel_with_only_a_wrong_record_gets_a_new_one(tmp_path: Path) -> None:
    path = fix_wheel(build_broken_wheel(tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo/more.py", "")
    done = run_bundle_fix("fix", path, "-o", tmp_path / "new.whl")
    assert f"BF640 wheel-record:\n  {INFO}/RECORD: renewed" in done.stderr
    found = run_bundle_fix("check", "--fail-on", "warning", tmp_path / "new.whl")
    assert found.returncode == 0


def test_signatures_of_the_old_record_are_removed_and_reported(tmp_path: Path) -> None:
    path = build_broken_wheel(tmp_path, **{"RECORD.jws": "{}"})
    done = run_bundle_fix("fix", path, "-o", tmp_path / "out.whl")
    assert f"{INFO}/RECORD.jws: removed: it is a signature of the old RECORD" in done.stderr
    members = read_wheel(tmp_path / "out.whl")
    assert f"{INFO}/RECORD.jws" not in members
    names = [row[0] for row in csv.reader(members[f"{INFO}/RECORD"].decode().splitlines())]
    assert sorted(names) == sorted(members)


def test_fixing_a_fixed_wheel_changes_no_byte(tmp_path: Path) -> None:
    path = fix_wheel(build_broken_wheel(tmp_path))
    done = run_bundle_fix("fix", path, "-o", tmp_path / "again.whl")
    assert "nothing to fix" in done.stderr
    assert (tmp_path / "again.whl").read_bytes() == path.read_bytes()


def test_a_member_missing_from_record_is_a_finding(tmp_path: Path) -> None:
    path = fix_wheel(build_broken_wheel(tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo/more.py", "")
    found = run_bundle_fix("check", path)
    assert "BF640" in found.stdout
    assert "does not list demo/more.py" in found.stdout.replace("\n      ", " ")


def test_a_program_that_pip_installs_away_from_its_library_is_a_finding(tmp_path: Path) -> None:
    build_elf(tmp_path / "tree/demo/lib/libx.so.4", soname="libx.so.4")
    build_elf(
        tmp_path / "tree/demo-1.0.data/scripts/server",
        program=True, needed=["libx.so.4"], runpath="$ORIGIN/../../demo/lib",
    )  # fmt: skip
    found = run_bundle_fix("check", build_wheel(tmp_path / "tree", tmp_path / NAME))
    assert found.returncode == 1
    assert "BF641" in found.stdout


def test_a_program_inside_a_package_is_not_a_finding(tmp_path: Path) -> None:
    build_elf(tmp_path / "tree/demo/lib/libx.so.4", soname="libx.so.4")
    build_elf(
        tmp_path / "tree/demo/bin/server",
        program=True, needed=["libx.so.4"], runpath="$ORIGIN/../lib",
    )  # fmt: skip
    found = run_bundle_fix("check", build_wheel(tmp_path / "tree", tmp_path / NAME))
    assert (found.returncode, "BF64" in found.stdout) == (0, False)
