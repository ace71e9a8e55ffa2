from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from builders.elf import elf
from builders.run import bundle_fix
from bundle_fix.manifest.model import (
    ElfRecord,
    FileRecord,
    LinkRecord,
    Manifest,
    PackageRecord,
    ToolRecord,
)
from bundle_fix.report.render.sbom import render_sbom

DEB = PackageRecord("deb", "libssl3", "3.0.17-1~deb12u2", "amd64", "debian-12")
RPM = PackageRecord("rpm", "openssl-libs", "1:3.2.2-6.el9", "x86_64", "rocky-9.4")
ELF = "x86_64", "dyn"


def manifest(package: PackageRecord = DEB) -> Manifest:
    needs = ElfRecord(*ELF, needed=["libssl.so.3", "libc.so.6"])
    library = ElfRecord(*ELF, soname="libssl.so.3", build_id="ab12")
    files = [
        FileRecord("VERSION", "0" * 64, 1, "0644"),
        FileRecord("bin/server", "1" * 64, 1, "0755", needs, "out/server"),
        FileRecord("lib/libssl.so.3.1", "2" * 64, 1, "0755", library, "/usr/lib/x", package),
    ]
    links = [LinkRecord("lib/libssl.so.3", "libssl.so.3.1")]
    return Manifest(1, ToolRecord(), "pack-1.0", files, links)


def rendered(package: PackageRecord = DEB, moment: int | None = None) -> dict[str, Any]:
    text = render_sbom(manifest(package), moment)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert problem is None, problem
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_programs_and_libraries_are_components_with_their_hashes() -> None:
    found = {c["bom-ref"]: c for c in rendered()["components"]}
    assert {ref: c["type"] for ref, c in found.items()} == {
        "bin/server": "application",
        "lib/libssl.so.3.1": "library",
    }
    library = found["lib/libssl.so.3.1"]
    assert (library["name"], library["version"]) == ("libssl.so.3", DEB.version)
    assert library["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]


def test_a_package_is_told_by_its_purl() -> None:
    purls = [
        component["purl"]
        for package in (DEB, RPM)
        for component in rendered(package)["components"]
        if "purl" in component
    ]
    assert purls == [
        "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12",
        "pkg:rpm/rocky/openssl-libs@3.2.2-6.el9?arch=x86_64&distro=rocky-9.4&epoch=1",
    ]


def test_what_needs_what_is_told() -> None:
    depends = {d["ref"]: d.get("dependsOn", []) for d in rendered()["dependencies"]}
    assert depends["bin/server"] == ["lib/libssl.so.3.1"]
    assert depends["lib/libssl.so.3.1"] == []
    assert depends["/"] == ["bin/server", "lib/libssl.so.3.1"]


def test_the_bill_is_the_same_for_the_same_pack_and_has_no_time_of_its_own() -> None:
    one, other = render_sbom(manifest(), None), render_sbom(manifest(), None)
    assert one == other
    assert "timestamp" not in json.loads(one)["metadata"]
    assert rendered(moment=1_700_000_000)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert rendered(RPM)["serialNumber"] != rendered(DEB)["serialNumber"]


def test_pack_writes_it_also_for_a_pack_that_is_unchanged(tmp_path: Path) -> None:
    elf(tmp_path / "server", program=True)
    (tmp_path / "bundle.toml").write_text(
        '[bundle]\nname = "p"\n[[files]]\nfrom = "server"\nto = "bin/"\n'
    )
    for name in ("one.json", "two.json"):
        done = bundle_fix("pack", "bundle.toml", "--if-changed", "--sbom", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stderr
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_without_its_library_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cyclonedx'] = None; sys.argv[0] = 'bundle-fix';"
        "from bundle_fix.cli.main import run; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "pack", "gone.toml", "--sbom", "x.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "bundle-fix: error: an SBOM needs cyclonedx-python-lib, which is not installed"
        " (pip install 'bundle-fix[sbom]')\n"
    )
