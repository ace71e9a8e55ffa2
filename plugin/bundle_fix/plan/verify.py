"""Verify planned edits: no process of the pack may load another file than before.

A library that several programs load may find a different file in each, because it inherits the
RPATH of the program (ld.so(8)). With a RUNPATH of its own it would find the same file in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import compute_needed
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import map_programs
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution


def drop_harmful_edits(
    bundle: Bundle, programs: Iterable[Process], edits: Mapping[str, Changes]
) -> dict[str, Changes]:
    """Return the edits after which every program still loads the same files of the pack.

    Args:
        bundle: the pack with all planned symlinks; its images are unchanged.
        programs: the processes of its programs.
        edits: the planned changes by path.

    Returns:
        ``edits`` without those of the objects whose needs would resolve to another file, and
        without those of their loaders if the objects themselves are not edited.
    """
    if not edits:
        return {}
    before = {
        key: need
        for key, need in _list_needs(programs)
        if need.result.origin is ObjectOrigin.BUNDLE
    }
    remaining = dict(edits)
    while remaining:
        edited = Deployment(predict_edits(bundle, remaining), build_adversarial_host())
        after = dict(_list_needs(map_programs(edited).values()))
        requesters = [
            need.requester
            for key, need in before.items()
            if key in after and after[key].result.path != need.result.path
        ]
        # Drop the edits of the objects themselves first, then of those whose RPATH they inherit.
        to_drop = {requester.path for requester in requesters} & set(remaining) or {
            loader.path for requester in requesters for loader in requester.walk_load_chain()
        } & set(remaining)
        if not to_drop:
            break
        remaining = {path: changes for path, changes in remaining.items() if path not in to_drop}
    return remaining


def _list_needs(
    programs: Iterable[Process],
) -> Iterator[tuple[tuple[str, str, str], Resolution]]:
    """Yield every need of every program, by program, requester and base name."""
    for process in programs:
        for need in process.resolutions:
            name = need.name.rpartition("/")[2]
            yield (process.entry, need.requester.path or "", name), need


def predict_edits(bundle: Bundle, edits: Mapping[str, Changes]) -> Bundle:
    """Return ``bundle`` with the images that its files would have after ``edits``."""
    images = {
        path: _apply_changes(image, edits[path]) if path in edits else image
        for path, image in bundle.images.items()
    }
    return build_bundle(bundle.tree, images)


def _apply_changes(image: Image, changes: Changes) -> Image:
    """Return the image that would be read from a file after ``changes``."""
    if changes.executable_stack is False:
        segments = tuple(
            s._replace(flags=s.flags & ~c.PF_X) if s.type == c.PT_GNU_STACK else s
            for s in image.segments
        )
        image = replace(image, segments=segments)
    needed = compute_needed(image.needed, changes)
    if changes.soname is not None:
        image = replace(image, soname=changes.soname or None)
    if changes.runpath is None and changes.rpath is None:
        return replace(image, needed=needed)
    return replace(
        image, needed=needed, runpath=changes.runpath or None, rpath=changes.rpath or None
    )
