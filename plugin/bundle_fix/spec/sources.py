"""Sources of a variable's value: the environment, a file, CMake's cache, this machine.

Bytes that are not UTF-8 become surrogate escapes, as with `os.fsdecode`.
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

CMAKE_CACHE = "CMakeCache.txt"
EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"


class SourceValue(NamedTuple):
    """The value from a source; if there is none, ``lack`` says why."""

    value: str
    lack: str = ""


def read_environment(name: str, environ: Mapping[str, str]) -> SourceValue:
    """Return the value of the environment variable ``name``."""
    state = "empty" if name in environ else "not set"
    return _reject_empty(
        environ.get(name), f"the environment variable {escape_and_shorten(name)} is {state}"
    )


def search_file(path: Path, pattern: str) -> SourceValue:
    """Return what the group of the regular expression ``pattern`` captures first in a file."""
    text, lack = _read_text(path)
    if lack:
        return SourceValue("", lack)
    return _search_text(pattern, text, escape_unprintable(str(path)))


def apply_pattern(found: SourceValue, pattern: str | None) -> SourceValue:
    """Return what the group of ``pattern`` captures in a value; without a pattern, the value."""
    if pattern is None or found.lack:
        return found
    return _search_text(pattern, found.value, f'"{escape_and_shorten(found.value)}"')


def _search_text(pattern: str, text: str, shown: str) -> SourceValue:
    # MULTILINE: `^` and `$` match at every line, as docs/spec.md promises.
    match = re.search(pattern, text, re.MULTILINE)
    problem = "captures an empty text in" if match else "does not match"
    return _reject_empty(
        match and match[1], f"the pattern '{escape_and_shorten(pattern)}' {problem} {shown}"
    )


def read_cmake_cache(directory: Path, entry: str) -> SourceValue:
    """Return the value of an entry of the ``CMakeCache.txt`` in ``directory``; not an empty one."""
    found = find_cache_entry(directory, entry)
    if found.lack:
        return found
    shown = escape_unprintable(str(directory / CMAKE_CACHE))
    return _reject_empty(found.value, f"{shown}: the entry {escape_and_shorten(entry)} is empty")


def find_cache_entry(directory: Path, entry: str) -> SourceValue:
    """Return the value of an entry ``NAME:TYPE=VALUE`` of a ``CMakeCache.txt``; it may be empty."""
    path = directory / CMAKE_CACHE
    text, lack = _read_text(path)
    if lack:
        return SourceValue("", lack)
    name = re.escape(entry)
    # CMake quotes a name that contains `:` or begins with `//` (cmCacheManager::OutputKey).
    match = re.search(rf'^(?:{name}|"{name}"):[^=\n]*=(.*?)[ \t]*$', text, re.MULTILINE)
    if match is None:
        shown = escape_unprintable(str(path))
        return SourceValue("", f"{shown} has no entry {escape_and_shorten(entry)}")
    return SourceValue(match[1])


def list_cache_entries(directory: Path) -> list[str]:
    """Return the names of the entries of a ``CMakeCache.txt``; none if it cannot be read."""
    text, _ = _read_text(directory / CMAKE_CACHE)
    return re.findall(r"^([A-Za-z_][^:\"\n]*):[^=\n]*=", text, re.MULTILINE)


def read_builtin(builtin: str, environ: Mapping[str, str]) -> SourceValue:
    """Return the value of ``glibc``, ``arch`` or ``epoch``.

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
            f'invalid environment variable {EPOCH_VARIABLE}: "{escape_and_shorten(epoch)}"',
            hint="use a number of seconds since 1970",
        )
    return _reject_empty(epoch, f"the environment variable {EPOCH_VARIABLE} is not set")


def _reject_empty(value: str | None, lack: str) -> SourceValue:
    return SourceValue(value) if value else SourceValue("", lack)


def _read_glibc_version() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):  # musl does not know the name
        return ""


def _read_text(path: Path) -> tuple[str, str]:
    """Return the text of a regular file, and why it cannot be read (empty if it can)."""
    shown = escape_unprintable(str(path))
    try:
        # Opening a FIFO would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            return "", f"{shown} is not a regular file"
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        return "", f"cannot read {shown}: {error.strerror}"
    return ("", f"{shown} is not a text file") if "\0" in text else (text, "")
