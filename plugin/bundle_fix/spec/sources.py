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
from bundle_fix.spec.expressions import TooLongError, first_match
from bundle_fix.spec.parsing.problems import one_line, printable

CACHE = "CMakeCache.txt"
EPOCH = "SOURCE_DATE_EPOCH"
MOST_BYTES = 64 << 20
"""The size of the largest file that a value is looked for in."""


class Found(NamedTuple):
    """What a source gave; where that is nothing, ``lack`` says what was looked for in vain."""

    value: str
    lack: str = ""


def from_environment(name: str, environ: Mapping[str, str]) -> Found:
    """The environment variable ``name``."""
    state = "empty" if name in environ else "not set"
    return _found(environ.get(name), f"the environment variable {printable(name)} is {state}")


def from_file(path: Path, pattern: str) -> Found:
    """What the group of the regular expression ``pattern`` matches first in a file.

    Raises:
        BundleFixError: the expression takes too long.
    """
    text, lack = _read(path)
    return Found("", lack) if lack else _taken(pattern, text, one_line(str(path)))


def picked(found: Found, pattern: str | None) -> Found:
    """What the group of the regular expression ``pattern``, if there is one, takes of a value.

    Raises:
        BundleFixError: the expression takes too long.
    """
    if pattern is None or found.lack:
        return found
    return _taken(pattern, found.value, f'"{printable(found.value)}"')


def _taken(pattern: str, text: str, shown: str) -> Found:
    told = f"the pattern '{printable(pattern)}'"
    try:
        match = first_match(pattern, text)
    except TooLongError as error:
        raise BundleFixError(
            f"{told} takes too long on {shown}",
            hint="let no repeated part hold another that can match the same characters",
        ) from error
    taken = "an empty text" if match else "nothing"
    return _found(match and match[1], f"{told} finds {taken} in {shown}")


def from_cmake_cache(folder: Path, entry: str) -> Found:
    """The entry ``NAME:TYPE=VALUE`` of the ``CMakeCache.txt`` in a folder, if it is not empty."""
    found = cmake_cache_entry(folder, entry)
    shown = f"{one_line(str(folder / CACHE))} has an empty entry {printable(entry)}"
    return found if found.lack else _found(found.value, shown)


def cmake_cache_entry(folder: Path, entry: str) -> Found:
    """The same, also where the entry is empty."""
    path = folder / CACHE
    text, lack = _read(path)
    if lack:
        return Found("", lack)
    name = re.escape(entry)
    match = re.search(rf'^(?:{name}|"{name}"):[^=\n]*=(.*?)[ \t]*$', text, re.MULTILINE)
    if match is None:
        return Found("", f"{one_line(str(path))} has no entry {printable(entry)}")
    return Found(match[1])


def from_machine(builtin: str, environ: Mapping[str, str]) -> Found:
    """What this machine is (``glibc``, ``arch``), or the moment that the pack is said to be made.

    Raises:
        BundleFixError: SOURCE_DATE_EPOCH is not a number.
    """
    if builtin == "arch":
        return Found(os.uname().machine)
    if builtin == "glibc":
        return _found(_glibc(), "this machine has no glibc")
    epoch = environ.get(EPOCH)
    if epoch and not re.fullmatch("[0-9]+", epoch):
        raise BundleFixError(
            f'the environment variable {EPOCH} is "{printable(epoch)}"',
            hint="it must be a number of seconds since 1970",
        )
    return _found(epoch, f"the environment variable {EPOCH} is not set")


def _found(value: str | None, lack: str) -> Found:
    return Found(value) if value else Found("", lack)


def _glibc() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


def _read(path: Path) -> tuple[str, str]:
    """The text of a regular file, or why there is none."""
    shown = one_line(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "", f"{shown} is not a file"
        if status.st_size > MOST_BYTES:
            return "", f"{shown} is larger than {MOST_BYTES >> 20} MiB"
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        return "", f"cannot read {shown}: {error.strerror}"
    return ("", f"{shown} is not a text file") if "\0" in text else (text, "")
