"""``bundle-fix inspect`` of running programs and of their core files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from builders.elf import build_elf
from builders.processes import dump_core, make_server_pack, run_waiting
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.cli.main import main
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.manifest.builder import build_manifest
from bundle_fix.manifest.model import encode_manifest
from bundle_fix.report.schemas import SCHEMAS


def inspect_as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    status = main(["inspect", "--format", "json", *map(str, arguments)])
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMAS["inspect"]())
    return {**report, "status": status}


def test_a_healthy_server_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = make_server_pack(tmp_path / "pack")
    with run_waiting(pack / "bin/server") as pid:
        report = inspect_as_json(capsys, pid, "--against", pack)
    assert (report["verdict"], report["status"]) == ("clean", 0)
    objects = report["objects"]
    assert isinstance(objects, list)
    assert [o["member"] for o in objects if o["origin"] == "pack"] == [
        "bin/server", "lib/libheap.so.4",
    ]  # fmt: skip
    library = next(o for o in objects if o["member"] == "lib/libheap.so.4")
    assert (library["rule"]["code"], library["rule"]["owner"]) == ("runpath", "bin/server")


def test_a_library_of_ld_library_path_displaces_that_of_the_pack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = make_server_pack(tmp_path / "pack")
    other = build_elf(tmp_path / "old/libheap.so.4", soname="libheap.so.4", tag="old")
    with run_waiting(pack / "bin/server", LD_LIBRARY_PATH=str(other.parent)) as pid:
        report = inspect_as_json(capsys, pid, "--against", pack)
        core = dump_core(pid, tmp_path / "core")
    for found in (report, inspect_as_json(capsys, core, "--against", pack)):
        assert (found["verdict"], found["status"]) == ("displaced", 1)
        objects = found["objects"]
        assert isinstance(objects, list)
        (library,) = [o for o in objects if o["displaces"]]
        assert (library["path"], library["displaces"]) == (str(other), "lib/libheap.so.4")
        assert library["rule"]["code"] == "ld_library_path"


def test_the_verdict_comes_first_and_names_both_files(tmp_path: Path) -> None:
    pack = make_server_pack(tmp_path / "pack")
    other = build_elf(tmp_path / "old/libheap.so.4", soname="libheap.so.4", tag="old")
    with run_waiting(pack / "bin/server", LD_LIBRARY_PATH=str(other.parent)) as pid:
        done = run_bundle_fix("inspect", str(pid), "--against", pack, "-q")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:3] == [
        f"DISPLACED: process {pid} (server) loaded another copy of 1 library of pack",
        f"  loaded:     {other} (LD_LIBRARY_PATH {other.parent})",
        "  not loaded: lib/libheap.so.4 of the pack",
    ]


def test_a_process_that_does_not_exist_is_one_line() -> None:
    done = run_bundle_fix("inspect", "4194999")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bundle-fix: error: process 4194999: no such process, or it has ended\n"


def test_a_library_that_was_replaced_on_disk_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = make_server_pack(tmp_path / "pack")
    with run_waiting(pack / "bin/server") as pid:
        (pack / "lib/libheap.so.4").unlink()
        build_elf(pack / "lib/libheap.so.4", soname="libheap.so.4", tag="new")
        report = inspect_as_json(capsys, pid, "--against", pack)
    assert (report["verdict"], report["status"]) == ("replaced", 1)


def test_the_pack_of_a_process_is_found_by_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_server_pack(tmp_path / "pack")
    bundle = read_bundle(read_directory(root), "pack")
    manifest = encode_manifest(build_manifest(bundle, "server-2.5", {}))
    (root / "bundle-manifest.json").write_bytes(manifest)
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs/server-2.5.json").write_bytes(manifest)
    with run_waiting(root / "bin/server") as pid:
        for arguments in ((), ("--against", tmp_path / "packs")):
            report = inspect_as_json(capsys, pid, *arguments)
            assert (report["verdict"], report["status"]) == ("clean", 0)
            assert report["pack"] == {"name": "server-2.5", "root": str(root)}


def test_a_directory_without_packs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(os.getpid()), "--against", str(tmp_path)]) == 2
    assert "it contains no programs and no libraries" in capsys.readouterr().err


def test_the_text_on_all_processes_shows_those_of_the_pack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make_server_pack(tmp_path / "pack")
    with run_waiting(pack / "bin/server") as pid:
        monkeypatch.setattr(
            "bundle_fix.cli.inspect.list_process_ids", lambda: [pid, os.getpid(), 4194999]
        )
        assert main(["inspect", "--all", "--against", str(pack)]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert (
        first == f"CLEAN: process {pid} (server): 2 objects from pack, none displaced or replaced"
    )
    assert last == "2 processes: 1 of a pack, 0 with displaced or replaced files"


@pytest.mark.usefixtures("unprivileged_user")
def test_a_process_of_another_user_needs_a_capability(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root has a parent process that another user may not read")
    pid = os.getppid()
    assert main(["inspect", str(pid)]) == 2
    assert capsys.readouterr().err == (
        f"bundle-fix: error: process {pid}: no permission to read its memory map (run as the user"
        " of the process, or as root (CAP_SYS_PTRACE))\n"
    )
