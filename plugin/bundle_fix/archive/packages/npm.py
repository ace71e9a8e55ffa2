"""npm packages: tarballs whose files are below ``package/``, with a package.json.

Source: npm's documentation of package.json and of ``npm pack``.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from bundle_fix.model.content import read_exactly
from bundle_fix.model.tree import File, Tree

PACKAGE_JSON = "package.json"
MAX_PACKAGE_JSON = 1 << 20
"""Bytes of a package.json that are read."""


def is_npm_package(tree: Tree) -> bool:
    """Return whether a tarball is an npm package, which npm installs without its symlinks."""
    return tree.top == "package" and PACKAGE_JSON in tree.nodes


def read_package_json(tree: Tree) -> Mapping[str, Any]:
    """Return the content of package.json, or nothing if it is missing or invalid."""
    file = tree.nodes.get(PACKAGE_JSON)
    if not isinstance(file, File):
        return {}
    with file.content.open() as reader:
        data = read_exactly(reader, 0, min(file.content.size, MAX_PACKAGE_JSON)) or b""
    try:
        package = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return package if isinstance(package, dict) else {}


def list_commands(tree: Tree) -> frozenset[str]:
    """Return the paths in ``bin``, which npm makes executable (bin-links, lib/fix-bin.js)."""
    commands = read_package_json(tree).get("bin")
    paths = commands.values() if isinstance(commands, dict) else [commands]
    return frozenset(posixpath.normpath(path) for path in paths if isinstance(path, str))
