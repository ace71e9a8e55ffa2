"""BF107 to BF109 and BF111: LD_LIBRARY_PATH, and what is opened at run time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.dlopen import noted, opens
from builders.elf import elf
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.host import Environment, build_adversarial_host
from bundle_fix.policy.policy import CheckPolicy

LIB = "$ORIGIN/../lib"


def findings(root: Path, rule: str, **expected: tuple[str, ...]) -> list[Finding]:
    verdict = check_bundle(read_bundle(read_directory(root), str(root)), CheckPolicy(**expected))  # type: ignore[arg-type]
    return [finding for finding in verdict.findings if finding.rule == rule]


def hostile(root: Path) -> list[str]:
    bundle = read_bundle(read_directory(root), str(root))
    verdict = check_bundle(
        bundle, CheckPolicy(), build_adversarial_host(), Environment(hostile=True)
    )
    return [f"{f.rule} {f.path} {f.severity}" for f in verdict.findings]


def test_bf107_names_what_library_path_can_take_over(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    assert hostile(tmp_path) == ["BF107 bin/x error"]
    assert findings(tmp_path, "BF107") == []


@pytest.mark.parametrize("how", ["pinned", "rpath"])
def test_bf107_is_silent_where_library_path_is_asked_later(tmp_path: Path, how: str) -> None:
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", needed=["liba.so.1"])
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    names = ["liba.so.1", "libb.so.1"]
    if how == "pinned":
        needed = [f"{LIB}/{name}" for name in names]
        elf(tmp_path / "bin/x", program=True, needed=needed)
    else:
        elf(tmp_path / "bin/x", program=True, needed=names, rpath=LIB)
    assert not [found for found in hostile(tmp_path) if found.startswith("BF1")]


def test_bf108_names_libraries_of_the_pack_that_stand_as_strings(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    elf(tmp_path / "lib/libopener.so.1", soname="libopener.so.1", source=opens("libplug.so.1"))
    elf(tmp_path / "bin/x", program=True, needed=["libopener.so.1"], runpath=LIB)
    (finding,) = findings(tmp_path, "BF108")
    assert (finding.path, finding.severity) == ("lib/libopener.so.1", "note")
    assert finding.evidence["found"] == {"libplug.so.1": "host"}
    assert "libplug.so.1 (the host's copy would be opened)" in finding.message


def test_bf108_tells_where_opening_leads_in_the_pack(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    source = opens("libplug.so.1")
    elf(tmp_path / "lib/libo.so.1", soname="libo.so.1", source=source, runpath="$ORIGIN")
    elf(tmp_path / "bin/x", program=True, needed=["libo.so.1"], runpath=LIB)
    (finding,) = findings(tmp_path, "BF108")
    assert finding.evidence["found"] == {"libplug.so.1": "lib/libplug.so.1"}


@pytest.mark.parametrize(
    "source",
    [
        opens("libelsewhere.so.1"),
        opens("libplug.so.1 is nice"),
        'const char *name = "libplug.so.1";',
    ],
    ids=["another name", "part of a sentence", "no dlopen"],
)
def test_bf108_is_silent(tmp_path: Path, source: str) -> None:
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    elf(tmp_path / "lib/libo.so.1", soname="libo.so.1", source=source)
    assert findings(tmp_path, "BF108") == []


def feature(name: str, priority: str) -> dict[str, object]:
    return {"soname": [name], "priority": priority, "feature": "f", "description": "its sake"}


@pytest.mark.parametrize(
    ("priority", "severities"),
    [("required", ["error"]), ("recommended", ["note"]), ("suggested", [])],
)
def test_bf109_heeds_what_a_note_requires(
    tmp_path: Path, priority: str, severities: list[str]
) -> None:
    source = noted([feature("libnowhere.so.7", priority)])
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    found = findings(tmp_path, "BF109")
    assert [f.severity for f in found] == severities
    assert all("libnowhere.so.7 at run time, for its sake" in f.message for f in found)


def test_bf109_is_content_with_any_of_several_names(tmp_path: Path) -> None:
    source = noted([{"soname": ["libnew.so.2", "libold.so.1"], "priority": "required"}])
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    elf(tmp_path / "lib/libold.so.1", soname="libold.so.1")
    assert findings(tmp_path, "BF109") == []
    assert findings(tmp_path, "BF111") == []


def test_bf109_is_content_with_what_the_host_provides(tmp_path: Path) -> None:
    source = noted([feature("libjvm.so", "required")])
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    assert len(findings(tmp_path, "BF109")) == 1
    assert findings(tmp_path, "BF109", host=("libjvm.so",)) == []


def test_bf111_names_what_is_in_the_pack_but_opened_from_the_host(tmp_path: Path) -> None:
    source = noted([feature("libplug.so.1", "required")])
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    (finding,) = findings(tmp_path, "BF111")
    assert (finding.path, finding.severity) == ("lib/liba.so.1", "error")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    assert findings(tmp_path, "BF111") == []


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"soname": 1}]', "[[[[", '[{"priority": "x"}]'])
def test_a_damaged_note_says_nothing(tmp_path: Path, text: str) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=noted(text))
    assert findings(tmp_path, "BF109") == []


def test_check_takes_a_hostile_environment(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    done = run_bundle_fix("check", tmp_path, "--env", "hostile", "--format", "json")
    assert done.returncode == 1
    assert [f["rule"] for f in json.loads(done.stdout)["findings"]] == ["BF107"]
    assert run_bundle_fix("check", tmp_path).returncode == 0


@pytest.mark.parametrize("carries", [True, False], ids=["by name", "by a setting"])
def test_bf111_holds_objects_to_what_the_spec_says_is_opened(tmp_path: Path, carries: bool) -> None:
    source = opens("libplug.so.1" if carries else "another")
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    (finding,) = findings(tmp_path, "BF111", dlopen=("libplug.so.1",))
    assert (finding.path, finding.severity) == ("lib/liba.so.1", "error")
    assert "opens libplug.so.1, as declared in [closure] dlopen" in finding.message
    assert findings(tmp_path, "BF108", dlopen=("libplug.so.1",)) == []
    assert findings(tmp_path, "BF111") == []
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    assert findings(tmp_path, "BF111", dlopen=("libplug.so.1",)) == []


def test_bf111_takes_the_object_that_carries_the_name_for_the_one_that_opens_it(
    tmp_path: Path,
) -> None:
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    source = opens("libplug.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", source=opens("libelsewhere.so.1"))
    needed = ["liba.so.1", "libb.so.1"]
    elf(tmp_path / "bin/x", program=True, needed=needed, runpath=LIB)
    assert findings(tmp_path, "BF111", dlopen=("libplug.so.1",)) == []
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", runpath="$ORIGIN")
    elf(tmp_path / "lib/libc1.so.1", soname="libc1.so.1", source=opens("no"), runpath="$ORIGIN")
    elf(tmp_path / "bin/x", program=True, needed=[*needed, "libc1.so.1"], runpath=LIB)
    assert findings(tmp_path, "BF111", dlopen=("libplug.so.1",)) == []
