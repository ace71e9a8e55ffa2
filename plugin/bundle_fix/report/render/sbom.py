"""A pack's software bill of materials: CycloneDX 1.6 as JSON, made from its manifest.

Programs and libraries are components; those from installed packages have their purl. The text is
the same for the same manifest: the serial number is made of it, and the only time is the one given.
"""

from __future__ import annotations

import json
import posixpath
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING

from bundle_fix.manifest.model import FileRecord, Manifest, PackageRecord, encode
from bundle_fix.model.errors import BundleFixError

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

NAMESPACE = uuid.UUID("5a6a0f4e-4e0c-5d6f-9a52-6c9f5b1f4c11")
"""Of the serial numbers of this tool's bills."""
PACK = "/"
"""What the pack itself is referred to by: no path in it begins with a slash."""
PREFIX = "bundle-fix:"
"""What precedes the names of properties that are this tool's own."""


def require_cyclonedx() -> None:
    """See that the library is there before anything is done.

    Raises:
        BundleFixError: it is not installed.
    """
    try:
        import cyclonedx.model.bom  # noqa: F401 (whether it can be)
    except ImportError as error:
        raise BundleFixError(
            "a bill of materials needs cyclonedx-python-lib, which is not installed",
            hint="pip install 'bundle-fix[sbom]'",
        ) from error


def render_sbom(manifest: Manifest, moment: int | None) -> str:
    """The bill of materials of a pack.

    Args:
        manifest: what is in the pack.
        moment: when it is said to be made, in seconds since 1970; None leaves it out.

    Raises:
        BundleFixError: the library that writes it is not installed.
    """
    require_cyclonedx()
    from cyclonedx.output.json import JsonV1Dot6

    loaded = json.loads(JsonV1Dot6(_bom(manifest)).output_as_string())
    loaded["metadata"].pop("timestamp", None)
    if moment is not None:
        made = datetime.fromtimestamp(moment, tz=timezone.utc)
        loaded["metadata"]["timestamp"] = made.isoformat()
    return json.dumps(loaded, indent=2, sort_keys=True) + "\n"


def _bom(manifest: Manifest) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType

    tool = Component(
        name=manifest.tool.name, version=manifest.tool.version, type=ComponentType.APPLICATION
    )
    pack = Component(name=manifest.name, type=ComponentType.APPLICATION, bom_ref=PACK)
    metadata = BomMetaData(component=pack)
    metadata.tools.components.add(tool)
    components = {r.path: _component(r) for r in manifest.files if r.elf is not None}
    serial = uuid.uuid5(NAMESPACE, sha256(encode(manifest)).hexdigest())
    bom = Bom(components=components.values(), metadata=metadata, serial_number=serial)
    bom.register_dependency(pack, components.values())
    providers = _providers(manifest)
    for record in manifest.files:
        if record.elf is not None:
            names = map(posixpath.basename, record.elf.needed)
            needed = [components[providers[n]] for n in names if providers.get(n) in components]
            bom.register_dependency(components[record.path], needed)
    return bom


def _component(record: FileRecord) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    assert record.elf is not None  # noqa: S101 (only ELF files are components)
    is_library = record.elf.soname is not None or record.elf.type != "exec"
    is_library = is_library and ".so" in posixpath.basename(record.path)
    package = record.package
    told = {
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
        purl=_purl(package) if package else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=record.sha256)],
        properties=[Property(name=PREFIX + n, value=value) for n, value in told.items() if value],
    )


def _purl(package: PackageRecord) -> PackageURL:
    """The package's URL (purl-spec, types deb and rpm): an epoch of rpm's is a qualifier."""
    from packageurl import PackageURL

    distribution = package.distribution
    qualifiers = {"arch": package.architecture, "distro": distribution}
    version = package.version
    if package.type == "rpm" and ":" in version:
        qualifiers["epoch"], _, version = version.partition(":")
    namespace = distribution.rpartition("-")[0] or distribution or None
    known = {name: value for name, value in qualifiers.items() if value}
    return PackageURL(package.type, namespace, package.name, version, known)


def _providers(manifest: Manifest) -> Mapping[str, str]:
    """The file that each needed name leads to, by the names of files, their sonames, and links."""
    found: dict[str, str] = {}
    for record in manifest.files:
        if record.elf is not None:
            found.setdefault(posixpath.basename(record.path), record.path)
            found.setdefault(record.elf.soname or record.path, record.path)
    for link in manifest.links:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.target))
        found.setdefault(posixpath.basename(link.path), target)
    return found
