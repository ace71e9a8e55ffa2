"""Texts with ``{variables}`` in them, taken apart."""

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
    """Literal text and the variable that comes after it; ``name`` is empty where none does."""

    literal: str
    name: str
    format: str


def parse_template(template: str) -> list[TemplatePart]:
    """The parts of a text with ``{name}`` and ``{name:.7}`` in it; ``{{`` and ``}}`` are braces.

    Raises:
        BundleFixError: a brace stands alone, or holds something else than a name and a width.
    """
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        raise BundleFixError(
            f'unmatched brace in "{escape_and_shorten(template)}"',
            hint="write {{ or }} for a brace itself",
        ) from error
    parts = []
    for literal, name, width, conversion in fields:
        if name is None:
            parts.append(TemplatePart(literal, "", ""))
            continue
        if not _NAME.fullmatch(name) or conversion is not None:
            shown = escape_and_shorten(name + (f"!{conversion}" if conversion else ""))
            raise BundleFixError(
                f"`{{{shown}}}` is not a variable in braces",
                hint="write {name}, or {{ and }} for the braces themselves",
            )
        if not _FORMAT.fullmatch(width or ""):
            raise BundleFixError(
                f"`{escape_and_shorten(width or '')}` is not a width for the variable `{name}`",
                hint="write {name:.7} to cut it to 7 characters, {name:>7} to fill it up to 7",
            )
        parts.append(TemplatePart(literal, name, width or ""))
    return parts


def is_build_variable(name: str) -> bool:
    """Whether the build gives the value of ``name``, so that a spec need not define it.

    These are ``build`` and ``source``, the folders; ``target.NAME``, the file that a target makes;
    ``cmake.ENTRY``, what CMake's cache says.
    """
    return _BUILD_NAME.fullmatch(name) is not None


def list_references(template: str) -> list[str]:
    """The names of the variables in a text that `parse_template` takes, each once."""
    return list(dict.fromkeys(part.name for part in parse_template(template) if part.name))
