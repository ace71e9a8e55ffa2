"""Model of the report on a process or a core file, from which every format is rendered."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import msgspec

from bundle_fix.elf.read.image import get_machine_name
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.search.steps import SEARCH_RULE_TEXTS, SearchRule
from bundle_fix.observe.comparison.allocator import MallocProvider
from bundle_fix.observe.comparison.search_evidence import SearchEvidence
from bundle_fix.observe.comparison.verdict import (
    Comparison,
    DisplacementReason,
    ObservedOrigin,
    Replacement,
    Verdict,
)
from bundle_fix.observe.inspector import Inspection
from bundle_fix.report.check_report import Tool
from bundle_fix.report.steps import format_found_by, format_step
from bundle_fix.subprocesses.signal_names import get_signal_name

SCHEMA = 1
"""Version of the layout; it is raised when an existing reader would misread the new one."""
OPENED_BY_PATH = "opened by its path at run time"
PATH_OR_CACHE = "LD_LIBRARY_PATH or ld.so.cache"
CACHE_OR_DEFAULT = "ld.so.cache or default directories"
"""l_name does not show which of the two it was."""


class RuleRecord(msgspec.Struct, frozen=True):
    """The search rule that chose an object.

    ``code`` is null if no known path leads to the object, as if it was opened by its path at run
    time. ``entry`` is the entry of a search path as written, ``owner`` the object that has it.
    ``text`` is all of it for people. ``steps`` are all steps of the search, if they are known.
    """

    code: SearchRule | None
    entry: str
    owner: str
    text: str
    steps: tuple[str, ...]


class InspectedObjectRecord(msgspec.Struct, frozen=True):
    """One object, in load order.

    Attributes:
        path: the file, as the kernel names it; null for the kernel's own object.
        name: the path by which the loader opened it.
        soname: its soname; null if it has none or cannot be read.
        build_id: its build-id in memory; null if it has none or cannot be read.
        address: the address of its ELF header, in hexadecimal.
        namespace: the number of its link map: 0, or that of a dlmopen(); null if none has it.
        origin: the side that it comes from.
        member: the path of the pack's file at its place, or null.
        displaces: the path of the pack's file that should have been loaded instead, or null.
        reason: why the pack's file was not loaded, or null.
        replaced: how its file differs from the one that was loaded or expected, or null.
        other_pack: the name of the other pack that it comes from, or an empty text.
        rule: the search rule that chose it; null for the program and the kernel's own object.
        predicted: whether the model of the loader predicts it for the start of the process.
        needed_by: the object that needs it first, if the model predicts it; else an empty text.
    """

    path: str | None
    name: str
    soname: str | None
    build_id: str | None
    address: str
    namespace: int | None
    origin: ObservedOrigin
    member: str | None
    displaces: str | None
    reason: DisplacementReason | None
    replaced: Replacement | None
    other_pack: str
    rule: RuleRecord | None
    predicted: bool
    needed_by: str = ""


class PackRecord(msgspec.Struct, frozen=True):
    """The pack; ``root`` is its directory in the process, or null if that is unknown."""

    name: str
    root: str | None


class MallocRecord(msgspec.Struct, frozen=True):
    """The object that answers ``malloc``; ``certain`` if its symbols could be read."""

    path: str
    origin: ObservedOrigin
    certain: bool


class DifferenceRecord(msgspec.Struct, frozen=True):
    """A library for which the model predicts another file than was loaded; null for no file."""

    name: str
    predicted: str | None
    observed: str | None


class InspectReport(msgspec.Struct, frozen=True):
    """The report on one process or core file.

    Attributes:
        schema: the version of the layout.
        tool: the tool that made the report.
        verdict: the result.
        pid: the number of the process; null if a core file does not have it.
        core: the path of the core file; null for a running process.
        program: the path of the program's file, or null.
        command: its command line.
        signal: the name of the signal that ended it, or null.
        machine: its machine, such as ``x86_64``.
        pack: the pack that it was compared with, or null.
        malloc: the object that answers ``malloc``, or null.
        objects: its objects, in load order.
        differences: libraries for which the model of the loader predicts another file.
        remarks: what could not be read, as sentences.
        error: why it could not be read; empty if it was.
    """

    schema: int
    tool: Tool
    verdict: Verdict
    pid: int | None = None
    core: str | None = None
    program: str | None = None
    command: str = ""
    signal: str | None = None
    machine: str = ""
    pack: PackRecord | None = None
    malloc: MallocRecord | None = None
    objects: tuple[InspectedObjectRecord, ...] = ()
    differences: tuple[DifferenceRecord, ...] = ()
    remarks: tuple[str, ...] = ()
    error: str = ""

    @property
    def failed(self) -> bool:
        """Return whether something of the pack was displaced or replaced, or nothing is its."""
        return self.verdict in (Verdict.DISPLACED, Verdict.REPLACED, Verdict.UNRELATED)


def make_unreadable_report(error: str) -> InspectReport:
    """Return the report on a process or a core file that could not be read."""
    return InspectReport(SCHEMA, Tool(), Verdict.UNREADABLE, error=error)


def make_inspect_report(inspection: Inspection) -> InspectReport:
    """Return the report on a process or a core file."""
    snapshot, comparison = inspection.snapshot, inspection.comparison
    return InspectReport(
        schema=SCHEMA,
        tool=Tool(),
        verdict=comparison.verdict,
        pid=snapshot.pid,
        core=snapshot.core,
        program=next(
            (o.observed.path for o in comparison.objects if o.observed.is_main), snapshot.program
        ),
        command=snapshot.command,
        signal=None if snapshot.signal is None else get_signal_name(snapshot.signal),
        machine=get_machine_name(snapshot.machine),
        pack=_make_pack_record(comparison),
        malloc=_make_malloc_record(inspection.malloc),
        objects=_make_object_records(inspection),
        differences=tuple(
            DifferenceRecord(d.name, d.predicted, d.observed) for d in inspection.differences
        ),
        remarks=snapshot.remarks,
    )


def _make_pack_record(comparison: Comparison) -> PackRecord | None:
    pack = comparison.pack
    return None if pack is None else PackRecord(pack.name, comparison.root)


def _make_malloc_record(found: MallocProvider | None) -> MallocRecord | None:
    if found is None:
        return None
    return MallocRecord(found.provider.observed.label, found.provider.origin, found.is_certain)


def _make_object_records(inspection: Inspection) -> tuple[InspectedObjectRecord, ...]:
    objects = inspection.comparison.objects
    labels = {o.observed.label: o.member or o.observed.label for o in objects}
    # The model knows the program by its file name.
    labels |= {posixpath.basename(o.observed.label): labels[o.observed.label] for o in objects[:1]}
    # It knows libraries by the paths at which it found them, which may be symlinks.
    pairs = zip(objects, inspection.predicted, strict=True)
    labels = {p.label: labels[o.observed.label] for o, p in pairs if p is not None} | labels
    return tuple(
        InspectedObjectRecord(
            path=o.observed.path,
            name=o.observed.name,
            soname=o.observed.soname,
            build_id=o.observed.build_id,
            address=hex(o.observed.address),
            namespace=o.observed.namespace,
            origin=o.origin,
            member=o.member,
            displaces=o.displaces,
            reason=o.reason,
            replaced=o.replacement,
            other_pack=o.other_pack,
            rule=None if o.observed.is_main else _make_rule_record(found, predicted, labels),
            predicted=predicted is not None,
            needed_by=labels.get(predicted.needed_by, predicted.needed_by) if predicted else "",
        )
        for o, found, predicted in zip(
            objects, inspection.evidence, inspection.predicted, strict=True
        )
    )


def _make_rule_record(
    found: SearchEvidence | None, predicted: LoadedObject | None, labels: Mapping[str, str]
) -> RuleRecord | None:
    """Return the rule of the model, which searched step by step, or else that of the evidence.

    ``labels`` are the paths of objects for the report: those of the pack are relative to it.
    """
    if predicted is None:
        if found is None:
            return None
        return RuleRecord(found.rule, found.entry, found.owner, _describe_evidence(found), ())
    last = predicted.trace[-1] if predicted.trace else None
    owner = last.owner or predicted.needed_by if last is not None and last.entry else ""
    return RuleRecord(
        predicted.via,
        last.entry if last is not None else "",
        labels.get(owner, owner),
        format_found_by(predicted),
        tuple(map(format_step, predicted.trace)),
    )


def _describe_evidence(found: SearchEvidence) -> str:
    if found.rule is None:
        return PATH_OR_CACHE if found.is_needed else OPENED_BY_PATH
    if found.rule is SearchRule.DEFAULT:
        return CACHE_OR_DEFAULT
    text = f"{SEARCH_RULE_TEXTS[found.rule]} {found.entry}".strip()
    return f"{text} of {found.owner}" if found.owner else text
