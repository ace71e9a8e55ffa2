"""Conversion of TOML data to the structs of the model, with all problems found on the way.

`msgspec.convert` stops at the first error. So each item is converted separately, from the innermost
outwards, and unknown and missing keys are found here.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import Struct, field
from msgspec.structs import FieldInfo, fields

from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.model.suggestions import find_closest, format_words, suggest_word
from bundle_fix.spec.model import Tables
from bundle_fix.spec.parsing.positions import KeyPath
from bundle_fix.spec.parsing.problems import MAX_PROBLEMS, Problem
from bundle_fix.spec.table_types import Variable

ValueType: TypeAlias = Any
"""A type annotation of the model: a struct, `str`, ``tuple[str, ...]``, ``Annotated[…]``."""

_TOML_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    list: "an array",
    dict: "a table",
}


class SpecText(NamedTuple):
    """A text of the spec, its path, and its marks (see `value_types`)."""

    path: KeyPath
    text: str
    marks: Mapping[str, Any]


class Conversion(Struct, frozen=True):
    """Result of a conversion: each valid struct by its path, and the problems."""

    structs: dict[KeyPath, Struct] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def convert_value(kind: ValueType, value: object, path: KeyPath, result: Conversion) -> Any:
    """Convert a value to a type; return None if it is invalid.

    Args:
        kind: the type to convert to.
        value: the value as tomli parsed it.
        path: the path of the value.
        result: receives every valid struct and every problem.
    """
    before = len(result.problems)
    if before > MAX_PROBLEMS:
        return None
    kind = select_type(kind, value)
    base, _ = unwrap_type(kind)
    if is_struct(base) and isinstance(value, dict):
        result.problems.extend(islice(_find_key_problems(base, value, path), MAX_PROBLEMS + 1))
    elif get_type_origin(base) is dict and isinstance(value, dict):
        for name in value:
            _convert_one(get_args(base)[0], name, (*path, name), result, at_key=True)
    elif isinstance(value, str) and "\0" in value:
        result.problems.append(
            Problem(path, f"{format_label(path)} contains a NUL character", "remove it")
        )
    for inner, item, step in iterate_children(kind, value):
        convert_value(inner, item, (*path, step), result)
    if len(result.problems) > before:
        return None
    converted = _convert_one(kind, value, path, result)
    if isinstance(converted, Struct):
        result.structs[path] = converted
    return converted


def _convert_one(
    kind: ValueType, value: object, path: KeyPath, result: Conversion, *, at_key: bool = False
) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        message, hint = _describe_mismatch(kind, value, path)
        result.problems.append(Problem(path, message, hint, at_key))
        return None


def iterate_texts(kind: ValueType, value: object, path: KeyPath = ()) -> Iterator[SpecText]:
    """Yield all texts in a value that is from tomli or from `msgspec.to_builtins`."""
    base, extra = unwrap_type(select_type(kind, value))
    if base is str and isinstance(value, str):
        yield SpecText(path, value, extra)
    for inner, item, step in iterate_children(kind, value):
        yield from iterate_texts(inner, item, (*path, step))


def iterate_children(
    kind: ValueType, value: object
) -> Iterator[tuple[ValueType, object, str | int]]:
    """Yield the items of a table or array: expected type, value, and key or index."""
    base, _ = unwrap_type(select_type(kind, value))
    if is_struct(base) and isinstance(value, dict):
        for info in list_fields(base):
            if info.encode_name in value:
                yield info.type, value[info.encode_name], info.encode_name
    elif get_type_origin(base) is tuple and isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield get_args(base)[0], item, index
    elif get_type_origin(base) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield get_args(base)[1], item, name


def unwrap_type(kind: ValueType) -> tuple[ValueType, Mapping[str, Any]]:
    """Return a type without annotations and without None, and their merged `Meta.extra`."""
    extra: dict[str, Any] = {}
    while True:
        options = [arg for arg in get_args(kind) if arg is not type(None)]
        if get_type_origin(kind) is Annotated:
            for meta in kind.__metadata__:
                extra |= meta.extra or {}
            kind = kind.__origin__
        elif get_type_origin(kind) in (Union, types.UnionType) and len(options) == 1:
            kind = options[0]
        else:
            return kind, extra


def select_type(kind: ValueType, value: object) -> ValueType:
    """Return the member of a union that fits a TOML value; the union itself if none fits."""
    base, _ = unwrap_type(kind)
    if get_type_origin(base) not in (Union, types.UnionType):
        return kind
    meant = {str: str, bool: bool, list: tuple, tuple: tuple, dict: dict}.get(type(value))
    options = get_args(base)
    bases = [unwrap_type(option)[0] for option in options]
    fitting = [o for o, b in zip(options, bases, strict=True) if (get_type_origin(b) or b) is meant]
    return fitting[0] if fitting else kind


def get_type_origin(kind: ValueType) -> Any:
    """Return the origin of a generic type: `tuple` for ``tuple[str, ...]``; None for others."""
    return get_origin(kind)


@cache
def list_fields(table: type[Struct]) -> tuple[FieldInfo, ...]:
    """Return the fields of a struct; cached because msgspec evaluates the annotations each time."""
    return fields(table)


def is_struct(kind: ValueType) -> bool:
    """Return whether a type without annotations is one of the model's structs."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def format_label(path: KeyPath) -> str:
    """Return the name of a value for a message: its key, or key and index of an array item."""
    if len(path) > 1 and isinstance(path[-1], int):
        return f"`{path[-2]}[{path[-1]}]`"
    return f"`{escape_and_shorten(str(path[-1]))}`" if path else "the spec"


