"""Where in a TOML text each key and each value stands: tomli tells that of errors only.

The text is taken to be TOML that tomli accepts, or the beginning of one; of anything else the
places up to the first oddity are found.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import tomli

KeyPath: TypeAlias = tuple[str | int, ...]
"""The way to a value: ``("files", 2, "from")``."""

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
    """Where a key and its value begin, as offsets into the text.

    ``whole`` is false for the tables that a dotted key or a header only goes through.
    """

    path: KeyPath
    key: int
    value: int
    whole: bool = True


def find_position(text: str, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
    """The line and the column, both from 1, of the value at ``path``, or of its key.

    Where there is nothing at ``path``, the innermost table or array that there is; its key, then.
    """
    known = _index_positions(text)
    length = len(path)
    while length and path[:length] not in known:
        length -= 1
    if not length:
        return 1, 1
    place = known[path[:length]]
    return compute_position(text, place.key if key or length < len(path) else place.value)


def compute_position(text: str, offset: int) -> tuple[int, int]:
    """The line and the column, both from 1, of an offset."""
    breaks = _find_line_breaks(text)
    line = bisect_left(breaks, offset)
    return line + 1, offset - (breaks[line - 1] if line else -1)


@lru_cache(maxsize=2)
def _find_line_breaks(text: str) -> tuple[int, ...]:
    return tuple(match.start() for match in re.finditer("\n", text))


def find_repeated_key(text: str) -> tuple[KeyPosition, KeyPosition] | None:
    """The first key that is there before, and where it was; TOML forbids that."""
    seen: dict[KeyPath, KeyPosition] = {}
    for place in iterate_positions(text):
        if place.whole:
            if place.path in seen:
                return place, seen[place.path]
            seen[place.path] = place
    return None


@lru_cache(maxsize=2)
def _index_positions(text: str) -> Mapping[KeyPath, KeyPosition]:
    known: dict[KeyPath, KeyPosition] = {}
    for place in iterate_positions(text):
        if place.path not in known or (place.whole and not known[place.path].whole):
            known[place.path] = place
    return known


def iterate_positions(text: str) -> Iterator[KeyPosition]:
    """All keys and array items of a TOML text, in its order."""
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
    """Read ``[a.b]`` or ``[[a.b]]``; returns the table's path and where its line ends."""
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
    """Read a dotted key: its parts, each with its offset, and the offset after it."""
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
    """Step over the ``=`` after a dotted key; returns the path it sets and the value's offset."""
    value = _match_end(_BLANKS, text, offset)
    value = _match_end(_BLANKS, text, value + text.startswith("=", value))
    for index, (name, start) in enumerate(keys):
        table = (*table, name)
        is_last = index == len(keys) - 1
        yield KeyPosition(table, start, value if is_last else start, is_last)
    return table, value


def _read_value(text: str, offset: int, path: KeyPath) -> Generator[KeyPosition, None, int]:
    """Read a value, with all that is nested in it; returns the offset after it.

    A stack in place of recursion: tomli takes 400 levels, Python's own stack might not.
    """
    inside: list[tuple[KeyPath, int | None]] = []  # the next index in an array, None in a table
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
    """Step over commas and closing brackets, to the next item or out of the value."""
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
