"""Where the value of a variable comes from: the environment, a file, CMake's cache, this machine.

Bytes that are not UTF-8 become surrogate escapes, as `os.fsdecode` makes them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten, escape_unprintable
from bundle_fix.spec.expressions import RegexTimeoutError, search_bounded

CMAKE_CACHE = "CMakeCache.txt"
EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
MAX_SOURCE_BYTES = 64 << 20
"""The size of the largest file that a value is looked for in."""


class SourceValue(NamedTuple):
    """What a source gave; where that is nothing, ``lack`` says what was looked for in vain."""

    value: str
    lack: str = ""


def read_environment(name: str, environ: Mapping[str, str]) -> SourceValue:
    """The environment variable ``name``."""
    state = "empty" if name in environ else "not set"
    return _reject_empty(
        environ.get(name), f"the environment variable {escape_and_shorten(name)} is {state}"
    )


def search_file(path: Path, pattern: str) -> SourceValue:
    """What the group of the regular expression ``pattern`` matches first in a file.

    Raises:
        BundleFixError: the expression takes too long.
    """
    text, lack = _read_text(path)
    return (
        SourceValue("", lack)
        if lack
        else _search_text(pattern, text, escape_unprintable(str(path)))
    )


def apply_pattern(found: SourceValue, pattern: str | None) -> SourceValue:
    """What the group of the regular expression ``pattern``, if there is one, takes of a value.

    Raises:
        BundleFixError: the expression takes too long.
    """
    if pattern is None or found.lack:
        return found
    return _search_text(pattern, found.value, f'"{escape_and_shorten(found.value)}"')


def _search_text(pattern: str, text: str, shown: str) -> SourceValue:
    told = f"the pattern '{escape_and_shorten(pattern)}'"
    try:
        match = search_bounded(pattern, text)
    except RegexTimeoutError as error:
        raise BundleFixError(
            f"{told} takes too long on {shown}",
            hint="let no repeated part hold another that can match the same characters",
        ) from error
    taken = "an empty text" if match else "nothing"
    return _reject_empty(match and match[1], f"{told} finds {taken} in {shown}")


def read_cmake_cache(folder: Path, entry: str) -> SourceValue:
    """The entry ``NAME:TYPE=VALUE`` of the ``CMakeCache.txt`` in a folder, if it is not empty."""
    found = find_cache_entry(folder, entry)
    shown = escape_unprintable(str(folder / CMAKE_CACHE))
    shown = f"{shown} has an empty entry {escape_and_shorten(entry)}"
    return found if found.lack else _reject_empty(found.value, shown)


def find_cache_entry(folder: Path, entry: str) -> SourceValue:
    """The same, also where the entry is empty."""
    path = folder / CMAKE_CACHE
    text, lack = _read_text(path)
    if lack:
        return SourceValue("", lack)
    name = re.escape(entry)
    match = re.search(rf'^(?:{name}|"{name}"):[^=\n]*=(.*?)[ \t]*$', text, re.MULTILINE)
    if match is None:
        return SourceValue(
            "", f"{escape_unprintable(str(path))} has no entry {escape_and_shorten(entry)}"
        )
    return SourceValue(match[1])


def read_builtin(builtin: str, environ: Mapping[str, str]) -> SourceValue:
    """What this machine is (``glibc``, ``arch``), or the moment that the pack is said to be made.

    Raises:
        BundleFixError: SOURCE_DATE_EPOCH is not a number.
    """
    if builtin == "arch":
        return SourceValue(os.uname().machine)
    if builtin == "glibc":
        return _reject_empty(_read_glibc_version(), "this machine has no glibc")
    epoch = environ.get(EPOCH_VARIABLE)
    if epoch and not re.fullmatch("[0-9]+", epoch):
        raise BundleFixError(
            f'the environment variable {EPOCH_VARIABLE} is "{escape_and_shorten(epoch)}"',
            hint="it must be a number of seconds since 1970",
        )
    return _reject_empty(epoch, f"the environment variable {EPOCH_VARIABLE} is not set")


def _reject_empty(value: str | None, lack: str) -> SourceValue:
    return SourceValue(value) if value else SourceValue("", lack)


def _read_glibc_version() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


def _read_text(path: Path) -> tuple[str, str]:
    """The text of a regular file, or why there is none."""
    shown = escape_unprintable(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "", f"{shown} is not a file"
        if status.st_size > MAX_SOURCE_BYTES:
            return "", f"{shown} is larger than {MAX_SOURCE_BYTES >> 20} MiB"
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        return "", f"cannot read {shown}: {error.strerror}"
    return ("", f"{shown} is not a text file") if "\0" in text else (text, "")
