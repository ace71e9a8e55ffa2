"""Inspect a process or a core file: what it has loaded, and what of it is the pack's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.observe.comparison.allocator import MallocProvider, find_malloc_provider
from bundle_fix.observe.comparison.compare import Comparison, compare_objects
from bundle_fix.observe.comparison.pack_contents import PackContents
from bundle_fix.observe.comparison.packs import choose_pack, find_own_pack
from bundle_fix.observe.comparison.prediction import (
    Difference,
    find_differences,
    find_predicted_object,
    predict_process,
)
from bundle_fix.observe.comparison.search_evidence import SearchEvidence, find_evidence
from bundle_fix.observe.cores.core_file import open_core
from bundle_fix.observe.objects import list_objects
from bundle_fix.observe.running import open_process
from bundle_fix.observe.snapshot import FileMemory, Snapshot


class Inspection(Struct, frozen=True):
    """What was found out about a process.

    Attributes:
        snapshot: the process; its memory can no longer be read.
        comparison: its objects and the pack.
        evidence: the rule that chose each object, in the same order; None if there is none.
        predicted: the same as the model of the loader predicts it; None for objects that it does
            not predict.
        differences: the libraries for which the model predicts another file.
        malloc: the object that answers ``malloc``, or None.
        remarks: what could not be read, as sentences.
    """

    snapshot: Snapshot
    comparison: Comparison
    evidence: tuple[SearchEvidence | None, ...]
    predicted: tuple[LoadedObject | None, ...]
    differences: tuple[Difference, ...]
    malloc: MallocProvider | None
    remarks: tuple[str, ...]


NO_LINK_MAP = (
    "no link map can be read: objects are the mapped files with code, in the order of addresses"
)


def inspect_process(pid: int, packs: Sequence[PackContents] = ()) -> Inspection:
    """Inspect the running process ``pid`` without stopping it.

    Args:
        pid: its number.
        packs: the packs to compare with; the one with the most files of the process is chosen.
            Without packs, its own directory may have a manifest.

    Raises:
        BundleFixError: it does not exist, or may not be read.
    """
    with open_process(pid) as snapshot:
        return _inspect_snapshot(snapshot, packs)


def inspect_core(
    path: Path,
    packs: Sequence[PackContents] = (),
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = no_progress,
) -> Inspection:
    """Inspect a core file; see `inspect_process`.

    Raises:
        BundleFixError: it cannot be read, or is not a core file.
    """
    with open_core(path, limits, progress) as snapshot:
        return _inspect_snapshot(snapshot, packs)


def _inspect_snapshot(snapshot: Snapshot, packs: Sequence[PackContents]) -> Inspection:
    found = list_objects(snapshot)
    pack = choose_pack(packs, found.objects) if packs else find_own_pack(snapshot, found.objects)
    comparison = compare_objects(snapshot, found.objects, pack, packs)
    remarks = snapshot.remarks
    if (
        not found.has_link_map
        and not found.is_static
        and not isinstance(snapshot.memory, FileMemory)
    ):
        remarks = (*remarks, NO_LINK_MAP)
    process = predict_process(snapshot, found.objects)
    return Inspection(
        snapshot,
        comparison,
        tuple(find_evidence(snapshot, comparison, o) for o in comparison.objects),
        tuple(find_predicted_object(process, o) for o in found.objects),
        tuple(find_differences(process, found.objects)),
        find_malloc_provider(snapshot, comparison),
        remarks,
    )
