"""``bundle-fix check`` on single artifacts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from builders.dlopen import make_dlopen_note_source
from builders.elf import build_elf
from builders.html import read_document
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix.report.schemas import build_check_schema


def test_a_healthy_pack_passes_with_its_requirements_and_one_line(tmp_path: Path) -> None:
    pack = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    ran = run_bundle_fix("check", pack.name, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    first, last = ran.stdout.splitlines(keepends=True)
    assert re.fullmatch(
        r"pack\.tar\.gz: passed: no findings \(1 program, 1 library, \d+\.\d\d s\)\n", first
    )
    assert last.startswith("required of the target: GLIBC 2.")


def test_the_incident_fails_and_the_trace_ends_at_the_copy_of_the_host(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    ran = run_bundle_fix("check", pack)
    assert ran.returncode == 1
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    assert "1. RUNPATH .: depends on the working directory of the process" in lines
    assert (
        "2. ld.so.cache, default directories: /lib64/libtcmalloc.so.4: the host's copy is found"
        in " ".join(lines)
    )
    assert "pack.tar.gz: FAILED: 2 errors, 1 warning (1 program, 1 library, " in lines[0]
    assert "the symlink bin/libtcmalloc.so.4 is missing [fixable]" in lines[3]
    assert lines[-2].startswith("all 3 errors and warnings are repaired by:")


def test_the_repairing_command_has_the_limits_of_the_check(tmp_path: Path) -> None:
    pack = make_incident_pack(tmp_path / "p")
    limits = ("--max-size", "1.5G", "--max-members", "3000")
    report = json.loads(run_bundle_fix("check", "--format", "json", *limits, pack).stdout)
    assert report["remedy"]["command"].startswith(
        "bundle-fix fix --max-size=1.5G --max-members=3000 "
    )
    report = json.loads(run_bundle_fix("check", "--format", "json", pack).stdout)
    assert "--max-" not in report["remedy"]["command"]


def test_lines_are_wrapped_at_80_columns_but_names_are_never_cut(tmp_path: Path) -> None:
    ran = run_bundle_fix("check", make_incident_pack(tmp_path / "p"))
    assert all(len(line) <= 80 or "/" in line for line in ran.stdout.splitlines())


def test_the_json_report_has_the_documented_keys(tmp_path: Path) -> None:
    ran = run_bundle_fix("check", make_incident_pack(tmp_path / "p"), "--format", "json")
    report = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert {"schema", "artifact", "tool", "summary", "findings"} <= set(report)
    assert (report["schema"], report["tool"]["name"]) == (1, "bundle-fix")
    assert report["summary"] == {"error": 2, "warning": 1, "note": 0}
    finding = next(f for f in report["findings"] if f["rule"] == "BF102")
    assert (finding["name"], finding["severity"], finding["path"]) == (
        "host-wins",
        "error",
        "bin/server",
    )
    assert {"rule", "name", "severity", "path", "message", "hint", "evidence"} <= set(finding)
    assert finding["evidence"]["trace"][-1]["place"] == "/lib64/libtcmalloc.so.4"


def test_host_provides_adds_a_library_to_the_host(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libjvm.so"])
    assert run_bundle_fix("check", tmp_path).returncode == 1
    assert run_bundle_fix("check", tmp_path, "--host-provides", "libjvm.so").returncode == 0


def test_a_single_elf_file_is_an_artifact(tmp_path: Path) -> None:
    program = build_elf(tmp_path / "x", program=True)
    assert (
        "passed: no findings (1 program, 0 libraries, " in run_bundle_fix("check", program).stdout
    )


def test_fail_on_sets_the_lowest_severity_that_fails(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"])
    assert run_bundle_fix("check", tmp_path).returncode == 0
    assert run_bundle_fix("check", tmp_path, "--fail-on", "note").returncode == 1


def test_a_spec_can_ignore_findings_with_a_reason(tmp_path: Path) -> None:
    pack = make_incident_pack(tmp_path / "p")
    spec = tmp_path / "bundle.toml"
    ignore = ", ".join(
        f'{{ rule = "{rule}", path = "bin/*", reason = "known" }}'
        for rule in ("BF102", "BF103", "BF203")
    )
    spec.write_text(f'[bundle]\nname = "p"\n[check]\nignore = [{ignore}]\n')
    ran = run_bundle_fix("check", pack, "--spec", spec)
    assert (ran.returncode, "3 ignored" in ran.stdout) == (0, True)


def test_definitions_set_the_variables_of_a_spec(tmp_path: Path) -> None:
    pack = build_elf(tmp_path / "p/bin/x", program=True, needed=["libz.so.7"]).parents[1]
    spec = tmp_path / "bundle.toml"
    variable = '[variables]\nversion = { env = "BUNDLE_FIX_NOT_SET" }\n'
    spec.write_text(f'[bundle]\nname = "p"\n{variable}[closure]\nhost = ["libz.so.{{version}}"]\n')
    arguments = ("check", pack, "--spec", spec)
    assert run_bundle_fix(*arguments, "-D", "version=7").returncode == 0
    assert run_bundle_fix(*arguments, "-D", "version=8").returncode == 1
    assert "pass -D version=" in run_bundle_fix(*arguments).stderr
    assert "add --spec" in run_bundle_fix("check", pack, "-D", "version=7").stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or directory"),
        (b"", "the file is empty"),
        (b"hello\n" * 300, "unknown file format"),
        (b"\x1f\x8b\x08\x00garbage", "the archive is"),
        (b"\x7fELF\x02\x01\x01", "the ELF file is damaged"),
        (b"PK\x03\x04" + bytes(100), "the archive is damaged: missing central directory"),
    ],
)
def test_an_invalid_artifact_is_an_error_of_one_line_and_exit_code_2(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    artifact = tmp_path / "bad"
    if content is not None:
        artifact.write_bytes(content)
    ran = run_bundle_fix("check", artifact)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ran.stderr.startswith(f"bundle-fix: error: {artifact}: ")
    assert message in ran.stderr


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    directory = make_healthy_pack(tmp_path / "p")
    server = directory / "bin/server"
    server.write_bytes(server.read_bytes()[:1000])
    ran = run_bundle_fix("check", make_tarball(directory, tmp_path / "pack.tar.gz"))
    assert ran.returncode == 2
    assert f"{tmp_path}/pack.tar.gz: bin/server: the ELF file is damaged" in ran.stderr


def test_a_truncated_tarball_is_reported_as_cut_short(tmp_path: Path) -> None:
    pack = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    pack.write_bytes(pack.read_bytes()[:-2000])
    ran = run_bundle_fix("check", pack)
    assert (ran.returncode, "truncated" in ran.stderr) == (2, True)


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n").symlink_to("missing")
    ran = run_bundle_fix("check", tmp_path)
    assert "\x1b" not in ran.stdout
    assert r"a\x1b[31m\n" in ran.stdout


def test_output_to_a_pipe_is_colored_only_on_request(tmp_path: Path) -> None:
    pack = make_incident_pack(tmp_path / "p")
    assert "\x1b[" not in run_bundle_fix("check", pack).stdout
    assert "\x1b[" in run_bundle_fix("check", pack, "--color", "always").stdout


def test_the_report_is_written_to_a_file(tmp_path: Path) -> None:
    ran = run_bundle_fix("check", make_incident_pack(tmp_path / "p"), "-o", tmp_path / "report")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "BF102" in (tmp_path / "report").read_text()


def test_the_report_has_the_requirements_of_the_pack_on_its_target(tmp_path: Path) -> None:
    pack = make_healthy_pack(tmp_path / "p")
    build_elf(pack / "bin/fast", program=True, flags=["-Wl,-z,x86-64-v3"])
    report = json.loads(run_bundle_fix("check", pack, "--format", "json").stdout)
    jsonschema.validate(report, build_check_schema())
    abi = report["abi"]
    assert abi["levels"] == {"bin/fast": "x86-64-v3"}
    newest = abi["versions"]["GLIBC"]
    assert abi["files"][newest["path"]]["GLIBC"] == newest["version"]
    assert "lib/libtcmalloc.so.4.6" in abi["files"]
    output = run_bundle_fix("check", "-v", pack).stdout
    assert f"\nrequired of the target: GLIBC {newest['version']}\n" in output
    assert f"  bin/fast: GLIBC {abi['files']['bin/fast']['GLIBC']}, x86-64-v3\n" in output
    assert run_bundle_fix("check", pack).stdout.splitlines()[1].startswith("required of")


@pytest.mark.parametrize("text", ["2", "2.17.1.1", "GLIBC_2.17", "new"])
def test_an_invalid_glibc_version_is_refused(tmp_path: Path, text: str) -> None:
    ran = run_bundle_fix("check", make_healthy_pack(tmp_path / "p"), "--glibc", text)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"--glibc {text}: invalid version; expected one such as 2.17" in ran.stderr


def test_a_library_opened_from_the_host_is_reported_with_its_trace(tmp_path: Path) -> None:
    names = ["libone.so.1", "libtwo.so.1"]
    for name in names:
        build_elf(tmp_path / "lib" / name, soname=name)
    note = make_dlopen_note_source([{"soname": [name], "priority": "required"} for name in names])
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=note)
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    text = " ".join(run_bundle_fix("check", tmp_path).stdout.split())
    assert "opens libone.so.1; the pack has lib/libone.so.1, but /lib64/libone.so.1" in text
    assert "1. ld.so.cache, default directories:" in text


def test_nothing_to_check_fails_unless_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "zeros.tar").write_bytes(bytes(10240))
    ran = run_bundle_fix("check", "zeros.tar", cwd=tmp_path)
    assert (ran.returncode, "nothing was checked" in ran.stdout) == (1, True)
    ran = run_bundle_fix("check", "--allow-empty", "zeros.tar", cwd=tmp_path)
    assert (ran.returncode, "nothing was checked" in ran.stdout) == (0, True)


def test_the_html_report_of_a_pack_is_the_same_in_every_run(tmp_path: Path) -> None:
    make_incident_pack(tmp_path / "p")
    first, second = (
        run_bundle_fix("check", "p", "--format", "html", "--also", "json=r.json", cwd=tmp_path)
        for _ in range(2)
    )
    assert (first.returncode, first.stderr) == (1, "")
    assert first.stdout == second.stdout
    document = read_document(first.stdout)
    assert {"BF102-bin-server", "program-bin-server"} <= set(document.list_values("id"))
    jsonschema.validate(json.loads((tmp_path / "r.json").read_bytes()), build_check_schema())
    assert "overview" not in (tmp_path / "r.json").read_text()
