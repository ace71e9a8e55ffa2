"""Positions of the keys and values in a TOML text; tomli reports them for syntax errors only.

The text must be TOML that tomli accepts, or the beginning of such a text. In any other text the
positions before the first syntax error are found. Source: the grammar of TOML 1.1.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import tomli

KeyPath: TypeAlias = tuple[str | int, ...]
"""The path to a value: ``("files", 2, "from")``."""

# A key, blanks, blanks with comments and line ends, and a value that is not an array or table.
# Strings come first in `_ATOM`, because they may contain the brackets and commas that end a value.
_KEY = re.compile(r""""(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+""")
_BLANKS = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_ATOM = re.compile(
    r'"""(?:[^\\]|\\.)*?(?:"""|\Z)"{0,2}'
    r"|'''.*?(?:'''|\Z)'{0,2}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[^,\]}#\n]*",
    re.DOTALL,
)


class KeyPosition(NamedTuple):
    """Offsets in the text at which a key and its value begin.

    ``whole`` is false for a table that a dotted key or a header only passes through.
    """

    path: KeyPath
    key: int
    value: int
    whole: bool = True


def find_position(text: str, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
    """Return line and column, both from 1, of the value at ``path``, or of its key.

    If there is no such path, it is the key of the innermost table or array on the way to it.
    """
    known = _index_positions(text)
    length = len(path)
    while length and path[:length] not in known:
        length -= 1
    if not length:
        return 1, 1
    position = known[path[:length]]
    at_key = key or length < len(path)
    return compute_position(text, position.key if at_key else position.value)


def compute_position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of an offset."""
    breaks = _find_line_breaks(text)
    line = bisect_left(breaks, offset)
    return line + 1, offset - (breaks[line - 1] if line else -1)


@lru_cache(maxsize=2)
def _find_line_breaks(text: str) -> tuple[int, ...]:
    return tuple(match.start() for match in re.finditer("\n", text))


def find_repeated_key(text: str) -> tuple[KeyPosition, KeyPosition] | None:
    """Return the first duplicate key and the key that it repeats; None if there is none."""
    seen: dict[KeyPath, KeyPosition] = {}
    for position in iterate_positions(text):
        if position.whole:
            if position.path in seen:
                return position, seen[position.path]
            seen[position.path] = position
    return None


@lru_cache(maxsize=2)
def _index_positions(text: str) -> Mapping[KeyPath, KeyPosition]:
    known: dict[KeyPath, KeyPosition] = {}
    for position in iterate_positions(text):
        path = position.path
        if path not in known or (position.whole and not known[path].whole):
            known[path] = position
    return known


def iterate_positions(text: str) -> Iterator[KeyPosition]:
    """Yield all keys and array items of a TOML text, in its order."""
    offset = 0
    table: KeyPath = ()
    lengths: dict[KeyPath, int] = {}
    while (offset := _match_end(_FILLER, text, offset)) < len(text):
        if text[offset] == "[":
            table, offset = yield from _read_header(text, offset, lengths)
            continue
        keys, offset = _read_keys(text, offset)
        if not keys:
            return
        path, offset = yield from _read_assignment(text, offset, table, keys)
        offset = yield from _read_value(text, offset, path)


def _read_header(
    text: str, offset: int, lengths: dict[KeyPath, int]
) -> Generator[KeyPosition, None, tuple[KeyPath, int]]:
    """Read ``[a.b]`` or ``[[a.b]]``; return the table's path and the offset of its line end."""
    is_array = text.startswith("[[", offset)
    keys, offset = _read_keys(text, offset + 1 + is_array)
    path: KeyPath = ()
    for index, (name, start) in enumerate(keys):
        is_last = index == len(keys) - 1
        path = (*path, name)
        yield KeyPosition(path, start, start, is_last and not is_array)
        if is_last and is_array:
            lengths[path] = lengths.get(path, 0) + 1
        if path in lengths:
            path = (*path, lengths[path] - 1)
            yield KeyPosition(path, start, start, is_last)
    end = text.find("\n", offset)
    return path, end if end >= 0 else len(text)


def _read_keys(text: str, offset: int) -> tuple[list[tuple[str, int]], int]:
    """Read a dotted key; return its parts, each with its offset, and the offset after it."""
    keys: list[tuple[str, int]] = []
    while match := _KEY.match(text, _match_end(_BLANKS, text, offset)):
        keys.append((_decode_key(match[0]), match.start()))
        offset = _match_end(_BLANKS, text, match.end())
        if not text.startswith(".", offset):
            break
        offset += 1
    return keys, offset


def _decode_key(key: str) -> str:
    if key[0] == '"':
        return str(tomli.loads(f"key = {key}")["key"]) if "\\" in key else key[1:-1]
    return key.strip("'")


def _read_assignment(
    text: str, offset: int, table: KeyPath, keys: list[tuple[str, int]]
) -> Generator[KeyPosition, None, tuple[KeyPath, int]]:
    """Skip the ``=`` after a dotted key; return the path that it sets and the value's offset."""
    value = _match_end(_BLANKS, text, offset)
    value = _match_end(_BLANKS, text, value + text.startswith("=", value))
    for index, (name, start) in enumerate(keys):
        table = (*table, name)
        is_last = index == len(keys) - 1
        yield KeyPosition(table, start, value if is_last else start, is_last)
    return table, value


def _read_value(text: str, offset: int, path: KeyPath) -> Generator[KeyPosition, None, int]:
    """Read a value with everything nested in it; return the offset after it.

    It uses a stack instead of recursion: tomli accepts hundreds of levels, and `yield from` through
    as many generators would exceed Python's recursion limit.
    """
    inside: list[tuple[KeyPath, int | None]] = []  # the next index of an array, None for a table
    while True:
        opening = text[offset : offset + 1]
        if opening in ("[", "{"):
            inside.append((path, 0 if opening == "[" else None))
            offset += 1
        else:
            offset = _match_end(_ATOM, text, offset)
        offset = _skip_closing(text, offset, inside)
        if not inside or offset == len(text):
            return offset
        path, index = inside[-1]
        if index is None:
            keys, offset = _read_keys(text, offset)
            if not keys:
                return len(text)
            path, offset = yield from _read_assignment(text, offset, path, keys)
        else:
            inside[-1] = (path, index + 1)
            path = (*path, index)
            yield KeyPosition(path, offset, offset)


def _skip_closing(text: str, offset: int, inside: list[tuple[KeyPath, int | None]]) -> int:
    """Skip commas and closing brackets; return the offset of the next item or after the value."""
    while inside:
        offset = _match_end(_FILLER, text, offset)
        if text.startswith(",", offset):
            offset = _match_end(_FILLER, text, offset + 1)
        if not text.startswith(("]", "}"), offset):
            break
        inside.pop()
        offset += 1
    return offset


def _match_end(pattern: re.Pattern[str], text: str, offset: int) -> int:
    match = pattern.match(text, offset)
    return match.end() if match else offset
