"""Plans: the changes after which every needed name resolves to a file of the pack.

A plan is made from the unchanged pack, so needed names are resolved with the original RPATH and
RUNPATH. The layout of the pack and all other members remain the same. There are two plans: that
of a new pack sets up every object, that of a repair contains only what findings ask for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.wheel import find_record_path, is_wheel
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import ModeHeader
from bundle_fix.model.tree import Tree, get_relative_path, resolve_path
from bundle_fix.plan.companions import leave_signed_files
from bundle_fix.plan.links import (
    find_broken_symlinks,
    find_missing_soname_symlinks,
    find_stale_symlinks,
    find_text_symlinks,
)
from bundle_fix.plan.modes import find_wrong_modes
from bundle_fix.plan.naming.copies import find_identical_copies
from bundle_fix.plan.naming.new_names import (
    NewNames,
    add_names,
    add_symlinks,
    copy_files,
    find_replaceable_links,
    plan_names,
)
from bundle_fix.plan.relocate import RelocatedBundle
from bundle_fix.plan.requests import RepairKind, RepairRequests
from bundle_fix.plan.runpaths import plan_runpath_repairs, plan_runpaths

T = TypeVar("T")


class Plan(Struct, frozen=True):
    """All changes to a pack.

    Attributes:
        moved: moved libraries and their symlinks: old path to new path.
        symlinks: symlinks to add, or to replace a member with: path to target.
        merged: the paths in ``symlinks`` that were identical copies of a library.
        modes: path to new permission bits.
        edits: path of an ELF file to its changes.
        remarks: path of an ELF file to messages for the user, on ambiguous names for example.
        tree: the tree with the planned moves, symlinks and modes, and with unchanged ELF files.
        images: the images of the unchanged ELF files.
        renamed: renamed libraries of a wheel: old path to new path.
        unique: bundled libraries of a wheel with names of their own: old path to new path.
        dropped: removed copies in a wheel: path to the path of the remaining file.
        copied: new copies of libraries, for formats without symlinks: path to the original.
        replaced: symlinks replaced by a copy of their target, for formats without symlinks.
        restored: the paths in ``symlinks`` and ``copied`` that were text files before.
        record: the path of a wheel's RECORD that lists its files wrongly and is renewed.
        reasons: the codes of the rules that ask for the changes, by path of the changed member;
            empty for a new pack.
    """

    moved: Mapping[str, str]
    symlinks: Mapping[str, str]
    merged: frozenset[str]
    modes: Mapping[str, int]
    edits: Mapping[str, Changes]
    remarks: Mapping[str, tuple[str, ...]]
    tree: Tree
    images: Mapping[str, Image]
    renamed: Mapping[str, str] = field(default_factory=dict)
    unique: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    copied: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    restored: frozenset[str] = frozenset()
    record: str = ""
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing has to change."""
        changes = (
            self.moved, self.symlinks, self.modes, self.edits, self.renamed, self.unique,
            self.dropped, self.copied, self.replaced, self.record,
        )  # fmt: skip
        return not any(changes)


def make_plan(
    bundle: Bundle,
    pinned: Sequence[str] = (),
    own: Collection[str] | None = None,
    dlopened: Sequence[str] = (),
) -> Plan:
    """Plan the set-up of a new pack, or of an installation.

    Args:
        bundle: the unchanged pack; its contents must be open.
        pinned: patterns of the sonames to be needed by path, without a search.
        own: the paths of the members that may change; None for all.
        dlopened: library names that objects of the pack pass to dlopen().
    """
    copies = find_identical_copies(bundle, own)
    merged = add_symlinks(bundle, copies)
    missing = _plan_soname_symlinks(merged, own)
    linked = add_symlinks(merged, missing)
    modes = {
        path: wrong.better for path, wrong in _select_own(own, find_wrong_modes(linked)).items()
    }
    tree = set_modes(linked.tree, modes)
    edits, remarks = plan_runpaths(linked, pinned, dlopened)
    return Plan(
        moved={},
        symlinks={**copies, **missing},
        merged=frozenset(copies),
        modes=modes,
        edits=_select_own(own, edits),
        remarks=_select_own(own, remarks),
        tree=tree,
        images=linked.images,
    )


