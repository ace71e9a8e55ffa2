"""The plan of a repaired wheel: names of bundled libraries, moved programs, edits of objects."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.wheel import METADATA_SUFFIX
from bundle_fix.collect.pack_builder import Origin, date_member
from bundle_fix.elf.changes import Changes
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.pipelines.wheels.candidates import Candidate, WheelContents, find_given_name
from bundle_fix.pipelines.wheels.scripts import find_scripts, move_scripts
from bundle_fix.plan.naming.new_names import rename_files
from bundle_fix.plan.planner import Plan
from bundle_fix.plan.runpaths import plan_runpaths
from bundle_fix.plan.verify import predict_edits
from bundle_fix.plan.wheels.tags import find_metadata_directory
from bundle_fix.plan.wheels.unique_names import (
    choose_unique_names,
    merge_edits,
    plan_name_edits,
    rename_libraries,
)


class WheelPlan(Struct, frozen=True):
    """The planned changes of a wheel.

    Attributes:
        plan: the changes of files.
        paths: the bundled libraries: old path to new path.
        scripts: the programs in the directory of scripts that are moved: old path to new path.
    """

    plan: Plan
    paths: Mapping[str, str]
    scripts: Mapping[str, str]


def plan_wheel(wheel: WheelContents, candidate: Candidate, included: Sequence[str]) -> WheelPlan:
    """Plan the names of the bundled libraries, and the edits of all objects."""
    dated = _date_libraries(candidate.bundle, candidate.origins)
    names = choose_unique_names(
        dated, candidate.libraries, [posixpath.basename(n) for n in included]
    )
    images = candidate.bundle.images
    kept = {
        path: posixpath.join(
            posixpath.dirname(path), find_given_name(included, path, images[path].soname)
        )
        for path in names.remarks
    }
    links = {path for path in candidate.origins if path not in images}
    nodes = {path: node for path, node in dated.tree.nodes.items() if path not in links}
    without_links = build_bundle(replace(dated.tree, nodes=nodes), images)
    start = find_metadata_directory(dated.tree).removesuffix(METADATA_SUFFIX)
    scripts = find_scripts(candidate.bundle, start, candidate.libraries)
    bundle = rename_files(rename_libraries(without_links, names), kept)
    bundle = move_scripts(bundle, start, scripts)
    name_edits = plan_name_edits(bundle, names)
    for path, changes in wheel.edits.items():
        name_edits[path] = replace(
            name_edits.get(path, Changes()), remove_needed=changes.remove_needed
        )
    opened = [posixpath.basename(name) for name in included]
    runpaths, choices = plan_runpaths(predict_edits(bundle, name_edits), (), opened)
    remarks = {**choices, **{kept[path]: (text,) for path, text in names.remarks.items()}}
    plan = Plan(
        moved={},
        symlinks={},
        merged=frozenset(),
        modes={},
        edits=merge_edits(name_edits, runpaths),
        remarks=remarks,
        tree=bundle.tree,
        images={**bundle.images, **{scripts.get(p, p): i for p, i in wheel.originals.items()}},
        unique=names.paths,
    )
    return WheelPlan(plan, {**names.paths, **kept}, scripts)


def _date_libraries(bundle: Bundle, origins: Mapping[str, Origin]) -> Bundle:
    """Return ``bundle`` with the added libraries dated as their sources, but not before 1980."""
    nodes = bundle.tree.nodes
    dated = {path: date_member(nodes[path], origin) for path, origin in origins.items()}
    return build_bundle(replace(bundle.tree, nodes={**nodes, **dated}), bundle.images)
