"""Shell scripts of the pack that start its programs with LD_LIBRARY_PATH."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.loader.process import Process
from bundle_fix.model.content import read_exactly
from bundle_fix.model.tree import Tree, resolve_path

MAX_SCRIPT = 64 << 10
"""Bytes of the longest script that is read."""
FIRST_LINE = re.compile(rb"#![^\n]*sh\b")
ASSIGNMENT = re.compile(r"^(?:[^#\n]*[\s;])?(\w+)=([^;#\n]*)", re.MULTILINE)
VARIABLE = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")
BASE = "."
"""The result of a command or an unknown variable: the directory of the script, or one above."""
KNOWN = {"HOME": "/root", "LD_LIBRARY_PATH": ""}
"""Variables that do not lead to the pack."""
MAX_DEPTH = 3
"""Variables in the values of variables."""


class StartScript(Struct, frozen=True):
    """A script, and the directories of the pack in its LD_LIBRARY_PATH."""

    path: str
    directories: frozenset[str]


def find_start_script(context: Context, processes: Iterable[Process], name: str) -> str | None:
    """Return the script whose LD_LIBRARY_PATH leads to ``name`` in all ``processes``, or None."""
    known = context.compute_once(find_start_scripts)
    scripts = [known.get(process.entry) for process in processes]
    tree = context.bundle.tree
    for script in scripts:
        places = [f"{d}/{name}".lstrip("/") for d in script.directories] if script else ()
        if not any(isinstance(resolve_path(tree, place), str) for place in places):
            return None
    return next((script.path for script in scripts if script), None)


def find_start_scripts(context: Context) -> Mapping[str, StartScript]:
    """Return the scripts that start programs of the pack, by the path of the program."""
    found: dict[str, StartScript] = {}
    for path, text in _read_scripts(context.bundle.tree) if context.programs else ():
        directories = frozenset(_list_directories(context.bundle.tree, path, text))
        for program in context.programs if directories else ():
            word = rf"/{re.escape(posixpath.basename(program))}(?![\w.-])"
            if re.search(word, text):
                found.setdefault(program, StartScript(path, directories))
    return found


def _read_scripts(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield the shell scripts that set LD_LIBRARY_PATH, with their text."""
    for path, file in tree.iter_files():
        if file.metadata.mode & 0o111 and file.content.size <= MAX_SCRIPT:
            with file.content.open() as reader:
                if FIRST_LINE.match(reader.pread(0, 80)):
                    data = read_exactly(reader, 0, file.content.size) or b""
                    yield path, data.decode("utf-8", "surrogateescape")


def _list_directories(tree: Tree, path: str, text: str) -> Iterator[str]:
    """Yield the directories of the pack that a script puts into LD_LIBRARY_PATH."""
    values = dict(KNOWN)
    paths = []
    for name, text_after in ASSIGNMENT.findall(text):
        value = _evaluate(text_after)
        if name == "LD_LIBRARY_PATH":
            paths += value.split(":")
        values.setdefault(name, value)
    home = posixpath.dirname(path)
    for path_entry in paths:
        entry = _expand_variables(path_entry, values)
        # The command may print the directory of the script, or the one above it.
        for base in (home, posixpath.dirname(home)) if entry.startswith(BASE) else ():
            place = posixpath.normpath(f"/{base}/{entry}").strip("/")
            if place in tree.directories:
                yield place


def _expand_variables(text: str, values: Mapping[str, str]) -> str:
    for _ in range(MAX_DEPTH):
        text = VARIABLE.sub(lambda m: values.get(m[1] or m[2], BASE), text)
    return text


def _evaluate(text: str) -> str:
    """Return the value of an assignment without quotes, with `BASE` for its commands."""
    value, depth = "", 0
    for character in re.sub(r"`[^`]*`", "$()", text):
        if character == "(":
            value = value if depth else value.removesuffix("$") + BASE
            depth += 1
        elif character == ")":
            depth -= 1
        elif depth == 0 and character.isspace():
            break
        elif depth == 0 and character not in "\"'":
            value += character
    return value
