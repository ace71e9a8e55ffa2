"""Needed names that resolve to another file in the new pack."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_tarball
from bundle_fix.diff.compare import Difference
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.pipelines.target import Target
from bundle_fix.policy.policy import AcceptedFinding
from bundle_fix.policy.severity import Severity

from .conftest import Compare

R = "$ORIGIN/../lib"


def build_server(directory: Path, *needed: str, runpath: str = R) -> None:
    build_elf(directory / "bin/server", program=True, needed=list(needed), runpath=runpath)


def build_library(directory: Path, name: str, tag: str = "") -> None:
    build_elf(directory / "lib" / name, soname=name, tag=tag)


def list_codes(found: Difference) -> list[tuple[str, str]]:
    """Return the findings of the comparison itself."""
    return [(f.rule, f.severity) for f in found.findings if f.rule.startswith("BF7")]


def test_equal_packs_have_no_differences(tmp_path: Path, compare: Compare) -> None:
    pack = make_tarball(make_healthy_pack(tmp_path / "old"), tmp_path / "new.tar.gz", "pack-2.0")
    found = compare(tmp_path / "old", pack)
    assert (found.findings, found.fixed, found.resolutions, found.failed) == ((), (), (), False)
    assert (found.members.added, found.members.removed, found.members.changed) == ((), (), ())
    assert found.members.same == 5


def test_the_incident_is_a_name_that_now_comes_from_the_host(
    tmp_path: Path, compare: Compare
) -> None:
    make_healthy_pack(tmp_path / "old")
    new = make_healthy_pack(tmp_path / "new")
    (new / "lib/libtcmalloc.so.4").unlink()
    (new / "lib/libtcmalloc.so.4.6").rename(new / "lib/libtcmalloc.so")
    found = compare()
    (first, *_) = found.findings
    assert (first.rule, first.path, first.evidence["programs"]) == (
        "BF701", "bin/server", ["bin/server"],
    )  # fmt: skip
    assert first.message == (
        "needs libtcmalloc.so.4, previously the pack's lib/libtcmalloc.so.4.6,"
        " now the host's /lib64/libtcmalloc.so.4"
    )
    assert first.evidence["trace"][-1]["verdict"] == "the host's copy is found"
    assert found.failed
    # The finding of the check about the same name is not repeated.
    assert "BF102" not in {f.rule for f in found.findings}


def test_the_reverse_comparison_reports_a_fix(tmp_path: Path, compare: Compare) -> None:
    old = make_healthy_pack(tmp_path / "old")
    make_healthy_pack(tmp_path / "new")
    (old / "lib/libtcmalloc.so.4").unlink()
    found = compare()
    assert (found.findings, found.failed) == ((), False)
    assert [(n.needed, n.old.origin, n.new.origin) for n in found.resolutions] == [
        ("libtcmalloc.so.4", ObjectOrigin.HOST, ObjectOrigin.BUNDLE)
    ]
    assert "BF102" in {f.rule for f in found.fixed}


def test_a_removed_library_is_not_found(tmp_path: Path, compare: Compare) -> None:
    build_library(tmp_path / "old", "libx.so.1")
    build_server(tmp_path / "old", "libx.so.1")
    build_server(tmp_path / "new", "libx.so.1")
    found = compare()
    assert list_codes(found) == [("BF702", "error"), ("BF706", "warning")]
    assert "now not found" in found.findings[0].message


def test_a_library_left_to_the_host_is_a_regression_although_most_hosts_have_it(
    tmp_path: Path, compare: Compare
) -> None:
    build_library(tmp_path / "old", "libz.so.1")
    build_server(tmp_path / "old", "libz.so.1")
    build_server(tmp_path / "new", "libz.so.1")
    assert ("BF701", "error") in list_codes(compare())
    declared = compare(host=("libz.so.1",), target=Target(provides=("libz.so.1",)))
    assert list_codes(declared) == [("BF706", "warning"), ("BF701", "note")]
    assert not declared.failed


def test_leaving_the_c_library_to_the_host_is_an_improvement(
    tmp_path: Path, compare: Compare
) -> None:
    build_library(tmp_path / "old", "libm.so.6")
    build_server(tmp_path / "old", "libm.so.6")
    build_server(tmp_path / "new", "libm.so.6")
    found = compare()
    assert not found.failed
    assert [n.rule for n in found.resolutions] == [None]


def test_another_copy_that_is_found_first_is_a_regression(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        build_library(tmp_path / name, "libz.so.1", tag="right")
        build_elf(tmp_path / name / "compat/libz.so.1", soname="libz.so.1", tag="older")
    build_server(tmp_path / "old", "libz.so.1", runpath=f"{R}:$ORIGIN/../compat")
    build_server(tmp_path / "new", "libz.so.1", runpath=f"$ORIGIN/../compat:{R}")
    found = compare()
    assert list_codes(found) == [("BF703", "error")]
    assert "now the pack's compat/libz.so.1" in found.findings[0].message


def test_a_copy_with_the_same_content_is_not_another_file(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        build_library(tmp_path / name, "libz.so.1")
        shutil.copytree(tmp_path / name / "lib", tmp_path / name / "lib2")
    build_server(tmp_path / "old", "libz.so.1")
    build_server(tmp_path / "new", "libz.so.1", runpath="$ORIGIN/../lib2")
    assert compare().resolutions == ()


def test_another_copy_used_after_a_removal_is_a_warning(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        build_elf(tmp_path / name / "compat/libz.so.1", soname="libz.so.1", tag="older")
        build_server(tmp_path / name, "libz.so.1", runpath=f"{R}:$ORIGIN/../compat")
    build_library(tmp_path / "old", "libz.so.1", tag="right")
    found = compare()
    assert list_codes(found) == [("BF703", "warning")]
    assert not found.failed
    assert compare(fail_on=Severity.WARNING).failed


def test_moving_libraries_with_their_programs_changes_no_needs(
    tmp_path: Path, compare: Compare
) -> None:
    build_library(tmp_path / "old", "libx.so.1")
    build_server(tmp_path / "old", "libx.so.1")
    (tmp_path / "new/opt").mkdir(parents=True)
    shutil.copytree(tmp_path / "old/lib", tmp_path / "new/opt/lib")
    shutil.copytree(tmp_path / "old/bin", tmp_path / "new/opt/bin")
    found = compare()
    assert (found.findings, found.resolutions) == ((), ())
    assert [(a.old_path, a.path) for a in found.members.changed] == [
        ("bin/server", "opt/bin/server"), ("lib/libx.so.1", "opt/lib/libx.so.1"),
    ]  # fmt: skip


def test_a_needed_name_with_another_version_number_replaces_the_old_one(
    tmp_path: Path, compare: Compare
) -> None:
    build_library(tmp_path / "old", "libtcmalloc.so.4")
    build_server(tmp_path / "old", "libtcmalloc.so.4")
    build_elf(tmp_path / "new/lib/libtcmalloc.so", soname="libtcmalloc.so.5")
    build_server(tmp_path / "new", "libtcmalloc.so.5")
    (first, *_) = compare().findings
    assert first.rule == "BF701"
    assert first.message.startswith("needs libtcmalloc.so.5 (libtcmalloc.so.4 before), previously")


def test_a_library_newly_needed_from_the_host_is_a_warning_unless_declared(
    tmp_path: Path, compare: Compare
) -> None:
    build_server(tmp_path / "old")
    build_server(tmp_path / "new", "libGL.so.1", "libm.so.6")
    assert list_codes(compare()) == [("BF707", "warning")]
    assert list_codes(compare(target=Target(provides=("libGL.*",)))) == []


def test_a_need_of_a_library_is_compared_and_names_the_programs(
    tmp_path: Path, compare: Compare
) -> None:
    for name in ("old", "new"):
        build_elf(tmp_path / name / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"],
            runpath="$ORIGIN" if name == "old" else None)  # fmt: skip
        build_library(tmp_path / name, "libb.so.1")
        for program in ("one", "two"):
            build_elf(
                tmp_path / name / "bin" / program, program=True, needed=["liba.so.1"], runpath=R
            )
    (first, *_) = compare().findings
    assert (first.rule, first.path) == ("BF701", "lib/liba.so.1")
    assert first.evidence["programs"] == ["bin/one", "bin/two"]


@pytest.mark.parametrize("path", ["bin/*", "*"])
def test_a_difference_can_be_ignored(tmp_path: Path, compare: Compare, path: str) -> None:
    build_library(tmp_path / "old", "libx.so.1")
    build_server(tmp_path / "old", "libx.so.1")
    build_server(tmp_path / "new", "libx.so.1")
    ignored = compare(ignore=(AcceptedFinding("BF702", path, "known"),))
    assert (list_codes(ignored), ignored.ignored, ignored.failed) == (
        [("BF706", "warning")],
        1,
        False,
    )


def test_a_soname_that_is_gone_is_reported_although_its_file_is_matched(
    tmp_path: Path, compare: Compare
) -> None:
    build_library(tmp_path / "old", "libv.so.1")
    build_library(tmp_path / "new", "libv.so.2")
    (finding,) = compare().findings
    assert (finding.rule, finding.path) == ("BF706", "lib/libv.so.2")
    assert finding.message == "has the soname libv.so.2; the new pack has no library libv.so.1"
    (tmp_path / "new/lib/libv.so.1").symlink_to("libv.so.2")
    assert compare().findings == ()


@pytest.mark.parametrize("directory", ["home/ci/build-{}/src", "tmp/pip-build-{}"])
def test_a_random_build_path_is_neither_new_nor_fixed(
    tmp_path: Path, compare: Compare, directory: str
) -> None:
    for name, random in (("old", "k2x9"), ("new", "zz_q")):
        path = "/" + directory.format(random)
        source = f'const char *where(void) {{ return "{path}/main.c"; }}'
        build_elf(tmp_path / name / "lib/libx.so.1", soname="libx.so.1", source=source)
        build_server(tmp_path / name, "libx.so.1", runpath=f"{R}:{path}/lib")
    found = compare()
    assert (found.findings, found.fixed) == ((), ())


def test_a_build_path_that_is_gone_is_fixed(tmp_path: Path, compare: Compare) -> None:
    for name, more in (("old", ":/home/ci/a/lib:/home/ci/b/lib"), ("new", ":/home/ci/c/lib")):
        build_library(tmp_path / name, "libx.so.1")
        build_server(tmp_path / name, "libx.so.1", runpath=f"{R}{more}")
    found = compare()
    assert (len(found.findings), len(found.fixed)) == (0, 1)
