from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from builders.elf import build_elf
from builders.run import run_bundle_fix
from bundle_fix.manifest.model import (
    ElfRecord,
    FileRecord,
    Manifest,
    PackageRecord,
    SymlinkRecord,
    ToolRecord,
)
from bundle_fix.report.render.sbom import render_sbom

DEB = PackageRecord("deb", "libssl3", "3.0.17-1~deb12u2", "amd64", "debian-12")
RPM = PackageRecord("rpm", "openssl-libs", "1:3.2.2-6.el9", "x86_64", "rocky-9.4")
SIX = PackageRecord("deb", "python3-six", "1.16.0-4", "all")
ELF = "x86_64", "dyn"


def make_files(package: PackageRecord = DEB) -> list[FileRecord]:
    needs = ElfRecord(*ELF, needed=["libssl.so.3", "libc.so.6"])
    library = ElfRecord(*ELF, soname="libssl.so.3", build_id="ab12")
    return [
        FileRecord("VERSION", "0" * 64, 1, "0644"),
        FileRecord("bin/server", "1" * 64, 1, "0755", needs, "out/server"),
        FileRecord("lib/libssl.so.3.1", "2" * 64, 1, "0755", library, "/usr/lib/x", package),
    ]


def make_manifest(files: Sequence[FileRecord] = ()) -> Manifest:
    links = [SymlinkRecord("lib/libssl.so.3", "libssl.so.3.1")]
    return Manifest(1, ToolRecord(), "pack-1.0", files or make_files(), links)


def load_sbom(files: Sequence[FileRecord] = (), moment: int | None = None) -> dict[str, Any]:
    text = render_sbom(make_manifest(files), moment)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error
    sbom: dict[str, Any] = json.loads(text)
    return sbom


def test_programs_and_libraries_are_components_with_their_hashes() -> None:
    components = {c["bom-ref"]: c for c in load_sbom()["components"]}
    assert {ref: c["type"] for ref, c in components.items()} == {
        "bin/server": "application",
        "lib/libssl.so.3.1": "library",
    }
    library = components["lib/libssl.so.3.1"]
    assert (library["name"], library["version"]) == ("libssl.so.3", DEB.version)
    assert library["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]


def test_a_file_of_a_package_has_its_purl() -> None:
    purls = [
        component["purl"]
        for package in (DEB, RPM)
        for component in load_sbom(make_files(package))["components"]
        if "purl" in component
    ]
    assert purls == [
        "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=debian-12",
        "pkg:rpm/rocky/openssl-libs@3.2.2-6.el9?arch=x86_64&distro=rocky-9.4&epoch=1",
    ]


def test_each_python_distribution_is_a_component_of_pypi() -> None:
    files = [
        FileRecord("bin/server", "1" * 64, 1, "0755", ElfRecord(*ELF)),
        FileRecord("lib/py/PyYAML-6.0.2+a.1.dist-info/METADATA", "2" * 64, 1, "0644"),
        FileRecord("lib/py/PyYAML-6.0.2+a.1.dist-info/RECORD", "3" * 64, 1, "0644"),
        FileRecord("zlib_ng-1.1.0.dist-info/METADATA", "4" * 64, 1, "0644"),
        FileRecord("deb/six-1.16.0.dist-info/METADATA", "5" * 64, 1, "0644", package=SIX),
        FileRecord("odd.dist-info/METADATA", "6" * 64, 1, "0644"),
        FileRecord("lib/a-1/METADATA", "7" * 64, 1, "0644"),
    ]
    sbom = load_sbom(files=files)
    found = {c["bom-ref"]: (c["name"], c["version"], c["purl"]) for c in sbom["components"][1:]}
    assert found == {
        "lib/py/PyYAML-6.0.2+a.1.dist-info":
            ("PyYAML", "6.0.2+a.1", "pkg:pypi/pyyaml@6.0.2%2Ba.1"),
        "zlib_ng-1.1.0.dist-info": ("zlib-ng", "1.1.0", "pkg:pypi/zlib-ng@1.1.0"),
        "deb/six-1.16.0.dist-info": ("six", "1.16.0", "pkg:deb/python3-six@1.16.0-4?arch=all"),
    }  # fmt: skip
    depends = {d["ref"]: d.get("dependsOn", []) for d in sbom["dependencies"]}
    assert set(depends["/"]) == {"bin/server", *found}


def test_dependencies_are_the_resolved_needed_names() -> None:
    depends = {d["ref"]: d.get("dependsOn", []) for d in load_sbom()["dependencies"]}
    assert depends["bin/server"] == ["lib/libssl.so.3.1"]
    assert depends["lib/libssl.so.3.1"] == []
    assert depends["/"] == ["bin/server", "lib/libssl.so.3.1"]


def test_the_sbom_is_reproducible_and_has_only_the_given_time() -> None:
    one, other = render_sbom(make_manifest(), None), render_sbom(make_manifest(), None)
    assert one == other
    assert "timestamp" not in json.loads(one)["metadata"]
    assert load_sbom(moment=1_700_000_000)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert load_sbom(make_files(RPM))["serialNumber"] != load_sbom()["serialNumber"]


def test_pack_writes_the_sbom_also_for_an_unchanged_pack(tmp_path: Path) -> None:
    build_elf(tmp_path / "server", program=True)
    (tmp_path / "bundle.toml").write_text(
        '[bundle]\nname = "p"\n[[files]]\nfrom = "server"\nto = "bin/"\n'
    )
    for name in ("one.json", "two.json"):
        result = run_bundle_fix("pack", "bundle.toml", "--if-changed", "--sbom", name, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert "unchanged" in result.stderr
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_without_the_library_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cyclonedx'] = None; sys.argv[0] = 'bundle-fix';"
        "from bundle_fix.cli.main import run; run()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "pack", "gone.toml", "--sbom", "x.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == (
        "bundle-fix: error: an SBOM needs cyclonedx-python-lib, which is not installed"
        " (pip install 'bundle-fix[sbom]')\n"
    )
