"""Privileged files: set-uid and set-gid bits, and file capabilities.

The kernel sets AT_SECURE for a program that has one of them, and the loader then runs it in
secure-execution mode (ld.so(8)). Sources: execve(2), capabilities(7), the kernel's
security/commoncap.c (cap_bprm_creds_from_file) and linux/capability.h (struct vfs_cap_data).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import struct
from collections.abc import Mapping
from enum import Enum

from msgspec.structs import replace

from bundle_fix.model.tree import ATTRIBUTE_PREFIX, File, Metadata, Tree, get_first_hard_link

ATTRIBUTE_RECORD = f"{ATTRIBUTE_PREFIX}security.capability"
"""The pax record of GNU tar and star with the value of the extended attribute."""
LIBARCHIVE_RECORD = "LIBARCHIVE.xattr.security.capability"
"""The pax record of bsdtar with the same value in Base64, without padding."""
TEXT_RECORD = "bundle-fix.capabilities"
"""Capabilities as text (cap_from_text(3)), as packages have them in their metadata."""
EFFECTIVE_FLAG = 0x000001
REVISION_MASK = 0xFF000000
SIZES_BY_REVISION = {0x01000000: 12, 0x02000000: 20, 0x03000000: 24}
"""The bytes of a value by its revision; the last one also has the root user of a namespace."""
GRANTED_TEXT = re.compile(r"[=+][eip]*[ep]")
"""A clause of capabilities as text that makes some of them permitted or effective."""


class Privilege(Enum):
    """A property by which the kernel gives a program more rights than its user has."""

    SET_UID = "set-uid"
    SET_GID = "set-gid"
    CAPABILITIES = "file capabilities"


def find_privileges(tree: Tree, path: str) -> tuple[Privilege, ...]:
    """Return the privileges of the file at ``path``, none for other members."""
    node = tree.nodes.get(get_first_hard_link(tree, path))
    if not isinstance(node, File):
        return ()
    mode = node.metadata.mode
    found = {
        Privilege.SET_UID: mode & stat.S_ISUID,
        Privilege.SET_GID: mode & stat.S_ISGID,
        Privilege.CAPABILITIES: has_file_capabilities(node.metadata),
    }
    return tuple(privilege for privilege, is_set in found.items() if is_set)


def has_file_capabilities(metadata: Metadata) -> bool:
    """Return whether a program gains capabilities from its file.

    Inheritable ones alone do not count: users have none to inherit.
    """
    extra = metadata.extra
    if ATTRIBUTE_RECORD in extra:
        return _grants_capabilities(os.fsencode(extra[ATTRIBUTE_RECORD]))
    if LIBARCHIVE_RECORD in extra:
        text = extra[LIBARCHIVE_RECORD]
        try:
            return _grants_capabilities(base64.b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError):
            return False
    return GRANTED_TEXT.search(extra.get(TEXT_RECORD, "")) is not None


def add_capabilities(tree: Tree, capabilities: Mapping[str, str]) -> Tree:
    """Return ``tree`` with the capabilities, as text by path, that a package gives to its files."""
    nodes = dict(tree.nodes)
    for path, text in capabilities.items():
        first = get_first_hard_link(tree, path)
        node = nodes.get(first)
        if isinstance(node, File):
            extra = {**node.metadata.extra, TEXT_RECORD: text}
            nodes[first] = replace(node, metadata=replace(node.metadata, extra=extra))
    return replace(tree, nodes=nodes) if capabilities else tree


def _grants_capabilities(value: bytes) -> bool:
    """Return whether the value of the attribute has effective or permitted capabilities."""
    magic = int.from_bytes(value[:4], "little")
    if SIZES_BY_REVISION.get(magic & REVISION_MASK) != len(value):
        return False
    # Pairs of permitted and inheritable capabilities, 32 bits each.
    permitted = struct.unpack_from("<" + "I4x" * ((len(value) - 4) // 8), value, 4)
    return bool(magic & EFFECTIVE_FLAG or any(permitted))
