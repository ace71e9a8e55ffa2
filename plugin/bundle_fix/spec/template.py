"""Parsing of texts that contain ``{variables}``."""

from __future__ import annotations

import re
from string import Formatter
from typing import NamedTuple

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten

_FORMAT = re.compile(r"(?:.?[<>^])?(?:[1-9]\d{0,2})?(?:\.\d{1,3})?")
_BUILD_ENTRY = r"(?:target|cmake)\.[A-Za-z0-9_.+-]+"
_BUILD_NAME = re.compile(f"build|source|{_BUILD_ENTRY}")
_NAME = re.compile(f"[A-Za-z_][A-Za-z0-9_-]*|{_BUILD_ENTRY}")


class TemplatePart(NamedTuple):
    """Literal text and the variable after it; ``name`` is empty if no variable follows."""

    literal: str
    name: str
    format: str


def parse_template(template: str) -> list[TemplatePart]:
    """Split a text that contains ``{name}`` and ``{name:.7}``; ``{{`` and ``}}`` are braces.

    Raises:
        BundleFixError: a brace is unmatched, or the braces contain more than a name and a width.
    """
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        raise BundleFixError(
            f'unmatched brace in "{escape_and_shorten(template)}"',
            hint="write {{ or }} for a literal brace",
        ) from error
    parts = []
    for literal, name, width, conversion in fields:
        if name is None:
            parts.append(TemplatePart(literal, "", ""))
            continue
        # Attributes, indexes and conversions would let a text reach into Python objects.
        if not _NAME.fullmatch(name) or conversion is not None:
            shown = escape_and_shorten(name + (f"!{conversion}" if conversion else ""))
            raise BundleFixError(
                f"invalid variable name `{{{shown}}}`",
                hint="write {name}, or {{ and }} for literal braces",
            )
        if width and width.startswith(":"):
            shown = escape_and_shorten(f"{name}:{width}")
            raise BundleFixError(
                f"invalid variable name `{{{shown}}}`",
                hint=f"write {{{shown.replace('::', '__')}}} for the target of CMake",
            )
        if not _FORMAT.fullmatch(width or ""):
            raise BundleFixError(
                f"invalid width `{escape_and_shorten(width or '')}` of the variable `{name}`",
                hint="write {name:.7} to cut it to 7 characters, {name:>7} to pad it to 7",
            )
        parts.append(TemplatePart(literal, name, width or ""))
    return parts


def is_build_variable(name: str) -> bool:
    """Return whether the CMake build defines ``name``, so that a spec need not define it.

    These are the directories ``build`` and ``source``; ``target.NAME``, the file that a target
    builds; and ``cmake.ENTRY``, an entry of CMake's cache.
    """
    return _BUILD_NAME.fullmatch(name) is not None


def list_references(template: str) -> list[str]:
    """Return the names of the variables in a text, each once.

    Raises:
        BundleFixError: see `parse_template`.
    """
    return list(dict.fromkeys(part.name for part in parse_template(template) if part.name))
