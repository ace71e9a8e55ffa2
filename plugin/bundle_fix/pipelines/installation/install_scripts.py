"""The install rules of a CMake build tree, read from its ``cmake_install.cmake`` scripts.

CMake has no command that lists them, and its File API answers only queries that exist before the
configuration. The scripts have the same layout since CMake 3.20 (cmInstallGenerator.cxx):

    if(CMAKE_INSTALL_COMPONENT STREQUAL "libs" OR NOT CMAKE_INSTALL_COMPONENT)
      if(CMAKE_INSTALL_CONFIG_NAME MATCHES "^([Rr][Ee]…)$")
        file(INSTALL DESTINATION "${CMAKE_INSTALL_PREFIX}/lib" TYPE SHARED_LIBRARY FILES "…")
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

STRING = r'"((?:[^"\\]|\\.)*)"'
COMPONENT = re.compile(
    r'if\((?:CMAKE_INSTALL_COMPONENT|"x\$\{CMAKE_INSTALL_COMPONENT\}x") STREQUAL '
    rf"{STRING}( OR NOT CMAKE_INSTALL_COMPONENT)?\)"
)
CONFIGURATION = re.compile(
    r' +(?:else)?if\((?:CMAKE_INSTALL_CONFIG_NAME|"\$\{CMAKE_INSTALL_CONFIG_NAME\}") MATCHES '
    rf"{STRING}\)"
)
INSTALL = re.compile(rf" *file\(INSTALL DESTINATION {STRING} TYPE (\w+)((?:\s+(?:{STRING}|\w+))*)")
INCLUDE = re.compile(rf" *include\({STRING}\)")
PREFIX = "${CMAKE_INSTALL_PREFIX}"
SCRIPT_NAME = "cmake_install.cmake"
MAX_FILES = 2000
"""Limit of the files of one installed directory."""


class PlannedFile(Struct, frozen=True):
    """A file that an install rule copies.

    Attributes:
        component: the component of the rule.
        path: the installed path on the target.
        source: the file in the build or source tree.
        is_default: whether an installation without a component includes it.
    """

    component: str
    path: str
    source: Path
    is_default: bool


def read_install_rules(script: Path, prefix: str, config: str) -> Iterator[PlannedFile]:
    """Yield the files that ``script`` and the scripts of its subdirectories install.

    Args:
        script: the ``cmake_install.cmake`` of a build tree; a missing one has no rules.
        prefix: the install prefix.
        config: the configuration that is installed.
    """
    text = script.read_text("utf-8", "surrogateescape") if script.is_file() else ""
    component, is_default, applies = "", False, True
    for line in re.finditer(r"^.*$", text, re.MULTILINE):
        if found := COMPONENT.match(line[0]):
            component, is_default = _unescape(found[1]), found[2] is not None
            if line[0].startswith('if("x'):
                component = component[1:-1]
        elif found := CONFIGURATION.match(line[0]):
            applies = re.search(_unescape(found[1]), config) is not None
        elif line[0] == "  endif()":
            applies = True
        elif (found := INCLUDE.match(line[0])) and found[1].endswith(f"/{SCRIPT_NAME}"):
            yield from read_install_rules(Path(_unescape(found[1])), prefix, config)
        elif applies and component and (found := INSTALL.match(text, line.start())):
            for path, source in _list_files(found, prefix):
                yield PlannedFile(component, path, source, is_default)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _list_files(found: re.Match[str], prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield the installed path and the source of each file of a ``file(INSTALL)`` command."""
    directory = _unescape(found[1]).replace(PREFIX, prefix.rstrip("/"))
    options, _, names = found[3].partition("FILES")
    if "$" in directory or names.startswith("_MATCHING"):
        return
    renamed = re.search(rf"RENAME\s+{STRING}", options)
    # Options after the files, such as PERMISSIONS and REGEX, are words without quotes.
    for name in re.findall(STRING, re.split(r"\s[A-Z_]+\b", names)[0]):
        source = Path(_unescape(name))
        if found[2] == "DIRECTORY":
            top = "" if name.endswith("/") else source.name
            yield from _walk_directory(source, posixpath.join(directory, top))
        else:
            installed = _unescape(renamed[1]) if renamed else source.name
            yield posixpath.normpath(posixpath.join(directory, installed)), source


def _walk_directory(source: Path, directory: str) -> Iterator[tuple[str, Path]]:
    count = 0
    for top, _, names in os.walk(source):
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                return
            path = Path(top, name)
            relative = path.relative_to(source)
            yield posixpath.normpath(posixpath.join(directory, relative)), path
