"""BF606 and BF607: links that get lost, and text files in place of symlinks."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from builders.elf import build_elf
from builders.wheel import NAME, build_wheel
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.pipelines.fix import FixResult, Options, fix_artifact
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity


def check(path: Path, *rules: str) -> list[Finding]:
    with open_artifact(path) as artifact:
        result = check_bundle(read_bundle(artifact.tree, path.name), CheckPolicy())
    return [finding for finding in result.findings if finding.rule in rules]


def fix(path: Path, output: Path) -> FixResult:
    result = fix_artifact(path, output, Options())
    assert result.written, result.verdict.findings
    return result


def build_tool(root: Path) -> None:
    """Build a program and a library with a soname symlink and a development symlink."""
    build_elf(root / "lib/libpq.so.5.17", soname="libpq.so.5")
    (root / "lib/libpq.so.5").symlink_to("libpq.so.5.17")
    (root / "lib/libpq.so").symlink_to("libpq.so.5")
    build_elf(root / "bin/psql", program=True, needed=["libpq.so.5"], runpath="$ORIGIN/../lib")


def make_npm_package(root: Path, target: Path) -> Path:
    (root / "package.json").write_text(json.dumps({"name": "a", "version": "1.0.0"}))
    with tarfile.open(target, "w:gz") as archive:
        archive.add(root, "package")
    return target


def make_zip(root: Path, target: Path) -> Path:
    """Write a zip archive with symlinks, as Info-ZIP's ``zip -y`` does."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(root.rglob("*")):
            info = zipfile.ZipInfo(str(path.relative_to(root)))
            info.create_system = 3
            if path.is_symlink():
                info.external_attr = 0o120777 << 16
                archive.writestr(info, str(path.readlink()))
            elif path.is_file():
                info.external_attr = (0o100000 | path.stat().st_mode & 0o777) << 16
                archive.writestr(info, path.read_bytes())
    return target


def list_severities(findings: Iterable[Finding]) -> dict[str, Severity]:
    return {finding.path: finding.severity for finding in findings}


def test_a_needed_symlink_of_an_npm_package_is_an_error_and_becomes_a_copy(tmp_path: Path) -> None:
    build_tool(tmp_path / "p")
    package = make_npm_package(tmp_path / "p", tmp_path / "p.tgz")
    assert list_severities(check(package, "BF606")) == {
        "lib/libpq.so.5": Severity.ERROR,
        "lib/libpq.so": Severity.NOTE,
    }
    fix(package, tmp_path / "q.tgz")
    with tarfile.open(tmp_path / "q.tgz") as archive:
        assert archive.getmember("package/lib/libpq.so.5").isreg()
        assert archive.getmember("package/lib/libpq.so").issym()
    assert list_severities(check(tmp_path / "q.tgz", "BF606")) == {"lib/libpq.so": Severity.NOTE}


