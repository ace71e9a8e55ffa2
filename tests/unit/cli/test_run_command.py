"""``bundle-fix run``: real programs on a decoy host."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import jsonschema
import pytest

from builders.elf import Toolchain, build_elf
from builders.run import run_bundle_fix
from builders.sandbox import require_sandbox, require_strace
from bundle_fix.report.schemas import build_run_schema

OPENER = """
#include <dlfcn.h>
int main(int count, char **names) {
    for (int i = 1; i < count; i++) dlopen(names[i], RTLD_NOW);
    return 0;
}
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Build a pack with a program that opens its arguments, and a library without search path."""
    require_sandbox()
    root = tmp_path / "pack"
    needed, runpath = ["liba.so.1"], "$ORIGIN/../lib"
    build_elf(root / "bin/x", program=True, needed=needed, runpath=runpath, source=OPENER)
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "lib/libb.so.1", soname="libb.so.1")
    build_elf(root / "lib/plugin.so", soname="plugin.so", needed=["libb.so.1"])
    return root


def test_a_library_that_is_opened_late_and_found_on_the_host_is_an_error(pack: Path) -> None:
    done = run_bundle_fix("run", pack, "--format", "json", "bin/x", "/opt/pack/lib/plugin.so")
    report = json.loads(done.stdout)
    jsonschema.validate(report, build_run_schema())
    (finding,) = (f for f in report["findings"] if f["severity"] == "error")
    assert (finding["rule"], finding["path"]) == ("BF801", "lib/plugin.so")
    assert finding["evidence"]["loaded"].endswith("/decoys/ld.so.cache/x86_64-64/libb.so.1")
    assert (finding["evidence"]["call"], finding["evidence"]["at_start"]) == ("needed", False)
    assert report["opened_files"] == ["bin/x", "lib/liba.so.1", "lib/plugin.so"]
    assert done.returncode == 1


def test_a_program_that_finds_its_own_libraries_passes(pack: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as archive:
        archive.add(pack, "server-1.0")
    done = run_bundle_fix("run", tmp_path / "p.tar.gz", "--", "x", "libnone.so")
    assert (done.returncode, done.stderr) == (0, "liba.so.1\n")
    assert "x opens libnone.so, which was not found" in done.stdout
    assert "1 from the pack, 1 not found" in done.stdout


def test_a_real_library_can_be_the_decoy_of_its_soname(pack: Path, tmp_path: Path) -> None:
    older = build_elf(tmp_path / "older.so", soname="liba.so.1", tag="older")
    done = run_bundle_fix("run", "--decoy", older, "--env", "hostile", pack, "bin/x")
    assert (done.returncode, done.stderr) == (1, "older\n")
    assert "/decoys/LD_LIBRARY_PATH/liba.so.1 was loaded" in " ".join(done.stdout.split())


def test_the_program_changes_nothing_and_has_no_network(pack: Path) -> None:
    script = "touch /opt/pack/new /etc/new; cat /proc/net/dev | grep -c :; id -u; echo $HOME"
    done = run_bundle_fix("run", pack, "sh", "-c", script)
    assert done.returncode == 0
    first, second, *rest = done.stderr.splitlines()
    assert "/opt/pack/new" in first
    assert "/etc/new" in second
    assert rest == ["1", "1000", "/tmp"]  # noqa: S108
    assert not (pack / "new").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 3", "exited with 3"), ("kill -SEGV $$", "died by signal 11 (SIGSEGV)")],
)
def test_a_program_that_fails_is_an_error(pack: Path, script: str, message: str) -> None:
    done = run_bundle_fix("run", pack, "sh", "-c", script)
    assert done.returncode == 1
    assert message in done.stdout


def test_a_server_is_stopped_and_a_program_that_hangs_is_an_error(pack: Path) -> None:
    stopped = run_bundle_fix("run", "--stop-after", "0.1", pack, "sleep", "100")
    assert (stopped.returncode, "(stopped, " in stopped.stdout) == (0, True)
    hung = run_bundle_fix("run", "--timeout", "0.1", pack, "sleep", "100")
    assert "did not end within 0.1 seconds" in hung.stdout
    assert hung.returncode == 1


def test_a_decoy_is_seen_although_its_process_writes_no_record(pack: Path) -> None:
    build_elf(pack / "bin/y", program=True, needed=["libb.so.1"])
    done = run_bundle_fix("run", pack, "--format", "json", "env", "-i", "/opt/pack/bin/y")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["rule"], finding["evidence"]["needed"]) == ("BF801", "libb.so.1")
    assert "opened by a process whose loader wrote no record" in finding["message"]


def test_programs_of_musl_are_observed_by_the_kernel_alone(pack: Path) -> None:
    toolchain = Toolchain("musl-gcc")
    build_elf(pack / "lib/libm1.so.1", soname="libm1.so.1", toolchain=toolchain)
    build_elf(pack / "bin/m", program=True, needed=["libm1.so.1"], toolchain=toolchain)
    done = run_bundle_fix("run", pack, "--format", "json", "bin/m")
    found = {(f["rule"], f["evidence"].get("needed")) for f in json.loads(done.stdout)["findings"]}
    assert {("BF801", "libm1.so.1"), ("BF807", None)} <= found


def test_every_library_is_opened_by_itself(pack: Path) -> None:
    build_elf(pack / "lib/broken.so", needed=["libmissing.so.1"], runpath="$ORIGIN")
    trap = "__attribute__((constructor)) static void loaded(void) { __builtin_trap(); }"
    build_elf(pack / "lib/trap.so", source=trap)
    build_elf(pack / "lib/module.so", source="extern int of_program; int *at = &of_program;")
    done = run_bundle_fix("run", pack, "--open-all", "--format", "json")
    found = [
        (f["severity"], f["rule"], f["path"], f["evidence"].get("needed"))
        for f in json.loads(done.stdout)["findings"]
    ]
    assert sorted(found) == [
        ("error", "BF801", "lib/plugin.so", "libb.so.1"),
        ("error", "BF802", "lib/broken.so", "libmissing.so.1"),
        ("error", "BF806", "lib/trap.so", None),
        ("note", "BF806", "lib/module.so", None),
    ]
    assert done.returncode == 1


def test_a_pack_of_scripts_alone_runs(tmp_path: Path) -> None:
    require_sandbox()
    script = tmp_path / "p/bin/start"
    script.parent.mkdir(parents=True)
    script.write_text('#!/usr/bin/env sh\ncd "$(dirname "$0")" && pwd\n')
    script.chmod(0o755)
    done = run_bundle_fix("run", "--at", "/srv/app", tmp_path / "p", "start")
    assert (done.returncode, done.stderr) == (0, "/srv/app/bin\n")


def test_a_real_host_has_its_own_libraries_and_programs(pack: Path) -> None:
    require_strace()
    done = run_bundle_fix("run", "--host", "/", "-v", "--strace", pack, "/bin/cat", "/etc/passwd")
    assert done.returncode == 0, done.stderr
    assert "root:" in done.stderr
    assert "  /etc/passwd\n" in done.stdout


def test_run_time_libraries_are_added_to_a_spec(pack: Path, tmp_path: Path) -> None:
    spec = tmp_path / "bundle.toml"
    spec.write_text('[bundle]\nname = "x"\n')
    done = run_bundle_fix("run", pack, "-q", "--learn", spec, "bin/x", "libb.so.1")
    assert done.returncode == 0
    assert 'dlopen = ["libb.so.1"]' in spec.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "the pack has no program missing (its programs are bin/x)"),
        (["/bin/missing"], "the host has no program /bin/missing"),
        (["--at", "/usr", "bin/x"], "cannot put the pack into /usr: File exists"),
        (["/etc/passwd"], "cannot run /etc/passwd: Permission denied"),
        (["--learn", "/dev/null", "bin/x"], "/dev/null"),
        (["--at", "opt", "bin/x"], "expected an absolute path below /"),
        (["--env", "NAME", "bin/x"], "expected 'hostile' or NAME=VALUE"),
        (["--decoy", "/etc/passwd", "bin/x"], "/etc/passwd: this is not a shared library"),
        ([], "Missing argument 'PROGRAM'"),
    ],
)
def test_a_request_that_cannot_be_carried_out(
    pack: Path, arguments: list[str], message: str
) -> None:
    done = run_bundle_fix("run", pack, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
