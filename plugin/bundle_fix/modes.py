"""Modes that keep a pack from working, or leave it open to everybody, and what they should be."""

from __future__ import annotations

from collections.abc import Mapping

from bundle_fix.bundle import Bundle
from bundle_fix.tree import Directory, File

READ_BITS = 0o444
EXECUTE_BITS = 0o111
OWNER_EXECUTE = 0o100
WORLD_WRITE = 0o002
STICKY = 0o1000


def wrong_modes(bundle: Bundle) -> Mapping[str, tuple[File | Directory, int, str]]:
    """Members with a wrong mode: path to node, better mode, and what is wrong in a few words."""
    found: dict[str, tuple[File | Directory, int, str]] = {}
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
        if reasons:
            found[path] = (node, better, ", ".join(reasons))
    return found
