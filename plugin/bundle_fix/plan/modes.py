"""Wrong permission bits of members, which break a pack or make it world-writable."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import NamedTuple

from bundle_fix.archive.install_location import is_installed_with_default_modes
from bundle_fix.archive.packages.npm import is_npm_package, list_commands
from bundle_fix.elf.scan.debug_info import is_debug_only
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import Directory, File

READ_BITS = 0o444
OWNER_READ, OTHERS_READ = 0o400, 0o004
OWNER_EXECUTE, EXECUTE_BITS = 0o100, 0o111
WORLD_WRITE = 0o002
STICKY = 0o1000


class WrongMode(NamedTuple):
    """A member with a wrong mode, the corrected mode, and the reason in a few words.

    ``is_readable_by_owner_only`` is true if this is a library and nothing else is wrong with it.
    """

    node: File | Directory
    better: int
    reason: str
    is_readable_by_owner_only: bool


def find_wrong_modes(bundle: Bundle) -> Mapping[str, WrongMode]:
    """Return the members with a wrong mode, by path."""
    found: dict[str, WrongMode] = {}
    has_default_modes = is_installed_with_default_modes(bundle.tree)
    commands = list_commands(bundle.tree) if is_npm_package(bundle.tree) else ()
    for path, node in bundle.tree.nodes.items():
        if not isinstance(node, File if has_default_modes else File | Directory):
            continue
        mode = node.metadata.mode
        image = bundle.images.get(path) if isinstance(node, File) else None
        better, reasons = mode, []
        is_directory = isinstance(node, Directory)
        is_started = path not in commands and (is_directory or _is_program(bundle, path))
        if not mode & OWNER_EXECUTE and is_started:
            # Everyone who may read the member may also execute it: r implies x.
            better |= OWNER_EXECUTE | (mode & READ_BITS) >> 2
            reasons.append("cannot be entered" if is_directory else "not executable")
        is_writable = bool(mode & WORLD_WRITE) and not mode & STICKY and not has_default_modes
        if (is_directory or image is not None) and is_writable:
            better &= ~WORLD_WRITE
            reasons.append("world-writable")
        is_hidden = image is not None and image.is_library and not mode & OTHERS_READ
        is_hidden = is_hidden and not has_default_modes
        is_owner_only = is_hidden and bool(mode & OWNER_READ) and not reasons
        if is_hidden:
            better |= READ_BITS
            reasons.append("readable by its owner only" if mode & OWNER_READ else "not readable")
        if reasons:
            found[path] = WrongMode(node, better, ", ".join(reasons), is_owner_only)
    return found


def _is_program(bundle: Bundle, path: str) -> bool:
    """Return whether the member at ``path`` is a program that is executed, static or not."""
    image = bundle.images.get(path)
    if image is not None and image.is_static_program:
        with bundle.get_content(path).open() as reader:
            return not is_debug_only(reader, image)
    # A plugin such as pam_cap.so has an interpreter if it prints its version when it is executed.
    is_started = image is not None and image.is_program and not is_firmware(bundle, path)
    return is_started and ".so" not in posixpath.basename(path)


def is_firmware(bundle: Bundle, path: str) -> bool:
    """Return whether a file with an interpreter is not executed, as far as can be seen.

    Firmware linked with -pie has an interpreter, but needs no library (qemu's s390-ccw.img).
    """
    image, node = bundle.images[path], bundle.tree.nodes[path]
    return image.is_program and not image.needed and not node.metadata.mode & EXECUTE_BITS
