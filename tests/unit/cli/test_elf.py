"""``bundle-fix elf``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from elf.support import read_with_readelf, run_tool

from builders.elf import build_elf
from builders.run import run_bundle_fix

OLD = "/opt/build/thirdparty/output/lib"
SCHEMA = {
    "path": str, "class": int, "byte_order": str, "machine": str, "type": str,
    "interpreter": str | None, "soname": str | None, "needed": list, "rpath": str | None,
    "runpath": str | None, "build_id": str | None, "flags": list, "os_abi": str,
    "executable_stack": bool | None,
}  # fmt: skip


def build_library(directory: Path, name: str = "libx.so.1") -> Path:
    flags = ["-Wl,-z,now,-z,nodefaultlib,--build-id"]
    needed = ["libdep.so.1"]
    return build_elf(directory / name, soname=name, needed=needed, runpath=OLD, flags=flags)


def test_json_has_the_values_that_readelf_prints(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    (record,) = json.loads(run_bundle_fix("elf", "--format", "json", path).stdout)
    assert list(record) == list(SCHEMA)
    assert all(isinstance(record[key], kind) for key, kind in SCHEMA.items())
    theirs = read_with_readelf(path)
    assert (tuple(record["needed"]), record["soname"]) == (theirs.needed, theirs.soname)
    assert (record["rpath"], record["runpath"]) == (None, OLD)
    assert {"BIND_NOW", "NOW", "NODEFLIB"} <= set(record["flags"])
    assert record["build_id"] in run_tool("readelf", "-n", path).stdout
    assert (record["class"], record["byte_order"], record["type"]) == (64, "little", "dyn")


def test_an_edit_prints_only_one_line(tmp_path: Path) -> None:
    """LIEF would report leaked objects on stderr when Python exits."""
    edited = run_bundle_fix(
        "elf", build_library(tmp_path), "--set-runpath", "$ORIGIN", "--in-place"
    )
    assert edited.returncode == 0
    assert edited.stderr.count("\n") == 1


def test_the_text_has_one_line_for_each_value(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    lines = run_bundle_fix("elf", path).stdout.splitlines()
    assert lines[0] == f"{path}:"
    assert lines[1].startswith("  type         dyn (shared object), 64-bit")
    assert "  soname       libx.so.1" in lines
    assert "  needed       libdep.so.1" in lines
    assert f"  runpath      {OLD}" in lines


def test_the_values_of_one_field_are_printed_one_per_line(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    assert run_bundle_fix("elf", "--print", "runpath", path).stdout == f"{OLD}\n"
    assert run_bundle_fix("elf", "--print", "rpath", path).stdout == ""
    needed = run_bundle_fix("elf", "--print", "needed", path).stdout.splitlines()
    assert tuple(needed) == read_with_readelf(path).needed


def test_several_changes_are_made_in_one_run(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    done = run_bundle_fix(
        "elf", "-v", "--set-rpath", "$ORIGIN", "--set-soname", "liby.so.2", "--in-place", path,
        "--replace-needed", "libdep.so.1", "libother.so.1", "--remove-needed", "libc.so.6",
        "--add-needed", "liba.so", "--add-needed", "libb.so",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    found = read_with_readelf(path)
    assert found.needed == ("liba.so", "libb.so", "libother.so.1")
    assert (found.soname, found.rpath, found.runpath) == ("liby.so.2", "$ORIGIN", None)
    assert f"{path}: RUNPATH {OLD} became RPATH $ORIGIN [" in done.stderr
    assert f"{path}: soname libx.so.1 became liby.so.2 [" in done.stderr
    assert f"{path}: no longer needs libc.so.6 [" in done.stderr
    assert f"{path}: note: it still requires versions of libc.so.6" in done.stderr


def test_a_needed_name_is_added_only_once(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    options = ("--add-needed", "libdep.so.1", "--add-needed", "libn.so", "--add-needed", "libn.so")
    run_bundle_fix("elf", "--in-place", path, *options)
    assert read_with_readelf(path).needed == ("libn.so", "libdep.so.1", "libc.so.6")


@pytest.mark.parametrize(
    "option", [("--remove-runpath",), ("--remove-rpath",), ("--set-rpath", "")]
)
@pytest.mark.parametrize("kind", ["rpath", "runpath"])
def test_the_search_path_is_removed_from_rpath_and_runpath(
    tmp_path: Path, option: tuple[str, ...], kind: str
) -> None:
    path = build_elf(tmp_path / "libx.so", **{kind: OLD})  # type: ignore[arg-type]
    assert run_bundle_fix("elf", *option, "--in-place", path).returncode == 0
    found = read_with_readelf(path)
    assert (found.rpath, found.runpath) == (None, None)


def test_json_after_an_edit_names_the_editor_and_the_reasons_against_others(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    options = ("--set-runpath", OLD + "/and/more", "--remove-needed", "libq.so", "--in-place")
    (record,) = json.loads(run_bundle_fix("elf", "--format", "json", *options, path).stdout)
    assert list(record) == [*SCHEMA, "editor", "skipped", "remarks"]
    assert record["runpath"] == OLD + "/and/more"
    assert record["editor"] == "table"
    assert record["skipped"] == [
        "slot: not enough space: no removed string in .dynstr is long enough"
    ]
    assert record["remarks"] == ["libq.so is not needed"]
    (again,) = json.loads(run_bundle_fix("elf", "--format", "json", *options, path).stdout)
    assert again["editor"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set-runpath", "a", "--set-rpath", "b"), "exclude each other"),
        (("--set-runpath", "a", "--remove-runpath"), "cannot be both set and removed"),
        (("--set-soname", ""), "a soname cannot be empty"),
        (("--set-soname", "a\nb"), "'a\\nb' contains a NUL or another control"),
        (("--add-needed", "a", "--remove-needed", "a"), "DT_NEEDED a is both added and removed"),
        (
            ("--replace-needed", "a", "b", "--remove-needed", "a"),
            "DT_NEEDED a is both replaced and removed",
        ),
        (
            ("--replace-needed", "a", "b", "--remove-needed", "b"),
            "DT_NEEDED b is both added and removed",
        ),
        (
            ("--replace-needed", "a", "b", "--replace-needed", "a", "c"),
            "DT_NEEDED a is replaced by two names",
        ),
        (
            ("--replace-needed", "a", "b", "--add-needed", "a"),
            "DT_NEEDED a is both replaced and added",
        ),
        (("--add-needed", ""), "a needed name cannot be empty"),
        (("--remove-needed", ""), "a needed name cannot be empty"),
    ],
)
def test_contradictory_options_are_refused_in_one_line(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    path = build_library(tmp_path)
    before = path.read_bytes()
    done = run_bundle_fix("elf", "--in-place", *options, path)
    assert (done.returncode, done.stdout, path.read_bytes()) == (2, "", before)
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_an_empty_entry_is_reported_to_mean_the_working_directory(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    done = run_bundle_fix("elf", "--set-runpath", "$ORIGIN:", "--in-place", path)
    assert done.returncode == 0
    assert "note: an empty entry in $ORIGIN: means the working directory" in done.stderr


def test_an_edit_requires_in_place_or_an_output(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    for options in ((), ("--in-place", "-o", tmp_path / "out")):
        done = run_bundle_fix("elf", "--set-runpath", "a", path, *options)
        assert done.returncode == 2
        assert "(use --in-place or -o OUT)" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["libx.so.1"]


def test_options_without_a_change_are_refused(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    done = run_bundle_fix("elf", "--in-place", path)
    assert (done.returncode, "missing change; add an option" in done.stderr) == (2, True)


def test_the_output_keeps_the_mode_and_the_input_is_not_changed(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    path.chmod(0o711)
    before = path.read_bytes()
    out = tmp_path / "out.so"
    done = run_bundle_fix("elf", "--set-runpath", "$ORIGIN", "-o", out, path)
    assert (done.returncode, done.stdout, path.read_bytes()) == (0, f"{out}\n", before)
    assert out.stat().st_mode & 0o7777 == 0o711
    assert read_with_readelf(out).runpath == "$ORIGIN"


def test_several_files_are_written_to_a_directory_or_in_place(tmp_path: Path) -> None:
    files = [build_library(tmp_path, name) for name in ("liba.so", "libb.so")]
    out = tmp_path / "out"
    refused = run_bundle_fix("elf", "--set-runpath", "a", "-o", out, *files)
    assert (refused.returncode, out.exists()) == (2, False)
    out.mkdir()
    assert run_bundle_fix("elf", "--set-runpath", "$ORIGIN", "-o", out, *files).returncode == 0
    assert [read_with_readelf(out / file.name).runpath for file in files] == ["$ORIGIN"] * 2
    assert run_bundle_fix("elf", "--remove-runpath", "--in-place", *files).returncode == 0
    assert [read_with_readelf(file).runpath for file in files] == [None] * 2


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    done = run_bundle_fix("elf", "--set-runpath", "a", "-o", tmp_path, path)
    assert (done.returncode, "the output is the input" in done.stderr) == (2, True)


def write_uneditable_files(directory: Path) -> dict[str, Path]:
    """Write one file of every kind that is never edited, and return them by name."""
    (directory / "script").write_text("#!/bin/sh\n")
    source = directory / "x.c"
    source.write_text("int main(void) { return 0; }\n")
    builds = {
        "static": ["-static"],
        "static-pie": ["-static-pie"],
        "object.o": ["-c"],
    }
    for name, flags in builds.items():
        subprocess.run(["cc", *flags, source, "-o", directory / name], check=True)
    whole = build_elf(directory / "whole", program=True)
    if shutil.which("objcopy"):
        command = ["objcopy", "--only-keep-debug", str(whole), f"{directory}/whole.debug"]
        subprocess.run(command, check=True)
    shutil.copy("/lib64/ld-linux-x86-64.so.2", directory / "loader")
    source.unlink()
    whole.unlink()
    return {path.name: path for path in directory.iterdir()}


def test_files_of_other_kinds_are_not_changed_and_reported(tmp_path: Path) -> None:
    if not Path("/lib64/ld-linux-x86-64.so.2").exists():
        pytest.skip("no x86-64 loader")
    (tmp_path / "f").mkdir()
    files = write_uneditable_files(tmp_path / "f")
    good = build_library(tmp_path)
    before = {name: path.read_bytes() for name, path in files.items()}
    done = run_bundle_fix("elf", "--set-runpath", "$ORIGIN", "--in-place", *files.values(), good)
    assert (done.returncode, done.stdout) == (1, f"{good}\n")
    assert {name: path.read_bytes() for name, path in files.items()} == before
    assert read_with_readelf(good).runpath == "$ORIGIN"
    for path in files.values():
        assert f"bundle-fix: left alone: {path}: " in done.stderr
    del files["script"]
    assert run_bundle_fix("elf", *files.values()).returncode == 0
    assert run_bundle_fix("elf", tmp_path / "f/script").returncode == 1


def test_a_missing_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "torn").write_bytes(b"\x7fELF" + bytes(20))
    for name in ("none", "torn", "."):
        for options in ((), ("--set-runpath", "a", "--in-place")):
            done = run_bundle_fix("elf", *options, tmp_path / name)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert json.loads(run_bundle_fix("elf", "--format", "json", tmp_path / "none").stdout) == []


def test_a_payload_after_the_program_keeps_its_offset(tmp_path: Path) -> None:
    # An AppImage or a self-extracting installer finds its payload after its own section headers, or
    # at a fixed distance from the end of the file.
    path = build_elf(tmp_path / "x", program=True, runpath=OLD)
    payload = os.urandom(100_000)
    with path.open("ab") as file:
        file.write(payload)
    size = path.stat().st_size
    assert (
        run_bundle_fix("elf", "--set-runpath", OLD + "/x" * 40, "--in-place", path).returncode == 0
    )
    assert path.stat().st_size == size
    assert path.read_bytes()[-len(payload) :] == payload
    assert run_tool(path).stdout == "main\n"


def test_a_runpath_can_be_made_longer_and_shorter_repeatedly(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x", program=True, runpath="/a")
    size = path.stat().st_size
    for length in (10, 3, 90, 40, 200, 1, 150):
        done = run_bundle_fix("elf", "--set-runpath", "/" + "l" * length, "--in-place", path)
        assert done.returncode == 0, done.stderr
        assert run_tool(path).stdout == "main\n"
    assert path.stat().st_size == size


def test_patchelfs_verbs_share_one_edit(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    done = run_bundle_fix(
        "elf", "--in-place", path, "--set-execstack", "--set-os-abi", "linux", "--no-default-lib",
        "--add-debug-tag", "--add-rpath", "/opt/x", "--set-soname", "libz.so",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{path}: OS ABI System V became Linux\n" in done.stderr
    assert f"{path}: non-executable stack became executable stack\n" in done.stderr
    printed = run_bundle_fix(
        "elf", path, "--print-rpath", "--print-execstack", "--print-os-abi", "--print-soname"
    )
    assert printed.stdout.splitlines() == ["Linux", "libz.so", f"{OLD}:/opt/x", "execstack: X"]


def test_the_search_path_shrinks_in_each_file_by_itself(tmp_path: Path) -> None:
    build_library(tmp_path / "lib", "libdep.so.1")
    path = build_library(tmp_path)
    run_bundle_fix("elf", path, "--in-place", "--add-rpath", f"$ORIGIN:{tmp_path}/lib")
    done = run_bundle_fix("elf", path, "--in-place", "--shrink-rpath", "--force-rpath")
    assert done.returncode == 0, done.stderr
    assert read_with_readelf(path).rpath == f"$ORIGIN:{tmp_path}/lib"