def make_repair_plan(
    relocated: RelocatedBundle,
    requests: RepairRequests,
    pinned: Sequence[str] = (),
) -> Plan:
    """Plan the changes that findings ask for, and no other ones.

    Args:
        relocated: the pack after the moves that the user asked for; its contents must be open.
        requests: the requests of the findings.
        pinned: patterns of the sonames to be needed by path, which the user asked for.
    """
    bundle = relocated.bundle
    keeps_symlinks = bundle.tree.keeps_symlinks
    texts = find_text_symlinks(bundle)
    symlinks, reasons = _select_requested_symlinks(bundle, texts, requests)
    replaced = {
        path: end
        for path, end in ({} if keeps_symlinks else find_replaceable_links(bundle)).items()
        if requests.find_rules(RepairKind.REPLACE_SYMLINK, path)
    }
    linked = copy_files(bundle, replaced)
    names = NewNames(symlinks=symlinks) if keeps_symlinks else plan_names(linked, symlinks)
    named = add_names(linked, names)
    modes = {
        path: wrong.better
        for path, wrong in find_wrong_modes(named).items()
        if requests.find_rules(RepairKind.REPAIR_MODE, path)
    }
    edits, remarks = plan_runpath_repairs(named, requests, pinned)
    edits = _add_stack_repairs(named, edits, requests)
    edits, signed = leave_signed_files(named.tree, edits)
    record = _select_record(named.tree, requests)
    for path in (*modes, *edits, *replaced, *filter(None, [record])):
        rules = chain.from_iterable(requests.find_rules(kind, path) for kind in RepairKind)
        reasons[path] = tuple(dict.fromkeys((*reasons.get(path, ()), *rules)))
    return Plan(
        moved=relocated.paths,
        symlinks=names.symlinks,
        merged=frozenset(),
        modes=modes,
        edits=edits,
        remarks=_join_remarks(relocated.remarks, remarks, names.remarks, signed),
        tree=set_modes(named.tree, modes),
        images=named.images,
        renamed=names.renamed,
        copied=names.copied,
        replaced=replaced,
        restored=frozenset(symlinks.keys() & texts.keys()),
        record=record,
        reasons=reasons,
    )


def _add_stack_repairs(
    bundle: Bundle, edits: Mapping[str, Changes], requests: RepairRequests
) -> dict[str, Changes]:
    """Return ``edits`` with those that clear requests for an executable stack."""
    cleared = {
        path: replace(edits.get(path, Changes()), executable_stack=False)
        for path in bundle.images
        if requests.find_rules(RepairKind.CLEAR_STACK, path)
    }
    return {**edits, **cleared}


def _select_record(tree: Tree, requests: RepairRequests) -> str:
    """Return the path of the RECORD that a finding asks to renew, or an empty text."""
    path = find_record_path(tree) if is_wheel(tree) else None
    return path if path and requests.find_rules(RepairKind.RENEW_RECORD, path) else ""


def _join_remarks(
    moved: Mapping[str, tuple[str, ...]],
    choices: Mapping[str, tuple[str, ...]],
    *others: Mapping[str, str],
) -> dict[str, tuple[str, ...]]:
    """Return all remarks by path."""
    found = {**moved, **choices}
    for path, text in (item for remarks in others for item in remarks.items()):
        found[path] = (*found.get(path, ()), text)
    return found


def _select_requested_symlinks(
    bundle: Bundle, texts: Mapping[str, tuple[str, str]], requests: RepairRequests
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the symlinks to add or change that findings ask for, and the rules, by path.

    ``texts`` are the text files that stand for symlinks.
    """
    symlinks: dict[str, str] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    for path, target in _plan_soname_symlinks(bundle, None).items():
        library = resolve_path(bundle.tree, posixpath.join(posixpath.dirname(path), target))
        asked = requests.list_subjects(RepairKind.ADD_SONAME, str(library)).get(path, ())
        broken = requests.find_rules(RepairKind.REPAIR_SYMLINK, path)
        named = requests.find_rules_for_name(posixpath.basename(path))
        rules = tuple(dict.fromkeys((*asked, *broken, *named)))
        if rules:
            symlinks[path], reasons[path] = target, rules
    for path, stale in find_stale_symlinks(bundle).items():
        rules = requests.find_rules(RepairKind.RETARGET_SYMLINK, path)
        if rules and not stale.is_ambiguous:
            symlinks[path] = get_relative_path(stale.right[0], posixpath.dirname(path))
            reasons[path] = rules
    for path, (text, library) in texts.items():
        rules = requests.find_rules(RepairKind.RESTORE_SYMLINK, path)
        if rules:
            relative = get_relative_path(library, posixpath.dirname(path))
            symlinks[path] = text if bundle.tree.keeps_symlinks else relative
            reasons[path] = rules
    return symlinks, reasons


def _select_own(own: Collection[str] | None, by_path: Mapping[str, T]) -> dict[str, T]:
    """Return the items whose paths may change."""
    return {path: value for path, value in by_path.items() if own is None or path in own}


def _plan_soname_symlinks(bundle: Bundle, own: Collection[str] | None) -> dict[str, str]:
    """Return the missing soname symlinks, and new targets for broken symlinks beside a library."""
    links = {
        link: get_relative_path(path, posixpath.dirname(link))
        for link, path in find_missing_soname_symlinks(bundle).items()
        if own is None or path in own
    }
    for path, (target, _) in _select_own(own, find_broken_symlinks(bundle.tree)).items():
        sibling = posixpath.join(posixpath.dirname(path), posixpath.basename(target))
        library = resolve_path(bundle.tree, sibling)
        if path not in links and isinstance(library, str) and library in bundle.images:
            links[path] = posixpath.basename(target)
    return links


def set_modes(tree: Tree, modes: Mapping[str, int]) -> Tree:
    """Return ``tree`` with the permission bits in ``modes``, by path."""
    if not modes:
        return tree
    nodes = dict(tree.nodes)
    for path, mode in modes.items():
        node = nodes[path]
        header = node.header.with_mode(mode) if isinstance(node.header, ModeHeader) else None
        nodes[path] = replace(node, metadata=replace(node.metadata, mode=mode), header=header)
    return replace(tree, nodes=nodes)
