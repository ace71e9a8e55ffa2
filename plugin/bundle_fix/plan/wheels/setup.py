"""Plan for a wheel, which cannot contain symlinks: each library is stored once.

Libraries of the project are stored as their soname, bundled ones under a name of their own.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.plan.links import find_missing_soname_symlinks
from bundle_fix.plan.modes import find_wrong_modes
from bundle_fix.plan.naming.copies import group_identical_files
from bundle_fix.plan.naming.new_names import (
    add_names,
    copy_files,
    find_replaceable_links,
    plan_names,
)
from bundle_fix.plan.naming.references import find_references
from bundle_fix.plan.planner import Plan, set_modes
from bundle_fix.plan.runpaths import plan_runpaths
from bundle_fix.plan.verify import predict_edits
from bundle_fix.plan.wheels.unique_names import (
    choose_unique_names,
    merge_edits,
    plan_name_edits,
    rename_libraries,
)


def make_wheel_plan(
    bundle: Bundle,
    pinned: Sequence[str] = (),
    code: Sequence[Path] = (),
    bundled: Collection[str] = (),
    dlopened: Sequence[str] = (),
) -> Plan:
    """Plan the set-up of an installation that becomes a wheel, or of a pack in a zip archive.

    Args:
        bundle: the unchanged installation; its contents must be open.
        pinned: patterns of the sonames to be needed by path, without a search.
        code: files outside the installation that may contain names of its libraries.
        bundled: the libraries that get names of their own.
        dlopened: library names that objects of the wheel pass to dlopen().
    """
    unique = choose_unique_names(bundle, bundled, dlopened, code)
    bundle = rename_libraries(bundle, unique)
    own_names = set(unique.paths.values())
    bundle = copy_files(bundle, find_replaceable_links(bundle))
    dropped, remarks = _find_copies(bundle, code)
    deduplicated = _remove_files(bundle, dropped)
    # A library that no object needs is a plugin, which is opened by its file name.
    missing = {
        new: posixpath.basename(old)
        for new, old in find_missing_soname_symlinks(deduplicated).items()
        if posixpath.basename(new) in bundle.needed_names and old not in own_names
    }
    names = plan_names(deduplicated, missing, code)
    remarks |= {**names.remarks, **unique.remarks}
    result = add_names(deduplicated, names)
    modes = {path: wrong.better for path, wrong in find_wrong_modes(result).items()}
    name_edits = plan_name_edits(result, unique)
    edits, choices = plan_runpaths(predict_edits(result, name_edits), pinned, dlopened)
    return Plan(
        moved={},
        symlinks={},
        merged=frozenset(),
        modes=modes,
        edits=merge_edits(name_edits, edits),
        remarks={**choices, **{path: (text,) for path, text in remarks.items()}},
        tree=set_modes(result.tree, modes),
        images=result.images,
        renamed=names.renamed,
        unique=unique.paths,
        copied=names.copied,
        dropped=dropped,
    )


def _find_copies(bundle: Bundle, code: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the superfluous copies of libraries in one directory, and remarks by path.

    The first mapping has the path of each copy and the path of the file that remains.
    """
    groups: dict[tuple[str, str, int], list[str]] = {}
    for path in bundle.list_libraries():
        image = bundle.images[path]
        if image.soname and get_library_stem(path) == get_library_stem(image.soname):
            key = (posixpath.dirname(path), image.soname, image.size)
            groups.setdefault(key, []).append(path)
    remaining: dict[str, str] = {}
    for (_, soname, _), paths in groups.items():
        for same in group_identical_files(bundle, sorted(paths, key=_order_by_length)):
            named = [path for path in same if posixpath.basename(path) == soname]
            kept = (named or same)[0]
            remaining |= {copy: kept for copy in same if copy != kept}
    remarks = find_references(bundle, remaining, code)
    return {copy: kept for copy, kept in remaining.items() if copy not in remarks}, remarks


def _remove_files(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    if not paths:
        return bundle
    nodes = {path: node for path, node in bundle.tree.nodes.items() if path not in paths}
    images = {path: image for path, image in bundle.images.items() if path not in paths}
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def _order_by_length(path: str) -> tuple[int, str]:
    return -len(posixpath.basename(path)), path
