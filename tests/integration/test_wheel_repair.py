"""``fix --repair-wheel``: a wheel that needs libraries of this machine works on others."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_source
from builders.elf import build_elf
from builders.run import run_bundle_fix
from builders.wheel import INFO, NAME, build_wheel, read_wheel

pytestmark = pytest.mark.any_program

SCRIPT = "demo-1.0.data/scripts/tool"


def build_unrepaired_wheel(tmp_path: Path, *, plugin: str = "libplugin.so.1") -> Path:
    """Build a wheel whose module needs a library that needs another, outside of the wheel.

    The module opens a plugin by its name, and a script is a program that needs the library.
    """
    third = tmp_path / "third"
    build_elf(third / "libdeep.so.2.1", soname="libdeep.so.2", tag="deep")
    (third / "libdeep.so.2").symlink_to("libdeep.so.2.1")
    build_elf(
        third / "libdep.so.1", soname="libdep.so.1", needed=["libdeep.so.2"], runpath="$ORIGIN",
        tag="dep",
    )  # fmt: skip
    build_elf(third / plugin, soname=plugin, tag="plugin")
    tree = tmp_path / "tree"
    build_elf(
        tree / "demo/ext.so", needed=["libdep.so.1"], runpath=str(third),
        source=make_dlopen_source(plugin),
    )  # fmt: skip
    build_elf(tree / SCRIPT, program=True, needed=["libdep.so.1"], runpath=str(third))
    (tree / "demo/__init__.py").write_text("")
    return build_wheel(tree, tmp_path / NAME)


@pytest.fixture(scope="module")
def unrepaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_unrepaired_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def repaired(unrepaired: Path) -> Path:
    out = unrepaired.parent / "out"
    done = run_bundle_fix(
        "fix", "--repair-wheel", unrepaired, "-o", out, "--include", "libplugin.so.1"
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    assert done.stdout == f"{path}\n"
    return path


def run_auditwheel(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_the_libraries_are_bundled_under_names_of_their_own(repaired: Path) -> None:
    names = [re.sub(r"-[0-9a-f]{8}", "-*", n) for n in read_wheel(repaired) if ".libs/" in n]
    assert sorted(names) == [
        "demo.libs/libdeep-*.so.2",
        "demo.libs/libdep-*.so.1",
        "demo.libs/libplugin.so.1",
    ]


def test_the_tag_is_that_of_auditwheel(unrepaired: Path, repaired: Path, tmp_path: Path) -> None:
    run_auditwheel("repair", "-w", tmp_path, unrepaired)
    assert [path.name for path in tmp_path.iterdir()] == [repaired.name]
    tag = repaired.stem.rpartition("-")[2].split(".")[-1]
    assert f'consistent with the following platform tag: "{tag}"' in run_auditwheel(
        "show", repaired
    )


def test_wheel_and_record_match_the_file(repaired: Path) -> None:
    members = read_wheel(repaired)
    tags = re.findall("^Tag: py3-none-(.*)$", members[f"{INFO}/WHEEL"].decode(), re.MULTILINE)
    assert ".".join(tags) == repaired.stem.rpartition("-")[2]
    rows = list(csv.reader(members[f"{INFO}/RECORD"].decode().splitlines()))
    assert sorted(name for name, *_ in rows) == sorted(members)
    assert run_bundle_fix("check", "--fail-on", "warning", repaired).returncode == 0


def test_a_bill_of_materials_lists_the_libraries(repaired: Path) -> None:
    bill = json.loads(read_wheel(repaired)[f"{INFO}/sboms/bundle-fix.cdx.json"])
    names = {component["name"] for component in bill["components"]}
    assert names == {"libdep.so.1", "libdeep.so.2", "libplugin.so.1"}


def test_the_objects_find_the_bundled_libraries_and_no_others(
    repaired: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(repaired) as archive:
        archive.extractall(tmp_path)
    script = f"import ctypes; ctypes.CDLL({str(tmp_path / 'demo/ext.so')!r}).open_it()"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"LD_DEBUG": "files"}, cwd="/",
    )  # fmt: skip
    loaded = re.findall(r"calling init: (.*/lib(?:dep|deep|plugin)\S*)", ran.stderr)
    assert len(loaded) == 3
    assert all(path.startswith(f"{tmp_path}/demo/../demo.libs/") for path in loaded)


def test_a_python_script_starts_a_program_that_needs_a_bundled_library(repaired: Path) -> None:
    members = read_wheel(repaired)
    assert members[SCRIPT].startswith(b"#!python\n")
    assert "demo.scripts/tool" in members[SCRIPT].decode()
    assert members["demo.scripts/tool"].startswith(b"\x7fELF")


def test_an_unchanged_member_keeps_its_bytes(unrepaired: Path, repaired: Path) -> None:
    before, after = read_wheel(unrepaired), read_wheel(repaired)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"demo/ext.so", SCRIPT, f"{INFO}/WHEEL", f"{INFO}/RECORD"}


def test_a_library_that_is_not_found_or_left_to_the_target(tmp_path: Path) -> None:
    build_elf(tmp_path / "tree/demo/ext.so", needed=["libabsent.so.1"])
    wheel = build_wheel(tmp_path / "tree", tmp_path / NAME)
    options = ("fix", "--repair-wheel", wheel, "-o", tmp_path / "out")
    done = run_bundle_fix(*options)
    assert done.returncode == 2
    assert "libabsent.so.1 is not found on this machine" in done.stderr
    assert not list(tmp_path.glob("out/*"))
    done = run_bundle_fix(*options, "--host-provides", "libabsent.so.1")
    assert done.returncode == 0, done.stderr


def test_included_files_and_libraries_are_bundled(tmp_path: Path) -> None:
    build_elf(tmp_path / "tree/demo/ext.so", source=make_dlopen_source("libz.so.1"))
    build_elf(tmp_path / "plugins/x.so", tag="x")
    wheel = build_wheel(tmp_path / "tree", tmp_path / NAME)
    options = ("fix", "--repair-wheel", wheel, "-o", tmp_path / "out")
    found = {
        name: run_bundle_fix(*options, "--include", name)
        for name in ("/absent/x.so", "libc.so.6", f"{tmp_path}/plugins/x.so")
    }
    messages = [done.stderr.partition("error: ")[2].strip() for done in found.values()]
    assert messages[0] == "--include /absent/x.so: no such file"
    assert messages[1].startswith("--include libc.so.6: a part of the C library")
    (path,) = (tmp_path / "out").iterdir()
    assert "demo.libs/x.so" in read_wheel(path)


def test_a_wheel_without_compiled_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree/demo").mkdir(parents=True)
    (tmp_path / "tree/demo/__init__.py").write_text("")
    wheel = build_wheel(tmp_path / "tree", tmp_path / NAME)
    done = run_bundle_fix("fix", "--repair-wheel", wheel, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "the wheel contains no objects for Linux" in done.stderr


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for options in (["--include", "x"], ["--repair-wheel"], ["--repair-wheel", "--dry-run"]):
        assert run_bundle_fix("fix", tmp_path / NAME, *options).returncode == 2
