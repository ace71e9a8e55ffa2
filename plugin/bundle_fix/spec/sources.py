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

from bundle_fix.errors import BundleFixError
from bundle_fix.spec.problems import one_line, printable

CACHE = "CMakeCache.txt"
EPOCH = "SOURCE_DATE_EPOCH"


class Found(NamedTuple):
    """What a source gave; where that is nothing, ``lack`` says what was looked for in vain."""

    value: str
    lack: str = ""


def from_environment(name: str, environ: Mapping[str, str]) -> Found:
    """The environment variable ``name``."""
    state = "empty" if name in environ else "not set"
    return _found(environ.get(name), f"the environment variable {printable(name)} is {state}")


def from_file(path: Path, pattern: str) -> Found:
    """What the group of the regular expression ``pattern`` matches first in a file."""
    text, lack = _read(path)
    if lack:
        return Found("", lack)
    match = re.search(pattern, text, re.MULTILINE)
    found = "an empty text" if match else "nothing"
    lack = f"the pattern '{printable(pattern)}' finds {found} in {one_line(str(path))}"
    return _found(match and match[1], lack)


def picked(found: Found, pattern: str | None) -> Found:
    """What the group of the regular expression ``pattern``, if there is one, takes of a value."""
    if pattern is None or found.lack:
        return found
    match = re.search(pattern, found.value, re.MULTILINE)
    taken = "an empty text" if match else "nothing"
    lack = f"the pattern '{printable(pattern)}' finds {taken} in \"{printable(found.value)}\""
    return _found(match and match[1], lack)


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
        if not stat.S_ISREG(path.stat().st_mode):
            return "", f"{shown} is not a file"
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        return "", f"cannot read {shown}: {error.strerror}"
    return ("", f"{shown} is not a text file") if "\0" in text else (text, "")
