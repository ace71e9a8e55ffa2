"""Inspect a process or a core file: what it has loaded, and what of it is the pack's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.observe.comparison.allocator import MallocProvider, find_malloc_provider
from bundle_fix.observe.comparison.pack_contents import PackContents
from bundle_fix.observe.comparison.packs import choose_pack, find_own_pack
from bundle_fix.observe.comparison.prediction import (
    PredictionDifference,
    find_differences,
    match_predicted_objects,
    predict_process,
)
from bundle_fix.observe.comparison.search_evidence import SearchEvidence, find_evidence
from bundle_fix.observe.comparison.verdict import Comparison, compare_objects
from bundle_fix.observe.cores.core_file import open_core
from bundle_fix.observe.environ import read_present_environment
from bundle_fix.observe.objects import LoadedObjects, list_objects
from bundle_fix.observe.running import open_process
from bundle_fix.observe.snapshot import FileMemory, ProcessSnapshot


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
    """

    snapshot: ProcessSnapshot
    comparison: Comparison
    evidence: tuple[SearchEvidence | None, ...]
    predicted: tuple[LoadedObject | None, ...]
    differences: tuple[PredictionDifference, ...]
    malloc: MallocProvider | None


OVERWRITTEN = (
    "the environment at the start cannot be read, or the process has overwritten it:"
    " LD_LIBRARY_PATH and LD_PRELOAD are unknown"
)
PRESENT = (
    "the process has overwritten its environment: LD_LIBRARY_PATH and LD_PRELOAD are those of its"
    " present environment"
)
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


def _inspect_snapshot(snapshot: ProcessSnapshot, packs: Sequence[PackContents]) -> Inspection:
    found = list_objects(snapshot)
    if not found.objects:
        raise BundleFixError(
            "no object can be found: it has neither a link map nor a list of mapped files",
            where=snapshot.core or snapshot.label,
            hint="it is truncated, or its memory was not dumped: see coredump_filter in core(5)",
        )
    snapshot = _complete_environment(snapshot, found)
    pack = choose_pack(packs, found.objects) if packs else find_own_pack(snapshot, found.objects)
    comparison = compare_objects(snapshot, found.objects, pack, packs)
    process = predict_process(snapshot, found.objects)
    return Inspection(
        snapshot,
        comparison,
        find_evidence(snapshot, comparison),
        match_predicted_objects(process, found.objects),
        tuple(find_differences(process, found.objects)),
        find_malloc_provider(snapshot, comparison),
    )


def _complete_environment(snapshot: ProcessSnapshot, found: LoadedObjects) -> ProcessSnapshot:
    """Return the snapshot with an environment, if any can be read, and with remarks."""
    if not found.has_link_map:
        is_explained = found.is_static or isinstance(snapshot.memory, FileMemory)
        remarks = () if is_explained else (NO_LINK_MAP,)
        return replace(snapshot, remarks=(*snapshot.remarks, *remarks))
    if snapshot.environment is not None:
        return snapshot
    environment = read_present_environment(snapshot, found.objects)
    remark = OVERWRITTEN if environment is None else PRESENT
    return replace(snapshot, environment=environment, remarks=(*snapshot.remarks, remark))
