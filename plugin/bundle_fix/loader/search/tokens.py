"""The tokens of search paths and needed names: ``$ORIGIN``, ``$LIB`` and ``$PLATFORM``.

Source: glibc's elf/dl-load.c, is_dst and _dl_dst_substitute. A token is in braces, or ends before a
character that is not a letter, digit or underscore; any other ``$`` is plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from bundle_fix.loader.search.steps import Outcome

TOKEN = re.compile(r"\$(?:(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])|\{(ORIGIN|LIB|PLATFORM)\})")
MUSL_TOKEN = re.compile(r"\$(?:(ORIGIN)|\{(ORIGIN)\})")
"""musl supports only ``$ORIGIN``, whatever character follows it (ldso/dynlink.c, fixup_rpath)."""


class PathBase(Enum):
    """The start of a path: the pack, the root directory or the working directory.

    The path of ``HOST`` contains a token whose value differs from host to host.
    """

    ORIGIN = "origin"
    ROOT = "root"
    WORKING = "working"
    HOST = "host"


class ExpandedEntry(NamedTuple):
    """An entry of a search path with its tokens replaced; for ``ORIGIN`` relative to the pack."""

    base: PathBase
    path: str


def find_tokens(text: str) -> list[str]:
    """Return the names of the tokens in ``text``, in order."""
    return [match[1] or match[2] for match in TOKEN.finditer(text)]


def expand_entry(entry: str, origin: str) -> ExpandedEntry:
    """Expand an entry of a search path for any host.

    ``$LIB`` and ``$PLATFORM`` stay: their values differ from host to host (``$LIB`` is
    ``lib/x86_64-linux-gnu`` on Debian and ``lib64`` on Fedora).

    Args:
        entry: as written in RPATH or RUNPATH.
        origin: the value of ``$ORIGIN``, relative to the pack.
    """
    if {"LIB", "PLATFORM"} & set(find_tokens(entry)):
        return ExpandedEntry(PathBase.HOST, entry)
    first = TOKEN.match(entry)
    if first:
        rest = entry[first.end() :].lstrip("/")
        return ExpandedEntry(PathBase.ORIGIN, posixpath.join(origin, rest))
    return ExpandedEntry(PathBase.ROOT if entry.startswith("/") else PathBase.WORKING, entry)


def substitute_tokens(
    text: str,
    origin: str,
    lib: str | None,
    platform: str | None,
    *,
    is_secure: bool = False,
    trusted: Iterable[str] | None = None,
) -> str | Outcome:
    """Replace the tokens in ``text`` as glibc does for one process.

    Args:
        text: an entry of a search path, or a needed name.
        origin: the value of ``$ORIGIN``: the absolute directory of the object that has the text.
        lib: the value of ``$LIB``; None if it is unknown.
        platform: the value of ``$PLATFORM``; None if it is unknown.
        is_secure: whether the process is in secure-execution mode. ``$ORIGIN`` must then come
            first, alone or before a slash.
        trusted: the directories below which the result must be (is_trusted_path_normalize); None
            if it may be anywhere.

    Returns:
        The text, or `Outcome.VARIES_BY_HOST` or `Outcome.SECURE_EXECUTION`.
    """
    values = {"ORIGIN": origin, "LIB": lib, "PLATFORM": platform}
    names = find_tokens(text)
    if any(values[name] is None for name in names):
        return Outcome.VARIES_BY_HOST
    if is_secure and "ORIGIN" in names and not _starts_with_origin(text):
        return Outcome.SECURE_EXECUTION
    result = TOKEN.sub(lambda match: values[match[1] or match[2]] or "", text)
    if trusted is not None and "ORIGIN" in names:
        directory = posixpath.normpath(result) + "/"
        if not directory.startswith(tuple(trusted)):
            return Outcome.SECURE_EXECUTION
    return result


def _starts_with_origin(text: str) -> bool:
    """Return whether the only ``$ORIGIN`` comes first, alone or before a slash."""
    first = TOKEN.match(text)
    return (
        first is not None
        and text[first.end() : first.end() + 1] in ("", "/")
        and find_tokens(text).count("ORIGIN") == 1
    )


def substitute_as_musl(text: str, origin: str) -> str | Outcome:
    """Replace ``$ORIGIN`` in ``text`` as musl does.

    Returns:
        The text, or `Outcome.OTHER_TOKEN` if it contains another ``$``.
    """
    if "$" in MUSL_TOKEN.sub("", text):
        return Outcome.OTHER_TOKEN
    return MUSL_TOKEN.sub(lambda _: origin, text)