def test_npm_loses_hard_links_too(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/lib/libpq.so.5.17", soname="libpq.so.5")
    (tmp_path / "p/lib/libpq.so.5").hardlink_to(tmp_path / "p/lib/libpq.so.5.17")
    build_elf(tmp_path / "p/psql", program=True, needed=["libpq.so.5"], runpath="$ORIGIN/lib")
    package = make_npm_package(tmp_path / "p", tmp_path / "p.tgz")
    fix(package, tmp_path / "q.tgz")
    with tarfile.open(tmp_path / "q.tgz") as archive:
        assert not any(member.islnk() for member in archive)


def test_a_needed_symlink_of_a_zip_archive_is_a_warning_and_becomes_a_copy(tmp_path: Path) -> None:
    build_tool(tmp_path / "p")
    archive = make_zip(tmp_path / "p", tmp_path / "p.zip")
    assert list_severities(check(archive, "BF606"))["lib/libpq.so.5"] is Severity.WARNING
    fix(archive, tmp_path / "q.zip")
    with zipfile.ZipFile(tmp_path / "q.zip") as fixed:
        library = (tmp_path / "p/lib/libpq.so.5.17").read_bytes()
        assert fixed.read("lib/libpq.so.5") == library


def test_a_directory_symlink_on_a_search_path_is_reported_but_not_replaced(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/lib/libpq.so.5", soname="libpq.so.5")
    (tmp_path / "p/lib64").symlink_to("lib")
    build_elf(tmp_path / "p/psql", program=True, needed=["libpq.so.5"], runpath="$ORIGIN/lib64")
    (finding,) = check(make_zip(tmp_path / "p", tmp_path / "p.zip"), "BF606")
    assert (finding.path, finding.severity, finding.fixable) == ("lib64", Severity.WARNING, False)


def test_a_script_that_contains_the_name_of_a_symlink_counts(tmp_path: Path) -> None:
    build_tool(tmp_path / "p")
    (tmp_path / "p/load.js").write_text('ffi.Library("lib/libpq.so", {})\n')
    package = make_npm_package(tmp_path / "p", tmp_path / "p.tgz")
    assert list_severities(check(package, "BF606"))["lib/libpq.so"] is Severity.WARNING


def test_a_tarball_keeps_its_symlinks(tmp_path: Path) -> None:
    build_tool(tmp_path / "p")
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(tmp_path / "p", "tool")
    assert check(tmp_path / "p.tar", "BF606") == []


def write_unpacked_zip(root: Path) -> None:
    """Write what Python's zipfile unpacks of a zip archive with symlinks."""
    build_tool(root)
    for name, target in (("libpq.so.5", "libpq.so.5.17"), ("libpq.so", "libpq.so.5")):
        (root / "lib" / name).unlink()
        (root / "lib" / name).write_text(target)


def test_text_files_in_place_of_symlinks_become_symlinks_again(tmp_path: Path) -> None:
    write_unpacked_zip(tmp_path / "p")
    assert list_severities(check(tmp_path / "p", "BF607")) == {
        "lib/libpq.so.5": Severity.ERROR,
        "lib/libpq.so": Severity.WARNING,
    }
    fix(tmp_path / "p", tmp_path / "q")
    assert (tmp_path / "q/lib/libpq.so.5").readlink() == Path("libpq.so.5.17")
    assert (tmp_path / "q/lib/libpq.so").readlink() == Path("libpq.so.5")
    assert check(tmp_path / "q", "BF607") == []


def test_text_files_in_a_wheel_become_copies(tmp_path: Path) -> None:
    write_unpacked_zip(tmp_path / "tree/demo")
    wheel = build_wheel(tmp_path / "tree", tmp_path / NAME)
    fix(wheel, tmp_path / "q.whl")
    with zipfile.ZipFile(tmp_path / "q.whl") as archive:
        names = [f"demo/lib/libpq.so{version}" for version in ("", ".5", ".5.17")]
        assert len({archive.read(name) for name in names}) == 1
    assert check(tmp_path / "q.whl", "BF607", "BF640") == []


def test_a_linker_script_and_a_list_of_names_are_not_symlinks(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/lib/libpq.so.5", soname="libpq.so.5")
    (tmp_path / "p/lib/libpq.so").write_text("INPUT ( libpq.so.5 )\n")
    (tmp_path / "p/lib/plugins.txt").write_text("libpq.so.5\n")
    (tmp_path / "p/lib/libgone.so").write_text("libgone.so.1")
    assert check(tmp_path / "p", "BF607") == []


def test_a_tarball_stream_with_a_text_file_is_repaired(tmp_path: Path) -> None:
    write_unpacked_zip(tmp_path / "p")
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(tmp_path / "p", "tool")
        info = tarfile.TarInfo("tool/README")
        archive.addfile(info, io.BytesIO())
    fix(tmp_path / "p.tar", tmp_path / "q.tar")
    with tarfile.open(tmp_path / "q.tar") as archive:
        assert archive.getmember("tool/lib/libpq.so.5").linkname == "libpq.so.5.17"
