"""Reading of a spec; all its problems are reported together, each with line and column."""

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
"""Size limit of a spec: the file is probably an artifact that was passed by mistake."""
_HINTS = {
    "Invalid value": "put quotes around a text",
    "Illegal character '\\n'": "close the string on the same line, or use three quotes",
    "Unterminated string": "close the string",
    "Unclosed array": "put a comma after each item and ] at the end",
    "Unclosed inline table": "put a comma after each key's value and } at the end",
    "Invalid statement": "write `key = value` or [table]",
    "Expected newline or end of document after a statement": "start a new line for each key",
    "Cannot overwrite a value": "give a key only one of a value, a [table] and [[entries]]",
    "Unescaped '\\' in a string": "write \\\\, or put single quotes around the text",
    "Expected '=' after a key in a key/value pair": "write `key = value` or [table]",
    "Invalid initial character for a key part": "put quotes around a key that contains other"
    " characters than letters, digits, `_` and `-`",
    "Expected ']' at the end of a table declaration": "write [table] on a line of its own",
    "Expected ']]' at the end of an array declaration": "write [[entries]] on a line of its own",
    "Found invalid character '\\r'": "end lines with LF or CR LF",
    "Illegal character '\\r'": "end lines with LF or CR LF",
}
"""Hints for the most common messages of tomli."""


def load_spec(path: Path) -> Spec:
    """Read and check the spec at ``path``.

    Raises:
        BundleFixError: it cannot be read or is invalid. Several problems raise a `SpecErrors`
            with a line for each, in their order in the file.
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
    """Return the bytes of a regular file of at most `MAX_SPEC_BYTES`."""
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                raw = file.read(MAX_SPEC_BYTES + 1)
            elif stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            else:
                message = "is not a regular file"
                raise BundleFixError(message, where=str(path), hint="save the spec to a file")
    except IsADirectoryError as error:
        inside = path / "bundle.toml"
        hint = f"did you mean `{inside}`?" if inside.is_file() else "pass the path of the spec file"
        raise BundleFixError("is a directory, not a spec", where=str(path), hint=hint) from error
    except FileNotFoundError as error:
        hint = suggest_word(path.name, [other.name for other in path.parent.glob("*.toml")])
        raise BundleFixError("no such file", where=str(path), hint=hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleFixError(f"cannot read the spec: {reason}", where=str(path)) from error
    if len(raw) > MAX_SPEC_BYTES:
        raise BundleFixError(
            f"is larger than {MAX_SPEC_BYTES >> 10} KiB, the limit for a spec",
            where=str(path),
            hint="pass the path of the spec; use globs instead of long lists of files",
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
        if repeated := find_repeated_key(text[: error.pos]):
            raise _describe_repetition(path, text, *repeated) from error
        message, hint, offset = f"invalid TOML: {error.msg}", _HINTS.get(error.msg, ""), error.pos
    except RecursionError:
        message, hint = "too many nested levels", "a spec has at most four"
        offset = _find_deep_nesting(text)
    except ValueError:  # sys.get_int_max_str_digits()
        message, hint = "a number has more than 4300 digits", "put quotes around a text"
        found = re.search(r"[0-9_]{4300}", text)
        offset = found.start() if found else 0
    line, column = compute_position(text, min(offset, len(text)))
    raise BundleFixError(message, where=f"{path}:{line}:{column}", hint=hint)


def _find_deep_nesting(text: str) -> int:
    """Return about where the nesting gets too deep; brackets in strings are counted as well."""
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
    line_of_first, _ = compute_position(text, first.key)
    if not tables and name in ENTRIES:
        hint = f"write [[{name}]] for each entry"
    elif text[: key.key].rstrip().endswith("["):
        hint = f"it is first defined in line {line_of_first}: merge the two tables"
    else:
        hint = (
            f"it is first set in line {line_of_first}: remove one of them, or add the missing"
            " [table] header between them"
        )
    message = f"duplicate key `{escape_and_shorten(name)}`"
    return BundleFixError(message, where=f"{path}:{line}:{column}", hint=hint)


def _sort_problems(text: str, problems: Sequence[Problem]) -> list[Problem]:
    ordered = sorted(
        problems, key=lambda problem: find_position(text, problem.path, key=problem.at_key)
    )
    if len(ordered) <= MAX_PROBLEMS:
        return ordered
    message = f"more problems; only the first {MAX_PROBLEMS} are printed"
    last = ordered[MAX_PROBLEMS]._replace(message=message, hint="fix these first")
    return [*ordered[:MAX_PROBLEMS], last]


def _build_error(path: Path, text: str, problem: Problem) -> BundleFixError:
    line, column = find_position(text, problem.path, key=problem.at_key)
    where = f"{path}:{line}:{column}"
    return BundleFixError(problem.message, where=where, hint=problem.hint)
