"""The pack's name and the paths in the pack that a spec gives; no path may leave the pack."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import substitute_variables

MAX_NAME_BYTES = 200
"""Bytes of a file name; NAME_MAX is 255, and suffixes such as ``.debug.tar.zst`` are added."""


def resolve_pack_name(spec: Spec, values: Mapping[str, str]) -> str:
    """Return the pack's name: its file name without suffix, and the name of its top directory.

    Raises:
        BundleFixError: there is none, a variable in it has no value, or the result is not a valid
            file name.
    """
    if spec.bundle.name is None:
        raise BundleFixError(
            "missing key `name` in [bundle], the name of the pack",
            where=spec.locate_key("bundle"),
            hint='add `name = "…"`',
        )
    name = substitute_variables(spec.bundle.name, values)
    if fault := find_name_error(name):
        raise BundleFixError(
            f'invalid pack name "{escape_and_shorten(name)}": {fault}',
            where=spec.locate_key("bundle", "name"),
            hint="check the variables in `name`",
        )
    return name


def resolve_pack_path(template: str, values: Mapping[str, str], where: str) -> str:
    """Return the path in the pack of a ``to``: relative to its root, normalized.

    Args:
        template: the ``to``, or ``lib`` of ``[layout]``.
        values: the value of each name.
        where: the position of the template in the spec.

    Returns:
        A path. That of a directory ends in ``/``; that of the pack's root is empty.

    Raises:
        BundleFixError: a variable in it has no value, or the path leaves the pack.
    """
    path = substitute_variables(template, values)
    if fault := find_path_error(path):
        raise BundleFixError(
            f'invalid path in the pack "{escape_and_shorten(path)}": {fault}',
            where=where,
            hint="write a path relative to the pack's root",
        )
    normal = posixpath.normpath(path)
    if normal == ".":
        return ""
    return normal + "/" if is_directory_path(path) else normal


def is_directory_path(path: str) -> bool:
    """Return whether a ``to`` is the path of a directory that files are put into."""
    return path.rpartition("/")[2] in ("", ".")


def find_path_error(path: str) -> str:
    """Return why ``path`` is invalid as a path in the pack; empty if it is valid."""
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it is absolute"
    if ".." in path.split("/"):
        return "it contains `..`"
    if any(len(part.encode("utf-8", "replace")) > MAX_NAME_BYTES for part in path.split("/")):
        return f"a component is longer than {MAX_NAME_BYTES} bytes"
    return "" if path.isprintable() else "it contains an unprintable character"


def find_name_error(name: str) -> str:
    """Return why ``name`` is invalid as the name of a file and directory; empty if it is valid."""
    if not name:
        return "it is empty"
    if name in (".", ".."):
        return "it is a reserved name"
    if "/" in name:
        return "it contains `/`"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    return "" if name.isprintable() else "it contains an unprintable character"
