"""What planned edits do to the processes of a pack: none may load another file than before.

A library that several programs load may find another file in each, by an inherited RPATH; a
RUNPATH of its own would give all of them the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import compute_needed
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.loader.hosts.host import make_adversarial_host
from bundle_fix.loader.objects import BUNDLE
from bundle_fix.loader.process import Resolution, map_process


def drop_harmful_edits(bundle: Bundle, edits: Mapping[str, Changes]) -> dict[str, Changes]:
    """The edits after which every program still loads each file of the pack that it loads today.

    Args:
        bundle: the pack with all links in place; images as they were read.
        edits: path to what is planned.

    Returns:
        ``edits`` without those of the objects whose needs would lead elsewhere, and of what
        caused these objects to load.
    """
    if not edits:
        return {}
    before = {key: need for key, need in _needs(bundle) if need.result.origin == BUNDLE}
    kept = dict(edits)
    while kept:
        after = dict(_needs(_edited(bundle, kept)))
        harmed = [
            need.requester
            for key, need in before.items()
            if key in after and after[key].result.path != need.result.path
        ]
        # First what was planned for the objects themselves, then for what they inherit from.
        guilty = {requester.path for requester in harmed} & set(kept) or {
            link.path for requester in harmed for link in requester.loaders()
        } & set(kept)
        if not guilty:
            break
        kept = {path: changes for path, changes in kept.items() if path not in guilty}
    return kept


def _needs(bundle: Bundle) -> Iterator[tuple[tuple[str, str, str], Resolution]]:
    """Every need of every program, by program, requester and the last part of the name."""
    host = make_adversarial_host()
    for program in bundle.programs():
        for need in map_process(bundle, host, program).needs:
            name = need.name.rpartition("/")[2]
            yield (program, need.requester.path or "", name), need


def _edited(bundle: Bundle, edits: Mapping[str, Changes]) -> Bundle:
    images = {
        path: _changed(image, edits[path]) if path in edits else image
        for path, image in bundle.images.items()
    }
    return make_bundle(bundle.tree, images)


def _changed(image: Image, changes: Changes) -> Image:
    """What would be read of a file after ``changes``."""
    needed = compute_needed(image.needed, changes)
    if changes.runpath is None and changes.rpath is None:
        return replace(image, needed=needed)
    return replace(
        image, needed=needed, runpath=changes.runpath or None, rpath=changes.rpath or None
    )
