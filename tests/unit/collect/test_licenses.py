from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.collect.libraries.packages import Package
from bundle_fix.collect.licenses import add_licenses
from bundle_fix.collect.pack_builder import PackBuilder

from .test_collect import collect_spec, list_members

SPEC = '[[files]]\nfrom = "server"\nto = "bin/"\n[closure]\nbundle = ["libz.so.*"]\n'
DEBIAN = Path("/usr/share/doc/zlib1g/copyright")


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's zlib1g is not installed")
def test_licence_files_of_packages_are_added_if_the_spec_requests_them(tmp_path: Path) -> None:
    build_elf(tmp_path / "server", program=True, needed=["libz.so.1"])
    assert not [path for path in list_members(collect_spec(tmp_path, SPEC)) if "licen" in path]
    result = collect_spec(tmp_path, f"licenses = true\n{SPEC}")
    assert list_members(result)["licenses/zlib1g/copyright"] == "644"
    assert result.origins["licenses/zlib1g/copyright"].source == DEBIAN.resolve()


def test_a_package_without_a_licence_file_is_reported(tmp_path: Path) -> None:
    package = Package("deb", "libmissing1", "1", "amd64")
    assert add_licenses(PackBuilder(tmp_path), [package], "x.toml:1:1") == [
        "x.toml:1:1: missing licence file of the package libmissing1 on this machine"
    ]


def test_licence_files_of_an_rpm_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("rpmbuild") is None:
        pytest.skip("rpmbuild is not installed (Debian: rpm)")
    (tmp_path / ".rpmmacros").write_text(f"%_dbpath {tmp_path}/db\n%_topdir {tmp_path}/build\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    text = tmp_path / "COPYING"
    text.write_text("as you like\n")
    (tmp_path / "x.spec").write_text(
        "Name: libx\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\n%description\nx\n"
        f"%install\nmkdir -p %{{buildroot}}{tmp_path}\ncp {text} %{{buildroot}}{text}\n"
        f"%files\n%license {text}\n"
    )
    built = f"{tmp_path}/build/RPMS/noarch/libx-1-1.noarch.rpm"
    for command in (
        ["rpmbuild", "-bb", "--target", "noarch", f"{tmp_path}/x.spec"],
        ["rpm", "-i", "--justdb", "--nodeps", built],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    builder = PackBuilder(tmp_path)
    assert add_licenses(builder, [Package("rpm", "libx", "1-1", "noarch")], "x") == []
    assert list(builder.nodes) == ["licenses/libx/COPYING"]
