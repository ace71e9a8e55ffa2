"""The steps of ``make release`` that need neither the network nor a standalone tarball."""

from __future__ import annotations

import email
import platform
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from release.checks import check_program, check_tarball
from release.commands import ReleaseError
from release.files import (
    build_python_packages,
    build_tarballs,
    get_tarball_name,
    publish,
    write_checksums,
)

from builders.pack import make_incident_pack, make_tarball
from bundle_fix import __version__
from integration.conftest import ROOT, require_program

OTHER = {"x86_64": "aarch64"}.get(platform.machine(), "x86_64")


def make_directory(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files of the project that its packages are made of, with one module."""
    source = make_directory(tmp_path / "source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "share", source / "share")
    (source / "plugin/bundle_fix").mkdir(parents=True)
    shutil.copy(ROOT / "plugin/bundle_fix/__init__.py", source / "plugin/bundle_fix")
    return source


def test_packages_have_complete_metadata_and_the_date_of_the_release(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    sdist, wheel = build_python_packages(source, make_directory(tmp_path / "out"))
    with tarfile.open(sdist) as tar:
        assert {member.mtime for member in tar} == {1700000000}
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == __version__
    assert metadata["Author"] == "The bundle-fix developers"
    links = [link.partition(", ")[0] for link in metadata.get_all("Project-URL") or ()]
    assert "Homepage" in links
    assert "Programming Language :: Python :: 3.10" in (metadata.get_all("Classifier") or ())


def test_the_checksums_are_those_that_sha256sum_verifies(tmp_path: Path) -> None:
    for name in ("b.whl", "a.tar.gz"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == 2
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_a_release_replaces_the_one_before_as_a_whole(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    for name in ("bundle-fix-1", "bundle-fix-2"):
        staged = make_directory(tmp_path / "staged")
        (staged / name).touch()
        publish(staged, dist)
        assert [path.name for path in dist.iterdir()] == [name]
    staged = make_directory(tmp_path / "staged")
    (dist / "notes.txt").touch()
    with pytest.raises(ReleaseError, match=r"notes\.txt: not a file of a release; move it away"):
        publish(staged, dist)
    assert {path.name for path in dist.iterdir()} == {"bundle-fix-2", "notes.txt"}
    assert [path.name for path in tmp_path.iterdir() if path != staged] == ["dist"]


def test_only_the_tarball_for_another_machine_may_be_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    require_program("make", "the release builds its tarballs with it")
    makefile = tmp_path / "Makefile"
    name = get_tarball_name("1", platform.machine())
    makefile.write_text(f"standalone:\n\ttest $(ARCH) != {OTHER}\n\ttouch $(DIST)/{name}\n")
    assert build_tarballs(tmp_path, tmp_path, "1") == [tmp_path / name]
    assert f"note: {get_tarball_name('1', OTHER)} is left out: make sta" in capfd.readouterr().out
    makefile.write_text(f"standalone:\n\ttest $(ARCH) = {OTHER}\n")
    with pytest.raises(ReleaseError, match="exit code 2"):
        build_tarballs(tmp_path, tmp_path, "1")


def test_a_tarball_that_fails_its_check_is_no_release(tmp_path: Path) -> None:
    broken = make_tarball(make_incident_pack(tmp_path / "bad"), tmp_path / "bad.tar.gz")
    with pytest.raises(ReleaseError, match="exit code 1"):
        check_tarball(broken, __version__, runs_here=False)


def test_a_program_with_another_version_is_no_release(tmp_path: Path) -> None:
    program = tmp_path / "bundle-fix"
    program.write_text("#!/bin/sh\necho bundle-fix 0.0.1\n")
    program.chmod(0o755)
    with pytest.raises(ReleaseError, match=r"its version is bundle-fix 0\.0\.1, not 2"):
        check_program(program, "2", tmp_path)
