"""The packs with which a process is compared: those of ``--against``, or the program's own."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bundle_fix.archive.formats import SUFFIXES, split_name
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import open_artifact
from bundle_fix.manifest.model import ForeignManifestError, read_manifest
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import MANIFEST_NAME, File, Metadata, Tree
from bundle_fix.observe.comparison.pack_contents import (
    PackContents,
    convert_manifest,
    read_pack_contents,
)
from bundle_fix.observe.objects import ObservedObject
from bundle_fix.observe.snapshot import ProcessSnapshot

PARTS_OF_A_PACK = ("bin", "lib", "lib64", "usr", MANIFEST_NAME)
"""Names by which a directory is recognised as an unpacked pack."""


def read_packs(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> list[PackContents]:
    """Return the packs at ``path``: a pack, a manifest, or a directory with several of both.

    Raises:
        BundleFixError: one of them cannot be read.
    """
    packs = []
    for one in _list_packs(path):
        with suppress(ForeignManifestError):
            packs.append(_read_pack(one, limits, progress))
    packs = [pack for pack in packs or [_read_pack(path, limits, progress)] if pack.files]
    if not packs:
        raise BundleFixError("it contains no programs and no libraries", where=str(path))
    return packs


def _list_packs(path: Path) -> list[Path]:
    """Return the packs in a directory; none if it is a pack itself, or a file."""
    if not path.is_dir() or any((path / name).exists() for name in PARTS_OF_A_PACK):
        return []
    return [
        entry
        for entry in sorted(path.iterdir())
        if entry.name.endswith((*SUFFIXES, ".json"))
        or (entry.is_dir() and any((entry / name).exists() for name in PARTS_OF_A_PACK))
    ]


def _read_pack(path: Path, limits: Limits, progress: Progress) -> PackContents:
    if path.suffix == ".json":
        return _read_manifest_file(path)
    with open_artifact(path, limits, progress) as artifact:
        return read_pack_contents(artifact.tree, split_name(path.resolve().name)[0])


def _read_manifest_file(path: Path) -> PackContents:
    try:
        content = PathContent(path, path.stat().st_size)
        manifest = read_manifest(Tree({MANIFEST_NAME: File(content, Metadata(0o644))}))
    except BundleFixError as error:
        error.where = str(path)
        raise
    assert manifest is not None  # noqa: S101 (the tree has it)
    return convert_manifest(manifest)


def find_own_pack(
    snapshot: ProcessSnapshot, objects: Sequence[ObservedObject]
) -> PackContents | None:
    """Return the pack in whose directory the program is, by the manifest there; or None.

    For a core file the manifest on this machine counts only if it lists the program's build-id.
    """
    main = next((o for o in objects if o.is_main and o.path is not None), None)
    if main is None or main.path is None:
        return None
    for directory in _list_parents(main.path):
        path = Path(f"{snapshot.root or ''}{directory}", MANIFEST_NAME)
        try:
            pack = _read_manifest_file(path)
        except (OSError, BundleFixError):
            continue
        if snapshot.root is not None or main.build_id in pack.paths_by_build_id:
            return pack
    return None


def _list_parents(path: str) -> Iterator[str]:
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        yield path.rstrip("/")


def choose_pack(packs: Sequence[PackContents], objects: Sequence[ObservedObject]) -> PackContents:
    """Return the pack with the most build-ids of a process; of equal ones the first."""
    found = {o.build_id for o in objects if o.build_id}
    return max(packs, key=lambda pack: len(found & pack.paths_by_build_id.keys()))
