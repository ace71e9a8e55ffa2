"""The requirements of a pack on its target: versions of glibc and of the C++ library."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import parse_glibc_version, read_abi
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.policy.policy import CheckPolicy


@pytest.mark.parametrize(
    ("version", "number"),
    [("GLIBC_2.17", (2, 17)), ("GLIBC_2.2.5", (2, 2, 5)), ("GLIBC_PRIVATE", None), ("X_1", None)],
)
def test_a_glibc_version_is_parsed_into_numbers(version: str, number: object) -> None:
    assert parse_glibc_version(version) == number


def test_the_newest_version_of_a_family_comes_with_a_file_that_requires_it(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    bundle = read_bundle(read_directory(tmp_path), "pack")
    found = read_abi(Context(bundle, CheckPolicy(), build_adversarial_host(())))
    newest = found.versions["GLIBC"]
    assert newest.path == "bin/x"
    assert tuple(map(int, newest.version.split("."))) >= (2, 2, 5)
    assert found.files["bin/x"]["GLIBC"] == newest.version


def test_versions_that_musl_ignores_are_not_required(tmp_path: Path) -> None:
    # A library that was linked with glibc, and that a wheel for musl contains.
    build_elf(tmp_path / "x/a.so")
    (tmp_path / "x-1.dist-info").mkdir()
    (tmp_path / "x-1.dist-info/WHEEL").write_text("Tag: cp312-cp312-musllinux_1_2_x86_64\n")
    bundle = read_bundle(read_directory(tmp_path), "pack")
    found = read_abi(Context(bundle, CheckPolicy(), build_adversarial_host(())))
    assert (found.versions, found.musl) == ({}, True)
