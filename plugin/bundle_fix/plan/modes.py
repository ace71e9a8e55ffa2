"""Modes that keep a pack from working, or leave it open to everybody, and what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import Directory, File

READ_BITS = 0o444
OWNER_READ, OTHERS_READ = 0o400, 0o004
EXECUTE_BITS = 0o111
OWNER_EXECUTE = 0o100
WORLD_WRITE = 0o002
STICKY = 0o1000


class WrongMode(NamedTuple):
    """A member, a better mode for it, and what is wrong in a few words.

    ``is_readable_by_owner_only``: nothing else is wrong than that others cannot read a library.
    """

    node: File | Directory
    better: int
    reason: str
    is_readable_by_owner_only: bool


def find_wrong_modes(bundle: Bundle) -> Mapping[str, WrongMode]:
    """Members with a wrong mode, by path."""
    found: dict[str, WrongMode] = {}
    for path, node in bundle.tree.nodes.items():
        if not isinstance(node, File | Directory):
            continue
        mode = node.stamp.mode
        image = bundle.images.get(path) if isinstance(node, File) else None
        better, reasons = mode, []
        searched = isinstance(node, Directory)
        if (searched or (image is not None and image.is_program)) and not mode & OWNER_EXECUTE:
            # Whoever may read it may run it: x follows r, as in chmod's X.
            better |= OWNER_EXECUTE | (mode & READ_BITS) >> 2
            reasons.append(
                "nobody can enter the folder" if searched else "the program cannot be executed"
            )
        if (searched or image is not None) and mode & WORLD_WRITE and not mode & STICKY:
            better &= ~WORLD_WRITE
            reasons.append("anybody may change it")
        is_hidden = image is not None and image.is_library and not mode & OTHERS_READ
        is_for_owner = is_hidden and bool(mode & OWNER_READ) and not reasons
        if is_hidden:
            better |= READ_BITS
            reasons.append(f"{'only its owner' if mode & OWNER_READ else 'nobody'} can read it")
        if reasons:
            found[path] = WrongMode(node, better, ", ".join(reasons), is_for_owner)
    return found
