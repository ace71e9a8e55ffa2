"""Libraries that a wheel or npm package expects in the packages that it depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.wheel import METADATA, NAME, build_wheel
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.facts.packages.dependencies import find_package_of_entry, read_dependencies
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check

CUDA = ("nvidia-cublas-cu12", "nvidia-cusparse-cu12")


def check_wheel(directory: Path, *requires: str) -> list[Finding]:
    """Return the findings of BF101 in a wheel with Requires-Dist headers."""
    headers = "".join(f"Requires-Dist: {text}\n" for text in requires)
    text = f"{METADATA['METADATA']}{headers}\nRequires-Dist: demo-libs (this is prose)\n"
    path = build_wheel(directory, directory.parent / NAME, METADATA=text)
    with open_artifact(path) as artifact:
        found = check_bundle(read_bundle(artifact.tree, NAME), CheckPolicy()).findings
    return [finding for finding in found if finding.rule == "BF101"]


@pytest.mark.parametrize(
    ("entry", "package"),
    [
        ("$ORIGIN/../../cublas/lib", CUDA[0]),
        ("$ORIGIN/../nvidia/lib", CUDA[0]),
        ("$ORIGIN/../cuspars/lib", None),
        ("$ORIGIN/../lib", None),
        ("$ORIGIN/../nvidia.libs", None),
        ("$ORIGIN", None),
        ("", None),
    ],
)
def test_an_entry_leads_to_the_package_with_the_name_of_its_directory(
    entry: str, package: str | None
) -> None:
    assert find_package_of_entry(entry, CUDA) == package


def test_bf101_is_a_note_if_a_search_path_leads_to_a_required_wheel(tmp_path: Path) -> None:
    entries = "$ORIGIN:$ORIGIN/../../cublas/lib:$ORIGIN/../../cusparse/lib"
    needed = ["libcusparse.so.12", "libother.so.1"]
    build_elf(tmp_path / "x/nvidia/solver/lib/libs.so", needed=needed, runpath=entries)
    found = check_wheel(tmp_path / "x", "nvidia-cublas-cu12==12.9", "nvidia_cusparse.cu12 (>=12)")
    assert [(f.severity, f.message) for f in found] == [
        (
            "note",
            "needs libcusparse.so.12, which nvidia_cusparse.cu12 may provide: the search path leads"
            " there",
        ),
        (
            "note",
            "needs libother.so.1, which nvidia-cublas-cu12 or nvidia_cusparse.cu12 may provide: the"
            " search path leads there",
        ),
    ]


@pytest.mark.parametrize(
    ("requires", "entry"),
    [
        ("numpy", "$ORIGIN/../demo.libs"),  # its own directory, which is missing
        ("torch; extra == 'gpu'", "$ORIGIN/../torch/lib"),
        ("torch", ""),
    ],
)
def test_bf101_is_an_error_if_no_search_path_leads_to_a_required_wheel(
    tmp_path: Path, requires: str, entry: str
) -> None:
    build_elf(tmp_path / "x/demo/libs.so", needed=["libgone.so.1"], runpath=entry or None)
    assert [f.severity for f in check_wheel(tmp_path / "x", requires)] == ["error"]


@pytest.mark.parametrize(
    ("requires", "severity", "source"),
    [
        (("acme", "acme-boost"), "note", "acme-boost may provide: they are installed into the"),
        (("acme", "acme-octomap"), "note", "acme or acme-octomap may provide: they are installed"),
        (("numpy",), "error", "neither in the pack nor expected on the host"),
    ],
)
def test_bf101_is_a_note_in_a_directory_that_required_wheels_share(
    tmp_path: Path, requires: tuple[str, ...], severity: str, source: str
) -> None:
    place = tmp_path / "x/acme.prefix/lib/libs.so"
    build_elf(place, needed=["libboost_atomic.so.1.90.0"], runpath="$ORIGIN")
    (finding,) = check_wheel(tmp_path / "x", *requires)
    assert (finding.severity, source in finding.message) == (severity, True)


def test_bf101_is_a_note_about_a_library_after_which_a_required_wheel_is_named(
    tmp_path: Path,
) -> None:
    needed = ["libconsole_bridge.so.1", "libdom.so.1"]
    build_elf(tmp_path / "x/demo/libs.so", needed=needed, runpath="$ORIGIN")
    found = check_wheel(tmp_path / "x", "acme-console-bridge", "acme-dom")
    # A name of three letters does not identify a family.
    assert [(f.severity, f.evidence["needed"]) for f in found] == [
        ("error", "libdom.so.1"), ("note", "libconsole_bridge.so.1"),
    ]  # fmt: skip


def test_bf101_and_bf204_are_notes_about_the_dependencies_of_an_npm_package(
    tmp_path: Path, check: Check
) -> None:
    build_elf(
        tmp_path / "lib/s.node", needed=["libvips.so.8"], rpath="$ORIGIN/../../vips-linux-x64/lib"
    )
    assert [f.severity for f in (*check("BF101"), *check("BF204"))] == ["error", "warning"]
    package = {"optionalDependencies": {"@img/vips-linux-x64": "1.3"}, "dependencies": ["no"]}
    (tmp_path / "package.json").write_text(json.dumps(package))
    assert [f.severity for f in (*check("BF101"), *check("BF204"))] == ["note", "note"]


@pytest.mark.parametrize("text", ["[]", "{", '{"dependencies": 3}', "[" * 100_000, "\udcff"])
def test_an_invalid_package_json_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_text(text, errors="surrogateescape")
    assert read_dependencies(read_directory(tmp_path)) == ()
