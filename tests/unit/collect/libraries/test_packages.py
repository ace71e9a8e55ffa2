from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bundle_fix.collect.libraries.packages import Package, find_owners, read_distribution

STATUS = """Package: {name}
Status: install ok installed
Maintainer: test <test@example.org>
Architecture: amd64
Multi-Arch: same
Version: {version}
Description: a test

"""


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up an empty dpkg database with four packages; return its directory."""
    if shutil.which("dpkg-query") is None:
        pytest.skip("dpkg-query is not installed")
    (tmp_path / "info").mkdir()
    (tmp_path / "info/format").write_text("1\n")
    (tmp_path / "diversions").write_text("")
    packages = {
        "libone1": ("1:1.0-1", "/lib/x86_64-linux-gnu/libone.so.1.0"),
        "libtwo2": ("2.0", "/usr/lib/x86_64-linux-gnu/libt[w]o.so.2"),
        "libold1": ("1", "/usr/lib/libshared.so.1"),
        "libnew1": ("2", "/usr/lib/libshared.so.1"),
    }
    text = "".join(STATUS.format(name=n, version=v) for n, (v, _) in packages.items())
    (tmp_path / "status").write_text(text)
    for name, (_, path) in packages.items():
        (tmp_path / f"info/{name}:amd64.list").write_text(f"/.\n{path}\n")
    monkeypatch.setenv("DPKG_ADMINDIR", str(tmp_path))
    return tmp_path


def test_dpkg_may_list_a_file_in_usr_without_that_prefix(dpkg: Path) -> None:
    path = Path("/usr/lib/x86_64-linux-gnu/libone.so.1.0")
    assert find_owners([path]) == {path: Package("deb", "libone1", "1:1.0-1", "amd64")}


def test_a_path_is_not_used_as_a_pattern(dpkg: Path) -> None:
    found = find_owners(
        [Path("/usr/lib/x86_64-linux-gnu/libt[w]o.so.2"), Path("/usr/lib/x86_64-linux-gnu/*")]
    )
    assert [package.name for package in found.values()] == ["libtwo2"]


def test_a_diverted_path_belongs_to_the_diverting_package(dpkg: Path) -> None:
    moved = "/usr/lib/libshared.so.1.old"
    (dpkg / "diversions").write_text(f"/usr/lib/libshared.so.1\n{moved}\nlibnew1\n")
    found = find_owners([Path("/usr/lib/libshared.so.1"), Path(moved)])
    assert {str(p): package.name for p, package in found.items()} == {
        "/usr/lib/libshared.so.1": "libnew1",
        moved: "libold1",
    }


def test_a_path_with_a_local_diversion_has_no_owner(dpkg: Path) -> None:
    moved = "/usr/lib/x86_64-linux-gnu/libone.so.1.0.distrib"
    (dpkg / "diversions").write_text(f"/lib/x86_64-linux-gnu/libone.so.1.0\n{moved}\n:\n")
    assert find_owners([Path("/usr/lib/x86_64-linux-gnu/libone.so.1.0")]) == {}


def test_a_file_of_an_rpm_package_has_that_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("rpmbuild") is None:
        pytest.skip("rpmbuild is not installed (Debian: rpm)")
    (tmp_path / ".rpmmacros").write_text(f"%_dbpath {tmp_path}/db\n%_topdir {tmp_path}/build\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    spec = tmp_path / "x.spec"
    spec.write_text(
        "Name: libx\nVersion: 1.2\nRelease: 3\nEpoch: 4\nSummary: x\nLicense: x\n"
        "%description\nx\n%install\nmkdir -p %{buildroot}/opt/rpmtest\n"
        "echo x >%{buildroot}/opt/rpmtest/libx.so.1\n%files\n/opt/rpmtest/libx.so.1\n"
    )
    for command in (
        ["rpmbuild", "-bb", "--target", "noarch", str(spec)],
        [
            "rpm",
            "-i",
            "--justdb",
            "--nodeps",
            f"{tmp_path}/build/RPMS/noarch/libx-1.2-3.noarch.rpm",
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    place = Path("/opt/rpmtest/libx.so.1")
    found = find_owners([Path("/opt/rpmtest/other"), place])
    assert found == {place: Package("rpm", "libx", "4:1.2-3", "noarch")}


def test_the_distribution_is_read_from_os_release(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('NAME="Rocky Linux"\nID="rocky"\nVERSION_ID="9.4"\n')
    assert (read_distribution(path).name, read_distribution(path).version) == ("rocky", "9.4")
    assert read_distribution(tmp_path / "none").name == ""
