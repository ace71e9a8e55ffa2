"""The bill of materials of a repaired wheel is valid CycloneDX."""

from __future__ import annotations

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from bundle_fix.collect.libraries.packages import Distribution, Package
from bundle_fix.manifest.wheel_sbom import BundledLibrary, make_package_url, render_wheel_sbom

DEBIAN = Distribution("debian", "12")
PACKAGE = Package("deb", "libstdc++6", "1:1.2+dfsg~rc1-4", "amd64")


def test_the_bill_matches_the_schema_and_names_each_library() -> None:
    libraries = [
        BundledLibrary("demo.libs/liba-1a2b3c4d.so.1", "liba.so.1", "0" * 64, PACKAGE),
        BundledLibrary("demo.libs/libb-1a2b3c4d.so.1", "libb.so.1", "1" * 64, None),
    ]
    text = render_wheel_sbom("demo_x", "1.0", libraries, DEBIAN).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    loaded = json.loads(text)
    assert loaded["metadata"]["component"]["purl"] == "pkg:pypi/demo-x@1.0"
    assert [component["name"] for component in loaded["components"]] == ["liba.so.1", "libb.so.1"]


def test_the_package_url_is_that_of_the_reference_implementation() -> None:
    qualifiers = {"arch": "amd64", "distro": "debian-12"}
    url = PackageURL.from_string(make_package_url(PACKAGE, DEBIAN))
    assert url == PackageURL("deb", "debian", "libstdc++6", PACKAGE.version, qualifiers)
    rpm = Package("rpm", "zlib", "2:1.2-3.el9", "x86_64")
    url = PackageURL.from_string(make_package_url(rpm, Distribution("almalinux", "9")))
    assert url.version == "1.2-3.el9"
    assert isinstance(url.qualifiers, dict)
    assert url.qualifiers["epoch"] == "2"
