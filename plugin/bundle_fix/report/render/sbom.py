"""Software bill of materials of a pack: CycloneDX 1.6 as JSON, made from the manifest.

Programs and libraries are components; files of installed packages have a package URL (purl). Each
directory ``NAME-VERSION.dist-info`` is a component of PyPI. The result is reproducible: the serial
number is derived from the manifest, and the only time is the given one.
"""

from __future__ import annotations

import json
import posixpath
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING

from bundle_fix.manifest.model import FileRecord, Manifest, PackageRecord, encode_manifest
from bundle_fix.model.errors import BundleFixError

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

NAMESPACE = uuid.UUID("5a6a0f4e-4e0c-5d6f-9a52-6c9f5b1f4c11")
"""UUID namespace of the serial numbers (RFC 9562, UUIDv5)."""
PACK_REF = "/"
"""Reference (``bom-ref``) of the pack itself; no path in the pack begins with a slash."""
PROPERTY_PREFIX = "bundle-fix:"
"""Prefix of the property names of this tool."""
PYTHON_METADATA = re.compile(
    r"(?P<directory>(?:.*/)?(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info)/METADATA"
)
"""The file that every installed Python distribution has; its directory names it.

See "Recording installed projects" and "Binary distribution format" on packaging.python.org.
"""


def require_cyclonedx() -> None:
    """Raise an error if cyclonedx-python-lib is not installed.

    Raises:
        BundleFixError: the library is not installed.
    """
    try:
        import cyclonedx.model.bom  # noqa: F401 (only tested for)
    except ImportError as error:
        raise BundleFixError(
            "an SBOM needs cyclonedx-python-lib, which is not installed",
            hint="pip install 'bundle-fix[sbom]'",
        ) from error


def render_sbom(manifest: Manifest, moment: int | None) -> str:
    """Render the bill of materials of a pack.

    Args:
        manifest: the manifest of the pack.
        moment: the timestamp, in seconds since 1970; None for no timestamp.

    Raises:
        BundleFixError: cyclonedx-python-lib is not installed.
    """
    require_cyclonedx()
    from cyclonedx.output.json import JsonV1Dot6

    loaded = json.loads(JsonV1Dot6(_make_bom(manifest)).output_as_string())
    loaded["metadata"].pop("timestamp", None)
    if moment is not None:
        timestamp = datetime.fromtimestamp(moment, tz=timezone.utc)
        loaded["metadata"]["timestamp"] = timestamp.isoformat()
    return json.dumps(loaded, indent=2, sort_keys=True) + "\n"


def _make_bom(manifest: Manifest) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType

    tool = Component(
        name=manifest.tool.name, version=manifest.tool.version, type=ComponentType.APPLICATION
    )
    pack = Component(name=manifest.name, type=ComponentType.APPLICATION, bom_ref=PACK_REF)
    metadata = BomMetaData(component=pack)
    metadata.tools.components.add(tool)
    components = {r.path: _make_component(r) for r in manifest.files if r.elf is not None}
    distributions = list(_make_python_components(manifest))
    listed = [*components.values(), *distributions]
    serial = uuid.uuid5(NAMESPACE, sha256(encode_manifest(manifest)).hexdigest())
    bom = Bom(components=listed, metadata=metadata, serial_number=serial)
    bom.register_dependency(pack, listed)
    for distribution in distributions:
        bom.register_dependency(distribution)
    providers = _index_providers(manifest)
    for record in manifest.files:
        if record.elf is not None:
            names = map(posixpath.basename, record.elf.needed)
            needed = [components[providers[n]] for n in names if providers.get(n) in components]
            bom.register_dependency(components[record.path], needed)
    return bom


def _make_component(record: FileRecord) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    assert record.elf is not None  # noqa: S101 (only ELF files are components)
    # Position-independent programs have the ELF type of libraries (ET_DYN), so the name decides.
    is_library = record.elf.soname is not None or record.elf.type != "exec"
    is_library = is_library and ".so" in posixpath.basename(record.path)
    package = record.package
    properties = {
        "path": record.path,
        "origin": record.origin,
        "build-id": record.elf.build_id or "",
        "package": f"{package.name} {package.version}" if package else "",
    }
    return Component(
        name=record.elf.soname or posixpath.basename(record.path),
        version=package.version if package else None,
        type=ComponentType.LIBRARY if is_library else ComponentType.APPLICATION,
        bom_ref=record.path,
        purl=_make_purl(package) if package else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=record.sha256)],
        properties=[
            Property(name=PROPERTY_PREFIX + n, value=v) for n, v in properties.items() if v
        ],
    )


def _make_python_components(manifest: Manifest) -> Iterator[Component]:
    """Yield the component of each installed Python distribution."""
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    for record in manifest.files:
        found = PYTHON_METADATA.fullmatch(record.path)
        if found is None:
            continue
        # The path has underscores for the hyphens of the name; a purl has hyphens.
        name, version = found["name"].replace("_", "-"), found["version"]
        package = record.package
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=found["directory"],
            purl=_make_purl(package) if package else PackageURL("pypi", None, name, version),
            properties=[Property(name=f"{PROPERTY_PREFIX}path", value=found["directory"])],
        )


def _make_purl(package: PackageRecord) -> PackageURL:
    """Return the package URL (purl-spec, types deb and rpm); the epoch of rpm is a qualifier."""
    from packageurl import PackageURL

    distribution = package.distribution
    qualifiers = {"arch": package.architecture, "distro": distribution}
    version = package.version
    if package.type == "rpm" and ":" in version:
        qualifiers["epoch"], _, version = version.partition(":")
    namespace = distribution.rpartition("-")[0] or distribution or None
    non_empty = {name: value for name, value in qualifiers.items() if value}
    return PackageURL(package.type, namespace, package.name, version, non_empty)


def _index_providers(manifest: Manifest) -> Mapping[str, str]:
    """Return the path of the file for each needed name: a file name, a soname or a symlink."""
    found: dict[str, str] = {}
    for record in manifest.files:
        if record.elf is not None:
            found.setdefault(posixpath.basename(record.path), record.path)
            found.setdefault(record.elf.soname or record.path, record.path)
    for link in manifest.links:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.target))
        found.setdefault(posixpath.basename(link.path), target)
    return found
