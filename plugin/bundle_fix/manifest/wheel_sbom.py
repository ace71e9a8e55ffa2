"""Bill of materials of a repaired wheel: CycloneDX 1.6 as JSON in its .dist-info/sboms (PEP 770).

It lists the libraries that were bundled from this machine. It is written directly, so that the
repair of a wheel needs no further package; the tests validate it with the official schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec
from msgspec import Struct

from bundle_fix import __version__
from bundle_fix.collect.libraries.packages import Distribution, Package

SBOM_NAME = "bundle-fix.cdx.json"
"""Name of the file in the directory ``sboms``."""


class BundledLibrary(Struct, frozen=True):
    """A library that was bundled.

    Attributes:
        path: its path in the wheel.
        name: its soname before it was renamed.
        sha256: the digest of the bundled file, in hexadecimal.
        package: the installed package that it comes from, or None.
    """

    path: str
    name: str
    sha256: str
    package: Package | None


def render_wheel_sbom(
    name: str, version: str, libraries: Sequence[BundledLibrary], linux: Distribution
) -> bytes:
    """Return the bill of materials of the wheel of ``name`` and ``version``."""
    purl = f"pkg:pypi/{quote(name.replace('_', '-').lower())}@{quote(version)}"
    wheel = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    tool = {"type": "application", "name": "bundle-fix", "version": __version__}
    paths = [library.path for library in libraries]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"tools": {"components": [tool]}, "component": wheel},
        "components": [_make_component(library, linux) for library in libraries],
        "dependencies": [{"ref": purl, "dependsOn": paths}, *({"ref": path} for path in paths)],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _make_component(library: BundledLibrary, linux: Distribution) -> Mapping[str, object]:
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": library.path,
        "name": library.name,
        "hashes": [{"alg": "SHA-256", "content": library.sha256}],
        "properties": [{"name": "bundle-fix:path", "value": library.path}],
    }
    if library.package is not None:
        component["version"] = library.package.version
        component["purl"] = make_package_url(library.package, linux)
    return component


def make_package_url(package: Package, linux: Distribution) -> str:
    """Return the package URL (purl-spec, types deb and rpm); the epoch of rpm is a qualifier."""
    version, qualifiers = package.version, {"arch": package.architecture}
    if package.kind == "rpm" and ":" in version:
        qualifiers["epoch"], _, version = version.partition(":")
    if linux.name:
        qualifiers["distro"] = f"{linux.name}-{linux.version}".strip("-")
    path = "/".join(quote(part, safe="") for part in (linux.name, package.name) if part)
    text = "&".join(f"{name}={quote(qualifiers[name])}" for name in sorted(qualifiers))
    return f"pkg:{package.kind}/{path}@{quote(version)}?{text}"
