"""Where the files of a pack came from, as its manifest tells it: without the folders of the build.

What differs from one build machine's folders to the next would make two packs of one tree differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle_fix.collect.libraries.packages import Package, read_distribution
from bundle_fix.collect.pack_builder import CollectedPack, Origin
from bundle_fix.manifest.builder import Source
from bundle_fix.manifest.model import PackageRecord
from bundle_fix.model.tree import File

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/opt")
"""Folders whose files belong to the machine and not to the build."""


def sources_of(collected: CollectedPack, root: Path) -> dict[str, Source]:
    """Where each file of the pack came from, by its path in it.

    Args:
        collected: the pack.
        root: the folder that the spec's paths are relative to.
    """
    files = {p: o for p, o in collected.origins.items() if _is_file(collected, p)}
    linux = read_distribution() if collected.packages else None
    told = f"{linux.name}-{linux.version}".strip("-") if linux else ""
    roots = (root, root.resolve())
    packages = collected.packages
    return {path: _source(origin, roots, packages, told) for path, origin in files.items()}


def _is_file(collected: CollectedPack, path: str) -> bool:
    return isinstance(collected.bundle.tree.nodes.get(path), File)


def _source(
    origin: Origin, roots: Sequence[Path], packages: Mapping[Path, Package], distribution: str
) -> Source:
    if origin.source is None:
        return Source()
    package = packages.get(origin.source)
    if package is None:
        return Source(_place(origin.source, roots))
    record = PackageRecord(
        package.kind, package.name, package.version, package.architecture, distribution
    )
    return Source(str(origin.source), record)


def _place(source: Path, roots: Sequence[Path]) -> str:
    for folder in roots:
        if source.is_relative_to(folder):
            return str(source.relative_to(folder))
    is_system = any(source.is_relative_to(folder) for folder in SYSTEM)
    return str(source) if is_system else source.name
