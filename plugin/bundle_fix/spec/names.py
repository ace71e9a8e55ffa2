"""The names that a spec gives to things in the pack: none may lead out of it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import substitute

MAX_NAME_BYTES = 200
"""Bytes of a file's name, with room for what is added to it (NAME_MAX is 255)."""


def resolve_pack_name(spec: Spec, values: Mapping[str, str]) -> str:
    """The name of the pack: its file's stem and its top folder.

    Raises:
        BundleFixError: a variable in it cannot be had, or it is no name for a file.
    """
    name = substitute(spec.bundle.name, values)
    if fault := find_name_error(name):
        raise BundleFixError(
            f'the pack cannot be called "{escape_and_shorten(name)}": {fault}',
            where=spec.locate_key("bundle", "name"),
            hint="look at the variables in `name`",
        )
    return name


def resolve_pack_path(template: str, values: Mapping[str, str], where: str) -> str:
    """Where in the pack a ``to`` leads: relative to its root, without ``.`` and doubled slashes.

    Args:
        template: the ``to``, or ``lib`` of ``[layout]``.
        values: the value of each name.
        where: the place of the template in the spec.

    Returns:
        A path; that of a folder ends in ``/``, that of the pack's root is empty.

    Raises:
        BundleFixError: a variable in it cannot be had, or the path leaves the pack.
    """
    path = substitute(template, values)
    if fault := find_path_error(path):
        raise BundleFixError(
            f'"{escape_and_shorten(path)}" is no place in the pack: {fault}',
            where=where,
            hint="write a path relative to the pack's root",
        )
    normal = posixpath.normpath(path)
    if normal == ".":
        return ""
    return normal + "/" if is_directory_path(path) else normal


def is_directory_path(path: str) -> bool:
    """Whether a ``to`` names a folder to put things into."""
    return path.rpartition("/")[2] in ("", ".")


def find_path_error(path: str) -> str:
    """Why a path is no place in the pack; empty where it is one."""
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it is absolute"
    if ".." in path.split("/"):
        return "it has `..` in it"
    if any(len(part.encode("utf-8", "replace")) > MAX_NAME_BYTES for part in path.split("/")):
        return f"it has a name in it that is longer than {MAX_NAME_BYTES} bytes"
    return "" if path.isprintable() else "it has a character in it that cannot be printed"


def find_name_error(name: str) -> str:
    """Why a text is no name for a file and a folder; empty where it is one."""
    if name in ("", ".", ".."):
        return "that is no name"
    if "/" in name:
        return "it has a `/` in it"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    return "" if name.isprintable() else "it has a character in it that cannot be printed"
