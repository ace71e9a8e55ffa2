"""Plan the RUNPATH of each object for its own needed names, relative to its own directory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from bundle_fix.elf.changes import Changes
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.dlopen import find_dlopened_names
from bundle_fix.loader.entry_points import map_programs
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.process import Process
from bundle_fix.loader.runpath import (
    find_entries_to_keep,
    find_reachable_entries,
    is_valid_entry,
    list_runpath_entries,
)
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.tree import resolve_path
from bundle_fix.plan.companions import leave_signed_files
from bundle_fix.plan.provider import (
    ProviderChoice,
    ProviderDirectories,
    choose_provider,
    find_current_providers,
    map_provider_directories,
)
from bundle_fix.plan.requests import RepairKind, RepairRequests
from bundle_fix.plan.runpath_changes import (
    ObjectSearch,
    find_unresolved_paths,
    format_runpath_entry,
    plan_object_changes,
)
from bundle_fix.plan.verify import drop_harmful_edits

RunpathPlan = tuple[dict[str, Changes], dict[str, tuple[str, ...]]]
"""The changes by path, and the remarks by path: a choice among different files, or a name that
could not be planned."""


class _Pack(Struct, frozen=True):
    """A pack with what is computed once for all of its objects."""

    bundle: Bundle
    programs: Mapping[str, Process]
    original: Mapping[tuple[str, str], str]
    origins: Mapping[str, tuple[str, ...]]
    directories: ProviderDirectories


def plan_runpaths(
    bundle: Bundle, pinned: Sequence[str], dlopened: Sequence[str] = ()
) -> RunpathPlan:
    """Plan RUNPATH and needed names of each object of a new pack.

    Args:
        bundle: the pack with all planned symlinks; its images are unchanged.
        pinned: patterns of the sonames to be needed by path.
        dlopened: names that objects of the pack pass to dlopen(), which searches the RUNPATH too.
    """
    pack = _index_pack(bundle)
    names_dlopened_by = find_dlopened_names(bundle, dlopened)
    searches: dict[str, ObjectSearch] = {}
    for path, image in bundle.images.items():
        if not image.is_dynamic or bundle.find_privileges(path):
            continue
        unresolved = find_unresolved_paths(bundle, path, image)
        names = [*(name for name in image.needed if "/" not in name), *unresolved.values()]
        kept = find_entries_to_keep(bundle.tree, image, pack.origins[path])
        searches[path] = ObjectSearch(
            (*names, *names_dlopened_by.get(path, ())),
            _match_names(names, pinned),
            unresolved,
            kept,
            find_reachable_entries(bundle.tree, kept, pack.origins[path]),
        )
    planned, remarks = _plan_searches(pack, searches)
    edits, signed = leave_signed_files(bundle.tree, planned)
    return edits, {**remarks, **{path: (text,) for path, text in signed.items()}}


def plan_runpath_repairs(
    bundle: Bundle, requests: RepairRequests, pinned: Sequence[str]
) -> RunpathPlan:
    """Plan the changes of RUNPATH and needed names that findings ask for.

    Only the entries that a finding is about are removed, and only for the names that a finding is
    about are entries added. Privileged programs get none, as the loader would ignore them.

    Args:
        bundle: the pack with all planned symlinks; its images are unchanged.
        requests: the requests of the findings.
        pinned: patterns of the sonames to be needed by path.
    """
    searches: dict[str, ObjectSearch] = {}
    for path, image in bundle.images.items():
        if not image.is_dynamic:
            continue
        removed = requests.list_subjects(RepairKind.REMOVE_ENTRY, path)
        can_add = not bundle.find_privileges(path)
        names = requests.list_subjects(RepairKind.FIND_NAME, path) if can_add else {}
        pins = _match_names(image.needed, pinned) if can_add else ()
        if not (removed or names or pins):
            continue
        unresolved = find_unresolved_paths(bundle, path, image)
        unresolved = {old: new for old, new in unresolved.items() if old in names}
        searched = (*(name for name in names if "/" not in name), *unresolved.values())
        kept = [entry for entry in list_runpath_entries(image) if entry not in removed]
        searches[path] = ObjectSearch(
            (*searched, *unresolved.values()), pins, unresolved, kept, kept
        )
    return _plan_searches(_index_pack(bundle), searches) if searches else ({}, {})


def _index_pack(bundle: Bundle) -> _Pack:
    deployment = Deployment(bundle, build_adversarial_host())
    programs = map_programs(deployment)
    return _Pack(
        bundle,
        programs,
        find_current_providers(deployment, programs),
        _list_origins(bundle),
        map_provider_directories(bundle),
    )


def _match_names(names: Iterable[str], patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(n for n in names if matches_any(n, patterns))


def _plan_searches(pack: _Pack, searches: Mapping[str, ObjectSearch]) -> RunpathPlan:
    """Plan the changes of each object, and drop those by which another file would be loaded."""
    edits: dict[str, Changes] = {}
    remarks: dict[str, tuple[str, ...]] = {}
    for path, search in searches.items():
        choices = {
            name: choose_provider(
                pack.bundle, pack.directories, path, name, pack.original.get((path, name))
            )
            for name in dict.fromkeys((*search.names, *search.pinned))
            if not is_part_of_libc(name)
        }
        directories, choice_remarks = _select_directories(choices, pack.origins[path])
        if choice_remarks:
            remarks[path] = choice_remarks
        changes = plan_object_changes(pack.bundle, path, pack.origins[path], search, directories)
        if changes != Changes():
            edits[path] = changes
    return drop_harmful_edits(pack.bundle, pack.programs.values(), edits), remarks


def _select_directories(
    choices: Mapping[str, ProviderChoice], origins: Iterable[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the chosen directories that a RUNPATH can contain, by needed name, and the remarks."""
    directories, remarks = {}, []
    for name, choice in choices.items():
        remarks += [choice.remark] if choice.remark else []
        if choice.directory is None:
            continue
        entries = [format_runpath_entry(choice.directory, origin) for origin in origins]
        if all(is_valid_entry(entry) for entry in entries):
            directories[name] = choice.directory
        else:
            remarks.append(
                f"{name}: a RUNPATH cannot contain the path {choice.directory} (':' separates"
                " entries, '$' begins a token); rename the directory"
            )
    return directories, tuple(remarks)


def _list_origins(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Return the possible values of ``$ORIGIN`` for each object: its directories.

    For a library, glibc uses the directory in which it was found, even if that path is a symlink
    (dl-object.c). For a program, the kernel passes the path of the real file.
    """
    origins = {path: {posixpath.dirname(path): None} for path in bundle.images}
    for path, _ in bundle.tree.iter_symlinks():
        target = resolve_path(bundle.tree, path)
        directory = resolve_path(bundle.tree, posixpath.dirname(path))
        is_file = isinstance(target, str) and target in origins
        if is_file and bundle.images[str(target)].is_library and isinstance(directory, str):
            origins[str(target)][directory] = None
    for path, file in bundle.tree.iter_files():
        if file.hardlink in origins:
            # Hard links are one file, which can be loaded by any of its paths.
            origins[file.hardlink] |= origins[path]
            origins[path] = origins[file.hardlink]
    return {path: tuple(directories) for path, directories in origins.items()}
