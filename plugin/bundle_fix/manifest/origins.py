"""Origins of the files of a pack, as its manifest stores them.

They do not contain the directories of the build: two machines with different build directories
must make the same pack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle_fix.collect.libraries.packages import Package, read_distribution
from bundle_fix.collect.pack_builder import CollectedPack, Origin
from bundle_fix.manifest.builder import FileOrigin
from bundle_fix.manifest.model import PackageRecord
from bundle_fix.model.tree import File, resolve_path

SYSTEM_DIRECTORIES = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/opt")
"""Directories whose files are part of the system, not of the build."""


def describe_origins(collected: CollectedPack, root: Path) -> dict[str, FileOrigin]:
    """Return the origin of each file of the pack and of each symlink to one, by path.

    Args:
        collected: the pack.
        root: the directory that the spec's paths are relative to.
    """
    linux = read_distribution() if collected.packages else None
    distribution = f"{linux.name}-{linux.version}".strip("-") if linux else ""
    # A source may be a resolved path although the root is given as a symlink.
    roots = (root, root.resolve())
    tree = collected.bundle.tree
    found: dict[str, FileOrigin] = {}
    for path, origin in collected.origins.items():
        end = resolve_path(tree, path)
        if isinstance(end, str) and isinstance(tree.nodes.get(end), File):
            source = collected.origins.get(end, origin)
            found[path] = _describe_origin(source, roots, collected.packages, distribution)
    return found


def _describe_origin(
    origin: Origin, roots: Sequence[Path], packages: Mapping[Path, Package], distribution: str
) -> FileOrigin:
    if origin.source is None:
        return FileOrigin()
    package = packages.get(origin.source)
    if package is None:
        return FileOrigin(_format_path(origin.source, roots))
    record = PackageRecord(
        package.kind, package.name, package.version, package.architecture, distribution
    )
    return FileOrigin(str(origin.source), record)


def _format_path(source: Path, roots: Sequence[Path]) -> str:
    """Return a path relative to the root, an absolute path of the system, or a file name."""
    for root in roots:
        if source.is_relative_to(root):
            return str(source.relative_to(root))
    is_system = any(source.is_relative_to(directory) for directory in SYSTEM_DIRECTORIES)
    return str(source) if is_system else source.name