def _find_key_problems(
    table: type[Struct], value: Mapping[str, object], path: KeyPath
) -> Iterator[Problem]:
    """Yield the unknown keys of a table, and its missing required keys."""
    fields = {info.encode_name: info for info in list_fields(table)}
    misspelt = set()
    for key in value:
        if key in fields:
            continue
        unused = [name for name in fields if name not in value]
        # A misspelt required key must not be reported as missing as well.
        misspelt.add(find_closest(key, unused))
        noun = "table" if not path and isinstance(value[key], (dict, list)) else "key"
        tables = ".".join(escape_and_shorten(part) for part in path if isinstance(part, str))
        inside = f" in `{tables}`" if path else ""
        yield Problem(
            (*path, key),
            f"unknown {noun} {format_label((key,))}{inside}",
            suggest_word(key, unused)
            or _suggest_table(key, value[key])
            or f"use one of {format_words(fields)}",
            at_key=True,
        )
    for name, info in fields.items():
        if info.required and name not in value and name not in misspelt:
            base, _ = unwrap_type(info.type)
            if is_struct(base):
                yield Problem(path, f"missing table [{name}]", "add it")
            else:
                sample = "[…]" if get_type_origin(base) is tuple else '"…"'
                yield Problem(path, f"missing key `{name}`", f"add `{name} = {sample}`")


def _suggest_table(key: str, value: object) -> str:
    """Return a hint that names the table which has such a key; empty if there is none."""
    for info in list_fields(Tables):
        base, _ = unwrap_type(info.type)
        header = f"[{info.encode_name}]"
        if is_struct(base):
            fits = key in _list_keys(base)
        elif get_type_origin(base) is tuple:
            fits = key in _list_keys(get_args(base)[0])
            header = f"[{header}]"
        else:  # [variables] and [options]: the key is free, so the keys of its value must fit
            fits = (
                isinstance(value, dict)
                and bool(value)
                and value.keys() <= _list_keys(get_args(base)[1])
            )
        if fits:
            return f"move it to {header}"
    return ""


def _list_keys(table: type[Struct]) -> set[str]:
    return {info.encode_name for info in list_fields(table)}


def _describe_mismatch(kind: ValueType, value: object, path: KeyPath) -> tuple[str, str]:
    """Return message and hint for a value that does not match its type."""
    base, extra = unwrap_type(kind)
    if get_type_origin(base) is Literal and isinstance(value, str):
        choices = get_args(base)
        hint = suggest_word(value, choices) or f"use one of {format_words(choices)}"
        return f'invalid {format_label(path)}: "{escape_and_shorten(value)}"', hint
    if base is str and isinstance(value, str):
        shown = escape_and_shorten(value)
        return f'{format_label(path)} must be {extra["form"]}, not "{shown}"', ""
    if get_type_origin(base) is tuple and isinstance(value, list):
        return f"{format_label(path)} must be {extra['form']}", ""
    found = _TOML_TYPES.get(type(value), "a date or a time")
    return f"{format_label(path)} must be {_describe_type(base)}, not {found}", _suggest_correction(
        base, value, path
    )


def _describe_type(base: ValueType) -> str:
    if get_type_origin(base) is tuple:
        item, _ = unwrap_type(get_args(base)[0])
        return "an array of tables" if is_struct(item) else "an array of strings"
    if is_struct(base) or get_type_origin(base) is dict:
        return "a table"
    if get_type_origin(base) in (Union, types.UnionType):
        *nouns, last = [_describe_type(unwrap_type(option)[0]) for option in get_args(base)]
        return f"{', '.join(nouns)} or {last}".replace("true or false,", "true, false,")
    return "true or false" if base is bool else "a string"


def _suggest_correction(base: ValueType, value: object, path: KeyPath) -> str:
    """Return a hint that turns a value of a wrong type into the right one."""
    noun = _describe_type(base)
    is_single = not isinstance(value, (list, dict))
    if is_single and base is Variable:
        return 'write { value = "…" }'
    if isinstance(value, str):
        if base is bool:
            return "remove the quotes"
        if noun == "an array of strings":
            return "put it in [ ]"
    if is_single and noun == "a table":
        return f"write [{path[-1]}]" if len(path) == 1 else "write { key = … }"
    if is_single and noun == "an array of tables":
        return f"write [[{path[-1]}]]" if len(path) == 1 else "put it in [ ]"
    if isinstance(value, dict) and noun == "an array of tables":
        return f"write [[{path[-1]}]], not [{path[-1]}]" if len(path) == 1 else "put it in [ ]"
    if isinstance(value, list) and noun == "a table" and len(path) == 1:
        return f"write [{path[-1]}], not [[{path[-1]}]]"
    return "put it in quotes" if is_single and "a string" in noun else ""
