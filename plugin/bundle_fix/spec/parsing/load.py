"""Reads a spec, and tells all that is wrong with it at once, each with its line and column."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import tomli

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.model.suggestions import suggest_word
from bundle_fix.spec.model import Spec, Tables
from bundle_fix.spec.parsing.checks import find_problems
from bundle_fix.spec.parsing.convert import Conversion, convert_value
from bundle_fix.spec.parsing.positions import (
    KeyPosition,
    compute_position,
    find_position,
    find_repeated_key,
)
from bundle_fix.spec.parsing.problems import MAX_PROBLEMS, Problem, raise_all
from bundle_fix.spec.value_types import ENTRIES

MAX_SPEC_BYTES = 256 << 10
"""The size of the largest file that is taken for a spec."""
_HINTS = {
    "Invalid value": "a text needs quotes around it",
    "Illegal character '\\n'": "close the string in its line, or use three quotes",
    "Unterminated string": "close the string",
    "Unclosed array": "put a comma after each item and ] at the end",
    "Unclosed inline table": "put a comma after each key's value and } at the end",
    "Invalid statement": "write `key = value` or [table]",
    "Expected newline or end of document after a statement": "begin a new line for each key",
    "Cannot overwrite a value": "a key has one value, a [table] or [[entries]], not two of them",
    "Unescaped '\\' in a string": "write it twice, or use single quotes around the text",
    "Expected '=' after a key in a key/value pair": "write `key = value` or [table]",
    "Invalid initial character for a key part": "put quotes around a key of other characters than"
    " letters, digits, `_` and `-`",
    "Expected ']' at the end of a table declaration": "write [table] on a line of its own",
    "Expected ']]' at the end of an array declaration": "write [[entries]] on a line of its own",
    "Found invalid character '\\r'": "end lines as Unix or Windows does",
    "Illegal character '\\r'": "end lines as Unix or Windows does",
}
"""What to do about the commonest of tomli's messages."""


def load_spec(path: Path) -> Spec:
    """Read and check the spec at ``path``.

    Raises:
        BundleFixError: it cannot be read, is no TOML, or is no spec; where several things are
            wrong it is a `SpecErrors`, with a line for each, in their order in the file.
    """
    text = _decode_text(path, _read_bytes(path))
    data = _parse_toml(path, text)
    result = Conversion()
    spec = convert_value(Tables, data, (), result)
    result.problems.extend(islice(find_problems(data, result.structs), MAX_PROBLEMS + 1))
    raise_all(
        [_build_error(path, text, problem) for problem in _sort_problems(text, result.problems)]
    )
    return Spec(path=path, toml=text, **msgspec.structs.asdict(spec))


def _read_bytes(path: Path) -> bytes:
    """The bytes of the file: of a regular one, that nobody has to wait for, and a small one."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                raw = file.read(MAX_SPEC_BYTES + 1)
            elif stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            else:
                message = "is not a file that can be read again"
                raise BundleFixError(message, where=str(path), hint="save the spec to a file")
    except IsADirectoryError as error:
        inside = path / "bundle.toml"
        hint = f"did you mean `{inside}`?" if inside.is_file() else "name the file of the spec"
        raise BundleFixError("is a folder, not a spec", where=str(path), hint=hint) from error
    except FileNotFoundError as error:
        hint = suggest_word(path.name, [other.name for other in path.parent.glob("*.toml")])
        raise BundleFixError("there is no such file", where=str(path), hint=hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleFixError(f"cannot read the spec: {reason}", where=str(path)) from error
    if len(raw) > MAX_SPEC_BYTES:
        raise BundleFixError(
            f"is larger than {MAX_SPEC_BYTES >> 10} KiB, which no spec is",
            where=str(path),
            hint="is it the spec? globs spare long lists of files",
        )
    return raw


def _decode_text(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = compute_position(before, len(before))
        raise BundleFixError(
            f"the byte 0x{raw[error.start]:02x} is not UTF-8",
            where=f"{path}:{line}:{column}",
            hint="save the file as UTF-8",
        ) from error


def _parse_toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        if twice := find_repeated_key(text[: error.pos]):
            raise _describe_repetition(path, text, *twice) from error
        message, hint, offset = f"not TOML: {error.msg}", _HINTS.get(error.msg, ""), error.pos
    except RecursionError:
        message, hint = "it is nested too deeply", "a spec needs four levels"
        offset = _find_deep_nesting(text)
    except ValueError:  # Python's limit on the digits of an integer
        message, hint = "a number has too many digits", "a text needs quotes around it"
        found = re.search(r"[0-9_]{4300}", text)
        offset = found.start() if found else 0
    line, column = compute_position(text, min(offset, len(text)))
    raise BundleFixError(message, where=f"{path}:{line}:{column}", hint=hint)


def _find_deep_nesting(text: str) -> int:
    """Where a text that is nested too deeply begins to be, more or less: strings are not told."""
    depth = 0
    for match in re.finditer(r"[\[{]|[\]}]|(?:[\w-]+[ \t]*\.[ \t]*){99}", text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 99)
        if depth >= 99:
            return match.start()
    return 0


def _describe_repetition(
    path: Path, text: str, key: KeyPosition, first: KeyPosition
) -> BundleFixError:
    *tables, name = [part for part in key.path if isinstance(part, str)]
    line, column = compute_position(text, key.key)
    if not tables and name in ENTRIES:
        hint = f"write [[{name}]] for each entry"
    elif text[: key.key].rstrip().endswith("["):
        hint = f"it stands in line {compute_position(text, first.key)[0]} too: join them"
    else:
        hint = (
            f"it is set in line {compute_position(text, first.key)[0]}:"
            " remove one of them, or add the "
            "[table] that is missing between them"
        )
    message = f"`{escape_and_shorten(name)}` is set a second time"
    return BundleFixError(message, where=f"{path}:{line}:{column}", hint=hint)


def _sort_problems(text: str, problems: Sequence[Problem]) -> list[Problem]:
    ordered = sorted(
        problems, key=lambda problem: find_position(text, problem.path, key=problem.at_key)
    )
    if len(ordered) <= MAX_PROBLEMS:
        return ordered
    last = ordered[MAX_PROBLEMS]._replace(message="and more is wrong", hint="mend these first")
    return [*ordered[:MAX_PROBLEMS], last]


def _build_error(path: Path, text: str, problem: Problem) -> BundleFixError:
    line, column = find_position(text, problem.path, key=problem.at_key)
    where = f"{path}:{line}:{column}"
    return BundleFixError(problem.message, where=where, hint=problem.hint)
