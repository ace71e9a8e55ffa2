"""The tokens in search paths and needed names: ``$ORIGIN``, ``$LIB``, ``$PLATFORM``.

Source: glibc's elf/dl-load.c, is_dst and _dl_dst_substitute: a token ends where no letter, digit or
underscore follows, or is in braces; anything else behind a ``$`` is text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

TOKEN = re.compile(r"\$(?:(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])|\{(ORIGIN|LIB|PLATFORM)\})")
TOKEN_OF_MUSL = re.compile(r"\$(?:(ORIGIN)|\{(ORIGIN)\})")
"""musl knows ``$ORIGIN`` alone, and looks at nothing behind it (ldso/dynlink.c, fixup_rpath)."""


class PathBase(Enum):
    """What a path counts from: a folder of the pack, the host's root, the working directory.

    Behind ``HOST`` it holds a token that each host replaces in its own way.
    """

    ORIGIN = "origin"
    ROOT = "root"
    WORKING = "working"
    HOST = "host"


class ExpandedEntry(NamedTuple):
    """A path whose tokens are replaced, and what it counts from (with ``ORIGIN``, the pack)."""

    base: PathBase
    path: str


class Refusal(Enum):
    """Reason why an entry names no directory; the values are those of `Outcome`."""

    UNKNOWN = "varies_by_host"
    INSECURE = "secure_execution"
    OTHER_TOKEN = "other_token"  # noqa: S105 (no password)


def find_tokens(text: str) -> list[str]:
    """The names of the tokens in ``text``, in order."""
    return [match[1] or match[2] for match in TOKEN.finditer(text)]


def expand_entry(entry: str, home: str) -> ExpandedEntry:
    """A search path's entry as a path, for any host.

    What ``$LIB`` and ``$PLATFORM`` mean differs from one host to the next (Debian's ``$LIB`` is
    ``lib/x86_64-linux-gnu``, Fedora's ``lib64``), so nothing can be counted on behind them.

    Args:
        entry: as it stands in RPATH or RUNPATH.
        home: what ``$ORIGIN`` means.
    """
    if {"LIB", "PLATFORM"} & set(find_tokens(entry)):
        return ExpandedEntry(PathBase.HOST, entry)
    first = TOKEN.match(entry)
    if first:
        rest = entry[first.end() :].lstrip("/")
        return ExpandedEntry(PathBase.ORIGIN, posixpath.join(home, rest))
    return ExpandedEntry(PathBase.ROOT if entry.startswith("/") else PathBase.WORKING, entry)


def substitute_tokens(
    text: str, origin: str, lib: str | None, platform: str | None, *, trusted: Iterable[str] | None
) -> str | Refusal:
    """``text`` with its tokens replaced, as glibc replaces them for one process.

    Args:
        text: an entry of a search path, or a needed name.
        origin: what ``$ORIGIN`` means: the absolute folder of the object that has the text.
        lib: what ``$LIB`` means; None where that is not known.
        platform: what ``$PLATFORM`` means; None where that is not known.
        trusted: the built-in directories where the program runs in secure-execution mode: there
            ``$ORIGIN`` must come first, alone or before a slash, and lead below one of them.
            None in other programs.
    """
    values = {"ORIGIN": origin, "LIB": lib, "PLATFORM": platform}
    names = find_tokens(text)
    if any(values[name] is None for name in names):
        return Refusal.UNKNOWN
    if trusted is not None and "ORIGIN" in names and not _begins_with_origin(text):
        return Refusal.INSECURE
    result = TOKEN.sub(lambda match: values[match[1] or match[2]] or "", text)
    if trusted is not None and "ORIGIN" in names:
        place = posixpath.normpath(result) + "/"
        if not place.startswith(tuple(trusted)):
            return Refusal.INSECURE
    return result


def _begins_with_origin(text: str) -> bool:
    """Whether ``$ORIGIN`` stands at the start, alone or before a slash, and nowhere else."""
    first = TOKEN.match(text)
    return (
        first is not None
        and text[first.end() : first.end() + 1] in ("", "/")
        and find_tokens(text).count("ORIGIN") == 1
    )


def substitute_as_musl(text: str, origin: str) -> str | Refusal:
    """``text`` with ``$ORIGIN`` replaced, as musl replaces it; with any other token it is void."""
    if "$" in TOKEN_OF_MUSL.sub("", text):
        return Refusal.OTHER_TOKEN
    return TOKEN_OF_MUSL.sub(lambda _: origin, text)
