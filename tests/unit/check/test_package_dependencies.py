"""What is left to packages that a wheel or an npm package wants beside itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.wheel import METADATA, NAME, build_wheel
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.facts.package_dependencies import find_package_of_entry, read_dependencies
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check

CUDA = ("nvidia-cublas-cu12", "nvidia-cusparse-cu12")


def in_wheel(folder: Path, *requires: str) -> list[Finding]:
    """What BF101 finds in a wheel with these headers."""
    headers = "".join(f"Requires-Dist: {text}\n" for text in requires)
    text = f"{METADATA['METADATA']}{headers}\nRequires-Dist: demo-libs (this is prose)\n"
    path = build_wheel(folder, folder.parent / NAME, METADATA=text)
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
def test_a_folder_called_like_a_package_leads_to_it(entry: str, package: str | None) -> None:
    assert find_package_of_entry(entry, CUDA) == package


def test_bf101_leaves_to_a_required_wheel_what_a_search_path_expects_there(tmp_path: Path) -> None:
    entries = "$ORIGIN:$ORIGIN/../../cublas/lib:$ORIGIN/../../cusparse/lib"
    needed = ["libcusparse.so.12", "libother.so.1"]
    build_elf(tmp_path / "x/nvidia/solver/lib/libs.so", needed=needed, runpath=entries)
    found = in_wheel(tmp_path / "x", "nvidia-cublas-cu12==12.9", "nvidia_cusparse.cu12 (>=12)")
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
        ("numpy", "$ORIGIN/../demo.libs"),  # its own folder, which was left out
        ("torch; extra == 'gpu'", "$ORIGIN/../torch/lib"),
        ("torch", ""),
    ],
)
def test_bf101_stays_an_error_where_no_search_path_leads_to_a_required_wheel(
    tmp_path: Path, requires: str, entry: str
) -> None:
    build_elf(tmp_path / "x/demo/libs.so", needed=["libgone.so.1"], runpath=entry or None)
    assert [f.severity for f in in_wheel(tmp_path / "x", requires)] == ["error"]


def test_bf101_and_bf204_know_what_an_npm_package_wants_beside_itself(
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
def test_a_package_json_that_says_nothing_is_no_trouble(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_text(text, errors="surrogateescape")
    assert read_dependencies(read_directory(tmp_path)) == ()
