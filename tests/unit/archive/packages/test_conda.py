"""Conda packages: ``.conda`` archives and tarballs, and the packages that they depend on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from archive.views import describe_directory, describe_tree
from builders.elf import build_elf
from builders.packages import build_conda
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.errors import BundleFixError


def fill_prefix(directory: Path, *needed: str) -> Path:
    """Fill the prefix of a package with a program, a library and the package's metadata."""
    build_elf(directory / "lib/liba.so.1.2", soname="liba.so.1")
    (directory / "lib/liba.so.1").symlink_to("liba.so.1.2")
    names = ["liba.so.1", *needed]
    build_elf(directory / "bin/x", program=True, needed=names, runpath="$ORIGIN/../lib")
    (directory / "info").mkdir()
    index = {"name": "sample", "depends": ["__glibc >=2.17", "libqux >=1.2,<2.0a0"]}
    (directory / "info/index.json").write_text(json.dumps(index))
    (directory / "info/paths.json").write_text('{"paths": []}')
    return directory


def test_both_tarballs_of_a_package_are_read(tmp_path: Path) -> None:
    prefix = fill_prefix(tmp_path / "prefix")
    with open_artifact(build_conda(prefix, tmp_path / "sample-1-0.conda")) as artifact:
        assert artifact.format == "conda"
        assert artifact.tree.requires == ("libqux",)
        assert artifact.tree.keeps_symlinks
        found = describe_tree(artifact.tree)
    expected = describe_tree(read_directory(prefix))
    assert {name: value[:2] for name, value in found.items() if value[0] != "directory"} == {
        name: value[:2] for name, value in expected.items() if value[0] != "directory"
    }


@pytest.mark.parametrize("suffix", ["conda", "tar.bz2"])
def test_a_library_of_a_dependency_is_a_note(tmp_path: Path, suffix: str) -> None:
    prefix = fill_prefix(tmp_path / "prefix", "libqux.so.3")
    path = tmp_path / f"sample-1-0.{suffix}"
    if suffix == "conda":
        build_conda(prefix, path)
    else:
        subprocess.run(["tar", "-cjf", path, "-C", prefix, "info", "bin", "lib"], check=True)
    ran = run_bundle_fix("check", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    text = " ".join(ran.stdout.split())
    assert "bin/x needs libqux.so.3, which libqux may provide: all conda packages" in text
    assert "(1 program, 1 library," in text


def test_a_missing_library_without_a_search_path_is_an_error(tmp_path: Path) -> None:
    prefix = fill_prefix(tmp_path / "prefix")
    build_elf(prefix / "bin/x", program=True, needed=["libother.so.3"])
    ran = run_bundle_fix("check", build_conda(prefix, tmp_path / "sample-1-0.conda"))
    assert ran.returncode == 1
    assert "bin/x needs libother.so.3" in ran.stdout


def test_fix_leaves_a_package_unchanged(tmp_path: Path) -> None:
    path = build_conda(fill_prefix(tmp_path / "prefix"), tmp_path / "sample-1-0.conda")
    was = describe_directory(tmp_path)
    ran = run_bundle_fix("fix", path)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "bundle-fix reads conda packages but does not write them" in ran.stderr
    assert describe_directory(tmp_path) == was


@pytest.mark.parametrize("kept", [[], ["info"], ["pkg"], ["info", "pkg", "pkg"]])
def test_a_package_without_exactly_two_tarballs_is_refused(tmp_path: Path, kept: list[str]) -> None:
    path = build_conda(fill_prefix(tmp_path / "prefix"), tmp_path / "sample-1-0.conda", kept)
    if not kept:
        with open_artifact(path) as artifact:
            assert artifact.format == "zip"
        return
    with pytest.raises(BundleFixError, match=r"tarballs (info|pkg)-\*"), open_artifact(path):
        pass


def test_the_limits_apply_to_both_tarballs_together(tmp_path: Path) -> None:
    path = build_conda(fill_prefix(tmp_path / "prefix"), tmp_path / "sample-1-0.conda")
    with open_artifact(path, Limits(max_members=10)):
        pass
    for limits in (Limits(max_members=5), Limits(max_size=30_000)):
        with pytest.raises(BundleFixError, match="more than"), open_artifact(path, limits):
            pass
