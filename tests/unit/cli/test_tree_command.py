"""``bundle-fix tree``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.html import read_document
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.run import run_bundle_fix

LIB = "$ORIGIN/../lib"


def build_pack(root: Path) -> Path:
    """Build a pack with a dependency cycle, a shared library, a plugin and a missing library."""
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN")
    build_elf(root / "lib/libb.so.1", soname="libb.so.1", needed=["liba.so.1"], runpath="$ORIGIN")
    build_elf(root / "plugins/libplugin.so", needed=["libb.so.1"])
    build_elf(
        root / "bin/x", program=True, needed=["liba.so.1", "libb.so.1", "libno.so.1"], rpath=LIB
    )
    return root


def test_the_text_shows_the_origin_and_the_search_rule_of_each_object(tmp_path: Path) -> None:
    done = run_bundle_fix("tree", build_pack(tmp_path), "bin/x")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "bin/x",
        "├── liba.so.1 => lib/liba.so.1 [RPATH $ORIGIN/../lib]",
        "│   └── loaded already: libb.so.1, libc.so.6",
        "├── libb.so.1 => lib/libb.so.1 [RPATH $ORIGIN/../lib]",
        "│   └── loaded already: liba.so.1, libc.so.6",
        "├── libno.so.1 => not found",
        "└── libc.so.6 => host /lib64/libc.so.6 [ld.so.cache, default directories]",
        "(4 objects: 2 from the pack, 1 from the host, 1 not found)",
    ]


def test_a_pack_of_static_programs_is_named_as_such(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True, flags=["-static"])
    done = run_bundle_fix("tree", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(": it has only static programs, which load no libraries\n")


def test_without_an_entry_programs_and_plugins_are_shown(tmp_path: Path) -> None:
    done = run_bundle_fix("tree", build_pack(tmp_path), "--format", "json")
    assert [record["entry"] for record in json.loads(done.stdout)] == [
        "bin/x",
        "plugins/libplugin.so",
    ]


def test_json_has_the_objects_in_load_order(tmp_path: Path) -> None:
    done = run_bundle_fix("tree", build_pack(tmp_path), "x", "--format", "json")
    (record,) = json.loads(done.stdout)
    assert record == {
        "entry": "bin/x",
        "objects": [
            {"name": "liba.so.1", "path": "lib/liba.so.1", "origin": "bundle", "via": "rpath",
             "needed_by": "bin/x"},
            {"name": "libb.so.1", "path": "lib/libb.so.1", "origin": "bundle", "via": "rpath",
             "needed_by": "bin/x"},
            {"name": "libno.so.1", "path": None, "origin": "missing", "via": "default",
             "needed_by": "bin/x"},
            {"name": "libc.so.6", "path": "/lib64/libc.so.6", "origin": "host", "via": "default",
             "needed_by": "bin/x"},
        ],
    }  # fmt: skip


def test_a_plugin_in_a_program_uses_the_libraries_loaded_there(tmp_path: Path) -> None:
    root = build_pack(tmp_path)
    alone = run_bundle_fix("tree", root, "libplugin.so")
    assert "libb.so.1 => host" in alone.stdout
    opened = run_bundle_fix("tree", "-v", root, "libplugin.so", "--in", "bin/x")
    assert "libb.so.1 => lib/libb.so.1 (loaded already)" in opened.stdout


def test_programs_that_load_the_libraries_of_a_plugin_are_noted(tmp_path: Path) -> None:
    done = run_bundle_fix("tree", build_pack(tmp_path))
    assert "note: opened by bin/x: libb.so.1 => lib/libb.so.1\n" in done.stdout


def test_dot_and_mermaid_mark_the_objects_of_the_host(tmp_path: Path) -> None:
    root = make_healthy_pack(tmp_path)
    dot = run_bundle_fix("tree", root, "--format", "dot").stdout
    assert '"bin/server" -> "lib/libtcmalloc.so.4.6" [label="RUNPATH $ORIGIN/../lib"];' in dot
    assert '"/lib64/libc.so.6" [style="filled,dashed" fillcolor="#fff3c4"];' in dot
    mermaid = run_bundle_fix("tree", root, "--format", "mermaid").stdout
    assert mermaid.startswith("flowchart LR\n")
    assert '["/lib64/libc.so.6"]:::host' in mermaid


def test_output_to_a_pipe_is_colored_only_on_request(tmp_path: Path) -> None:
    root = make_healthy_pack(tmp_path)
    assert "\x1b[" not in run_bundle_fix("tree", root).stdout
    assert "\x1b[33m" in run_bundle_fix("tree", root, "--color", "always").stdout.replace(
        "\x1b[1m", ""
    )
    assert "\x1b[" not in run_bundle_fix("tree", root, "--color", "auto", NO_COLOR="1").stdout


def test_an_entry_may_include_the_top_directory_of_a_tarball(tmp_path: Path) -> None:
    archive = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "p.tar.gz", "top")
    done = run_bundle_fix("tree", archive, "top/bin/server", "--format", "json")
    assert [o["path"] for o in json.loads(done.stdout)[0]["objects"]] == [
        "lib/libtcmalloc.so.4.6",
        "/lib64/libc.so.6",
    ]


def test_a_single_file_of_a_pack_is_read_with_the_libraries_that_it_loads(tmp_path: Path) -> None:
    make_healthy_pack(tmp_path)
    for command in ("tree", "check"):
        done = run_bundle_fix(command, tmp_path / "bin/server")
        assert done.returncode == 0, done.stdout
    assert "lib/libtcmalloc.so.4.6" in run_bundle_fix("tree", tmp_path / "bin/server").stdout


def test_findings_on_a_single_file_are_limited_to_that_file(tmp_path: Path) -> None:
    make_incident_pack(tmp_path)
    done = run_bundle_fix("check", tmp_path / "bin/server", "--format", "json")
    assert done.returncode == 1
    assert {f["path"] for f in json.loads(done.stdout)["findings"]} == {"server"}


def test_this_machine_can_be_the_host(tmp_path: Path) -> None:
    done = run_bundle_fix("tree", make_healthy_pack(tmp_path), "--host", "/", "--format", "json")
    objects = json.loads(done.stdout)[0]["objects"]
    assert done.returncode == 0
    assert objects[0]["path"] == "lib/libtcmalloc.so.4.6"
    (libc,) = [o for o in objects if re.match(r"libc\.so", o["name"])]
    assert libc["origin"] == "host"
    assert Path(libc["path"]).exists()


@pytest.mark.parametrize("top", ["pack", "./pack", "."])
def test_a_tarball_on_this_machine_uses_its_own_libraries(tmp_path: Path, top: str) -> None:
    archive = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "p.tar", top)
    done = run_bundle_fix("tree", archive, "--host", "/", "--format", "json")
    assert json.loads(done.stdout)[0]["objects"][0]["path"] == "lib/libtcmalloc.so.4.6"


def test_the_environment_of_the_process_can_be_given(tmp_path: Path) -> None:
    root = make_healthy_pack(tmp_path)
    done = run_bundle_fix("tree", root, "--env", "LD_PRELOAD=libm.so.6", "--host", "/")
    assert "[preloaded]" in done.stdout
    hostile = run_bundle_fix("tree", root, "--env", "hostile", "--format", "json")
    first = json.loads(hostile.stdout)[0]["objects"][0]
    assert (first["origin"], first["via"]) == ("host", "ld_library_path")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nix"], "it has no ELF file nix"),
        (["bin/servr"], "did you mean bin/server?"),
        (["--env", "PATH=/x"], "expected 'hostile', or LD_LIBRARY_PATH or LD_PRELOAD"),
        (["--cpu", "z80"], "unknown processor level 'z80'"),
        (["--host", "/missing"], "/missing: no such file or directory"),
        (["--host", "/dev/null"], "/dev/null: it is neither a file nor a directory"),
        (["--in", "bin/server"], "--in PROGRAM requires an ENTRY"),
        (["--format", "xml"], "Invalid value for '--format'"),
    ],
)
def test_an_invalid_request_is_an_error_of_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_bundle_fix("tree", make_healthy_pack(tmp_path), *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_static_program_has_no_process(tmp_path: Path) -> None:
    build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"])
    done = run_bundle_fix("tree", tmp_path / "x")
    assert done.returncode == 2
    assert "missing dynamic section" in done.stderr


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x\x1b[31m", program=True)
    for kind in ("text", "dot", "mermaid"):
        assert "\x1b" not in run_bundle_fix("tree", tmp_path, "--format", kind).stdout


@pytest.mark.parametrize("command", [["tree"], ["why", "--symbol", "x"], ["why", "--from", "x"]])
def test_a_file_for_another_system_is_an_error_message(tmp_path: Path, command: list[str]) -> None:
    data = bytearray(build_elf(tmp_path / "x", soname="liba.so.1").read_bytes())
    data[7] = 9
    (tmp_path / "x").write_bytes(data)
    name = ["libc.so.6"] if "--from" in command else []
    ran = run_bundle_fix(*command, tmp_path / "x", *name)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert "x: the ELF file is for FreeBSD" in ran.stderr


def test_the_html_document_has_a_graph_of_each_program_and_plugin(tmp_path: Path) -> None:
    output = tmp_path / "tree.html"
    done = run_bundle_fix("tree", build_pack(tmp_path), "--format", "html", "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    document = read_document(output.read_text())
    assert {"program-bin-x", "plugin-plugins-libplugin.so"} <= set(document.list_values("id"))
    assert "1 name of 2 programs and libraries not found" in document.collect_text("p")
