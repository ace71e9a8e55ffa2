"""``bundle-fix patchelf``: the command line of patchelf."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from elf.support import read_image_of, read_with_readelf

from builders.elf import build_elf
from builders.run import run_bundle_fix

PATH = "/opt/one:/opt/two"


def run_patchelf(*arguments: str | Path) -> str:
    done = run_bundle_fix("patchelf", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_values_are_printed_in_the_order_of_patchelf(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, needed=["liba.so.1"], runpath=PATH)
    printed = run_patchelf(
        path, "--print-needed", "--print-execstack", "--print-rpath", "--print-soname",
        "--print-os-abi", "--print-interpreter", "--set-rpath", "/new",
    )  # fmt: skip
    assert printed.splitlines() == [
        read_image_of(path).interpreter, "System V", PATH, "execstack: -", "liba.so.1",
        "libc.so.6",
    ]  # fmt: skip
    assert read_with_readelf(path).runpath == "/new"


def test_the_search_path_becomes_a_runpath_unless_rpath_is_forced(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "libx.so", rpath=PATH)
    run_patchelf("--add-rpath", "/opt/3", path)
    assert read_with_readelf(path).runpath == f"{PATH}:/opt/3"
    run_patchelf("--force-rpath", "--add-rpath", "/opt/4", path)
    found = read_with_readelf(path)
    assert (found.runpath, found.rpath) == (None, f"{PATH}:/opt/3:/opt/4")
    run_patchelf("--remove-rpath", path)
    found = read_with_readelf(path)
    assert (found.runpath, found.rpath) == (None, None)


def test_shrinking_keeps_the_first_directory_with_a_needed_library(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_elf(tmp_path / name / "liba.so.1")
    entries = [f"{tmp_path}/none", f"{tmp_path}/a", "$ORIGIN/x", f"{tmp_path}/b"]
    path = build_elf(tmp_path / "libx.so", needed=["liba.so.1"], runpath=":".join(entries))
    copy = tmp_path / "copy.so"
    run_patchelf("--shrink-rpath", path, "--output", copy)
    assert read_with_readelf(copy).runpath == f"{tmp_path}/a:$ORIGIN/x"
    run_patchelf("--shrink-rpath", "--allowed-rpath-prefixes", f"/none:{tmp_path}/b", path)
    assert read_with_readelf(path).runpath == f"$ORIGIN/x:{tmp_path}/b"


def test_values_may_come_from_files(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "libx.so")
    (tmp_path / "path").write_text("/from/file")
    run_patchelf("--set-rpath", f"@{tmp_path / 'path'}", path)
    assert run_patchelf("--print-rpath", path) == "/from/file\n"
    done = run_bundle_fix("patchelf", "--set-rpath", "@/missing", path)
    assert (done.returncode, done.stderr) == (
        1, "patchelf: getting info about '/missing': No such file or directory\n",
    )  # fmt: skip


def test_names_are_removed_then_replaced_then_added(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "libx.so", needed=["liba.so.1", "libb.so.1"])
    run_patchelf(
        "--add-needed", "libz.so", "--add-needed", "liby.so", "--remove-needed", "liba.so.1",
        "--replace-needed", "libb.so.1", "libB.so.1", "--replace-needed", "liba.so.1", "no.so",
        path,
    )  # fmt: skip
    assert read_with_readelf(path).needed == ("liby.so", "libz.so", "libB.so.1", "libc.so.6")


def test_an_output_is_written_even_without_a_change(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "libx.so")
    run_patchelf(path, "--output", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    run_patchelf(path, "--set-soname", "liby.so", "--output", os.devnull)
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set-rpath"], "missing argument"),
        (["--print-rpath"], "missing filename"),
        (["--page-size", "0", "x"], "invalid argument to --page-size"),
        (["--output", "o", "a", "b"], "only allowed with single input file"),
        (["--set-rpath", "a", "--add-rpath", "b", "x"], "not allowed with"),
        (["--print-rpath", "missing"], "No such file or directory"),
        (["--set-os-abi", "none", "x"], "No such file or directory"),
        (["--build-resolution-cache", "x"], "only the loader of NixOS"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_bundle_fix("patchelf", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("patchelf: ")
    assert message in done.stderr


def test_the_version_is_one_that_scripts_understand() -> None:
    assert run_patchelf("--version").startswith("patchelf 0.")
    done = run_bundle_fix("patchelf")
    assert done.returncode == 1
    assert "--set-interpreter" in done.stderr
