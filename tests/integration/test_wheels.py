"""Wheels are checked, mended, and then installed and run."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builders.elf import elf
from builders.run import run_bundle_fix
from builders.wheel import INFO, MAIN, NAME, build_wheel, format_record_line, read_wheel


def broken(tmp_path: Path, **more: str) -> Path:
    """A wheel as links in an install tree make it: three copies, and no RUNPATH."""
    package = tmp_path / "tree/demo"
    elf(package / "lib/libx.so.4.6", soname="libx.so.4", tag="shipped")
    for name in ("libx.so", "libx.so.4"):
        shutil.copy(package / "lib/libx.so.4.6", package / "lib" / name)
    elf(package / "bin/server", program=True, needed=["libx.so.4"])
    (package / "__init__.py").write_text(MAIN)
    return build_wheel(tmp_path / "tree", tmp_path / NAME, **more)


def mended(path: Path) -> Path:
    out = path.parent / "out"
    out.mkdir()
    done = run_bundle_fix("fix", path, "-o", out)
    assert (done.returncode, done.stdout) == (0, f"{out}/{path.name}\n"), done.stderr
    return out / path.name


def installed(path: Path, directory: Path, *tool: str) -> str:
    """What the console entry point prints, started from an unrelated folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    subprocess.run([*tool, "install", "--no-deps", path], check=True, capture_output=True)
    program = directory / "bin/demo"
    return subprocess.run([program], cwd="/", capture_output=True, text=True, check=True).stdout


def test_a_library_lands_once_under_its_soname_and_the_program_finds_it(tmp_path: Path) -> None:
    path = broken(tmp_path)
    assert run_bundle_fix("check", path).returncode == 1
    held = read_wheel(mended(path))
    assert [name for name in held if name.startswith("demo/lib/")] == ["demo/lib/libx.so.4"]
    assert run_bundle_fix("check", "--fail-on", "warning", tmp_path / "out" / NAME).returncode == 0


def test_record_tells_what_is_in_a_mended_wheel_and_all_else_is_as_it_was(tmp_path: Path) -> None:
    path = broken(tmp_path)
    before, after = read_wheel(path), read_wheel(mended(path))
    rows = after[f"{INFO}/RECORD"].decode().splitlines()
    assert rows[:-1] == [
        format_record_line(n, c) for n, c in after.items() if n != f"{INFO}/RECORD"
    ]
    assert rows[-1] == f"{INFO}/RECORD,,"
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"demo/bin/server", f"{INFO}/RECORD"}


def test_a_mended_wheel_installs_with_pip_and_runs(tmp_path: Path) -> None:
    path = mended(broken(tmp_path))
    pip = (sys.executable, "-m", "pip", "--python", str(tmp_path / "env"))
    assert installed(path, tmp_path / "env", *pip) == "shipped\nmain\n"


def test_a_mended_wheel_installs_with_uv_and_runs(tmp_path: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
    if uv is None:
        pytest.skip("uv is not installed")
    path = broken(tmp_path)
    assert run_bundle_fix("fix", path).returncode == 0
    fixed = path.with_name(NAME.replace(".whl", ".fixed.whl"))
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    subprocess.run(
        [uv, "pip", "install", "--python", env / "bin/python", "--no-deps", fixed], check=True
    )
    ran = subprocess.run([env / "bin/demo"], cwd="/", capture_output=True, text=True, check=True)
    assert ran.stdout == "shipped\nmain\n"


def test_a_copy_that_python_code_opens_by_its_name_stays(tmp_path: Path) -> None:
    path = broken(tmp_path)
    (tmp_path / "tree/demo/code.py").write_text('import ctypes\nctypes.CDLL("libx.so")\n')
    path = build_wheel(tmp_path / "tree", tmp_path / NAME)
    out = tmp_path / "out.whl"
    done = run_bundle_fix("fix", path, "-o", out)
    assert "demo/lib/libx.so: name kept: demo/code.py contains it" in done.stderr
    assert {"demo/lib/libx.so", "demo/lib/libx.so.4"} < set(read_wheel(out))
    assert "demo/lib/libx.so.4.6" not in read_wheel(out)


def test_signatures_over_the_old_record_are_dropped_and_told(tmp_path: Path) -> None:
    path = broken(tmp_path, **{"RECORD.jws": "{}"})
    done = run_bundle_fix("fix", path, "-o", tmp_path / "out.whl")
    assert f"{INFO}/RECORD.jws: removed: it is a signature of the old RECORD" in done.stderr
    held = read_wheel(tmp_path / "out.whl")
    assert f"{INFO}/RECORD.jws" not in held
    names = [row[0] for row in csv.reader(held[f"{INFO}/RECORD"].decode().splitlines())]
    assert sorted(names) == sorted(held)


def test_mending_a_mended_wheel_changes_nothing(tmp_path: Path) -> None:
    path = mended(broken(tmp_path))
    done = run_bundle_fix("fix", path, "-o", tmp_path / "again.whl")
    assert "nothing to fix" in done.stderr
    assert (tmp_path / "again.whl").read_bytes() == path.read_bytes()


def test_a_record_that_lies_is_found(tmp_path: Path) -> None:
    path = mended(broken(tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo/more.py", "")
    found = run_bundle_fix("check", path)
    assert "BF640" in found.stdout
    assert "does not list demo/more.py" in found.stdout.replace("\n      ", " ")


def test_a_program_that_pip_puts_elsewhere_than_its_library_is_found(tmp_path: Path) -> None:
    elf(tmp_path / "tree/demo/lib/libx.so.4", soname="libx.so.4")
    elf(
        tmp_path / "tree/demo-1.0.data/scripts/server",
        program=True, needed=["libx.so.4"], runpath="$ORIGIN/../../demo/lib",
    )  # fmt: skip
    found = run_bundle_fix("check", build_wheel(tmp_path / "tree", tmp_path / NAME))
    assert found.returncode == 1
    assert "BF641" in found.stdout


def test_a_program_in_a_package_is_no_finding(tmp_path: Path) -> None:
    elf(tmp_path / "tree/demo/lib/libx.so.4", soname="libx.so.4")
    elf(
        tmp_path / "tree/demo/bin/server",
        program=True, needed=["libx.so.4"], runpath="$ORIGIN/../lib",
    )  # fmt: skip
    found = run_bundle_fix("check", build_wheel(tmp_path / "tree", tmp_path / NAME))
    assert (found.returncode, "BF64" in found.stdout) == (0, False)
