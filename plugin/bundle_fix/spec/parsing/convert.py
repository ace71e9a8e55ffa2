"""Turns the data of a TOML text into the structs of the model, with all that is wrong in it.

`msgspec.convert` stops at the first thing that it does not like; so each item is converted by
itself, from the innermost outwards, and unknown and missing keys are looked for here.
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
from bundle_fix.spec.model import Tables, Variable
from bundle_fix.spec.parsing.positions import KeyPath
from bundle_fix.spec.parsing.problems import MAX_PROBLEMS, Problem

ValueType: TypeAlias = Any
"""A type as the model writes it: a struct, `str`, ``tuple[str, ...]``, ``Annotated[…]``."""

_TOML_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    list: "an array",
    dict: "a table",
}


class SpecText(NamedTuple):
    """A text of the spec, where it stands, and the marks that the model puts on it."""

    path: KeyPath
    text: str
    marks: Mapping[str, Any]


class Conversion(Struct, frozen=True):
    """What came of a conversion: each struct that is as it should be, and the problems."""

    structs: dict[KeyPath, Struct] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def convert_value(kind: ValueType, value: object, path: KeyPath, result: Conversion) -> Any:
    """The value as its kind, or None where that cannot be.

    Args:
        kind: the type to convert to.
        value: what tomli made of the text.
        path: where the value stands.
        result: is given every struct made and every problem met on the way.
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
            Problem(path, f"{format_label(path)} holds a NUL character", "remove it")
        )
    for inner, item, step in iterate_children(kind, value):
        convert_value(inner, item, (*path, step), result)
    if len(result.problems) > before:
        return None
    made = _convert_one(kind, value, path, result)
    if isinstance(made, Struct):
        result.structs[path] = made
    return made


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
    """All texts in a value, as tomli reads it or `msgspec.to_builtins` makes it of a struct."""
    base, extra = unwrap_type(select_type(kind, value))
    if base is str and isinstance(value, str):
        yield SpecText(path, value, extra)
    for inner, item, step in iterate_children(kind, value):
        yield from iterate_texts(inner, item, (*path, step))


def iterate_children(
    kind: ValueType, value: object
) -> Iterator[tuple[ValueType, object, str | int]]:
    """What a table or an array holds: the kind it should have, the value, and the key or index."""
    base, _ = unwrap_type(select_type(kind, value))
    if is_struct(base) and isinstance(value, dict):
        for spot in list_fields(base):
            if spot.encode_name in value:
                yield spot.type, value[spot.encode_name], spot.encode_name
    elif get_type_origin(base) is tuple and isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield get_args(base)[0], item, index
    elif get_type_origin(base) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield get_args(base)[1], item, name


def unwrap_type(kind: ValueType) -> tuple[ValueType, Mapping[str, Any]]:
    """A type without its annotations and without None, and all that their `Meta.extra` say."""
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
    """Of a choice of types the one that a value of TOML can only be meant for, or else all."""
    base, _ = unwrap_type(kind)
    if get_type_origin(base) not in (Union, types.UnionType):
        return kind
    written = {str: str, bool: bool, list: tuple, tuple: tuple, dict: dict}.get(type(value))
    options = get_args(base)
    bases = [unwrap_type(option)[0] for option in options]
    fit = [o for o, b in zip(options, bases, strict=True) if (get_type_origin(b) or b) is written]
    return fit[0] if fit else kind


def get_type_origin(kind: ValueType) -> Any:
    """What a generic type is made of: `tuple` for ``tuple[str, ...]``, None for a plain one."""
    return get_origin(kind)


@cache
def list_fields(table: type[Struct]) -> tuple[FieldInfo, ...]:
    """The fields of a struct: finding their types out takes a while."""
    return fields(table)


def is_struct(kind: ValueType) -> bool:
    """Whether a type without annotations is one of the model's structs."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def format_label(path: KeyPath) -> str:
    """How an error names a value: by its key, and by its index in an array."""
    if len(path) > 1 and isinstance(path[-1], int):
        return f"`{path[-2]}[{path[-1]}]`"
    return f"`{escape_and_shorten(str(path[-1]))}`" if path else "the spec"


def _find_key_problems(
    table: type[Struct], value: Mapping[str, object], path: KeyPath
) -> Iterator[Problem]:
    """The keys that a table does not know, and those that it cannot do without."""
    fields = {spot.encode_name: spot for spot in list_fields(table)}
    meant = set()
    for key in value:
        if key in fields:
            continue
        free = [name for name in fields if name not in value]
        close = find_closest(key, free)
        meant.add(close)
        what = "table" if not path and isinstance(value[key], (dict, list)) else "key"
        tables = ".".join(escape_and_shorten(part) for part in path if isinstance(part, str))
        inside = f" in `{tables}`" if path else ""
        yield Problem(
            (*path, key),
            f"unknown {what} {format_label((key,))}{inside}",
            suggest_word(key, free)
            or _suggest_table(key, value[key])
            or f"known here: {format_words(fields)}",
            at_key=True,
        )
    for name, spot in fields.items():
        if spot.required and name not in value and name not in meant:
            base, _ = unwrap_type(spot.type)
            if is_struct(base):
                yield Problem(path, f"the table [{name}] is missing", "add it")
            else:
                sample = "[…]" if get_type_origin(base) is tuple else '"…"'
                yield Problem(path, f"`{name}` is missing", f"add `{name} = {sample}`")


def _suggest_table(key: str, value: object) -> str:
    """The hint that names the table in which such a key is known."""
    for spot in list_fields(Tables):
        base, _ = unwrap_type(spot.type)
        header = f"[{spot.encode_name}]"
        if is_struct(base):
            fits = key in _list_keys(base)
        elif get_type_origin(base) is tuple:
            fits = key in _list_keys(get_args(base)[0])
            header = f"[{header}]"
        else:  # names that the author makes up: only what stands behind them can be known
            fits = (
                isinstance(value, dict)
                and bool(value)
                and value.keys() <= _list_keys(get_args(base)[1])
            )
        if fits:
            return f"it belongs in {header}"
    return ""


def _list_keys(table: type[Struct]) -> set[str]:
    return {spot.encode_name for spot in list_fields(table)}


def _describe_mismatch(kind: ValueType, value: object, path: KeyPath) -> tuple[str, str]:
    """What is wrong with a value that is not of its kind, and what to do about it."""
    base, extra = unwrap_type(kind)
    if get_type_origin(base) is Literal and isinstance(value, str):
        choices = get_args(base)
        hint = suggest_word(value, choices) or f"one of {format_words(choices)}"
        return f'{format_label(path)} cannot be "{escape_and_shorten(value)}"', hint
    if base is str and isinstance(value, str):
        return f'{format_label(path)} must be {extra["form"]}, not "{escape_and_shorten(value)}"', ""
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
    """How to turn a value of a wrong type into the right one."""
    noun = _describe_type(base)
    is_single = not isinstance(value, (list, dict))
    if is_single and base is Variable:
        return 'write { value = "…" }'
    if isinstance(value, str):
        if base is bool:
            return "leave the quotes out"
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
