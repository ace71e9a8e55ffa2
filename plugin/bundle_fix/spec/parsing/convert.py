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

from bundle_fix.spec.model import Tables, Variable
from bundle_fix.spec.parsing.positions import KeyPath
from bundle_fix.spec.parsing.problems import (
    MOST_PROBLEMS,
    Problem,
    closest,
    did_you_mean,
    listed,
    printable,
)

Kind: TypeAlias = Any
"""A type as the model writes it: a struct, `str`, ``tuple[str, ...]``, ``Annotated[…]``."""

_FOUND = {
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


def convert(kind: Kind, value: object, path: KeyPath, result: Conversion) -> Any:
    """The value as its kind, or None where that cannot be.

    Args:
        kind: the type to convert to.
        value: what tomli made of the text.
        path: where the value stands.
        result: is given every struct made and every problem met on the way.
    """
    before = len(result.problems)
    if before > MOST_PROBLEMS:
        return None
    kind = fitting(kind, value)
    base, _ = unwrap(kind)
    if is_struct(base) and isinstance(value, dict):
        result.problems.extend(islice(_wrong_keys(base, value, path), MOST_PROBLEMS + 1))
    elif origin_of(base) is dict and isinstance(value, dict):
        for name in value:
            _convert_one(get_args(base)[0], name, (*path, name), result, at_key=True)
    elif isinstance(value, str) and "\0" in value:
        result.problems.append(Problem(path, f"{label(path)} holds a NUL character", "remove it"))
    for inner, item, step in children(kind, value):
        convert(inner, item, (*path, step), result)
    if len(result.problems) > before:
        return None
    made = _convert_one(kind, value, path, result)
    if isinstance(made, Struct):
        result.structs[path] = made
    return made


def _convert_one(
    kind: Kind, value: object, path: KeyPath, result: Conversion, *, at_key: bool = False
) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        message, hint = _mismatch(kind, value, path)
        result.problems.append(Problem(path, message, hint, at_key))
        return None


def texts(kind: Kind, value: object, path: KeyPath = ()) -> Iterator[SpecText]:
    """All texts in a value, as tomli reads it or `msgspec.to_builtins` makes it of a struct."""
    base, extra = unwrap(fitting(kind, value))
    if base is str and isinstance(value, str):
        yield SpecText(path, value, extra)
    for inner, item, step in children(kind, value):
        yield from texts(inner, item, (*path, step))


def children(kind: Kind, value: object) -> Iterator[tuple[Kind, object, str | int]]:
    """What a table or an array holds: the kind it should have, the value, and the key or index."""
    base, _ = unwrap(fitting(kind, value))
    if is_struct(base) and isinstance(value, dict):
        for spot in fields_of(base):
            if spot.encode_name in value:
                yield spot.type, value[spot.encode_name], spot.encode_name
    elif origin_of(base) is tuple and isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield get_args(base)[0], item, index
    elif origin_of(base) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield get_args(base)[1], item, name


def unwrap(kind: Kind) -> tuple[Kind, Mapping[str, Any]]:
    """A type without its annotations and without None, and all that their `Meta.extra` say."""
    extra: dict[str, Any] = {}
    while True:
        options = [arg for arg in get_args(kind) if arg is not type(None)]
        if origin_of(kind) is Annotated:
            for meta in kind.__metadata__:
                extra |= meta.extra or {}
            kind = kind.__origin__
        elif origin_of(kind) in (Union, types.UnionType) and len(options) == 1:
            kind = options[0]
        else:
            return kind, extra


def fitting(kind: Kind, value: object) -> Kind:
    """Of a choice of types the one that a value of TOML can only be meant for, or else all."""
    base, _ = unwrap(kind)
    if origin_of(base) not in (Union, types.UnionType):
        return kind
    written = {str: str, bool: bool, list: tuple, tuple: tuple, dict: dict}.get(type(value))
    options = get_args(base)
    bases = [unwrap(option)[0] for option in options]
    fit = [o for o, b in zip(options, bases, strict=True) if (origin_of(b) or b) is written]
    return fit[0] if fit else kind


def origin_of(kind: Kind) -> Any:
    """What a generic type is made of: `tuple` for ``tuple[str, ...]``, None for a plain one."""
    return get_origin(kind)


@cache
def fields_of(table: type[Struct]) -> tuple[FieldInfo, ...]:
    """The fields of a struct: finding their types out takes a while."""
    return fields(table)


def is_struct(kind: Kind) -> bool:
    """Whether a type without annotations is one of the model's structs."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def label(path: KeyPath) -> str:
    """How an error names a value: by its key, and by its index in an array."""
    if len(path) > 1 and isinstance(path[-1], int):
        return f"`{path[-2]}[{path[-1]}]`"
    return f"`{printable(str(path[-1]))}`" if path else "the spec"


def _wrong_keys(
    table: type[Struct], value: Mapping[str, object], path: KeyPath
) -> Iterator[Problem]:
    """The keys that a table does not know, and those that it cannot do without."""
    fields = {spot.encode_name: spot for spot in fields_of(table)}
    meant = set()
    for key in value:
        if key in fields:
            continue
        free = [name for name in fields if name not in value]
        close = closest(key, free)
        meant.add(close)
        what = "table" if not path and isinstance(value[key], (dict, list)) else "key"
        tables = ".".join(printable(part) for part in path if isinstance(part, str))
        inside = f" in `{tables}`" if path else ""
        yield Problem(
            (*path, key),
            f"unknown {what} {label((key,))}{inside}",
            did_you_mean(key, free) or _home(key, value[key]) or f"known here: {listed(fields)}",
            at_key=True,
        )
    for name, spot in fields.items():
        if spot.required and name not in value and name not in meant:
            base, _ = unwrap(spot.type)
            if is_struct(base):
                yield Problem(path, f"the table [{name}] is missing", "add it")
            else:
                sample = "[…]" if origin_of(base) is tuple else '"…"'
                yield Problem(path, f"`{name}` is missing", f"add `{name} = {sample}`")


def _home(key: str, value: object) -> str:
    """The hint that names the table in which such a key is known."""
    for spot in fields_of(Tables):
        base, _ = unwrap(spot.type)
        header = f"[{spot.encode_name}]"
        if is_struct(base):
            fits = key in _keys(base)
        elif origin_of(base) is tuple:
            fits = key in _keys(get_args(base)[0])
            header = f"[{header}]"
        else:  # names that the author makes up: only what stands behind them can be known
            fits = (
                isinstance(value, dict) and bool(value) and value.keys() <= _keys(get_args(base)[1])
            )
        if fits:
            return f"it belongs in {header}"
    return ""


def _keys(table: type[Struct]) -> set[str]:
    return {spot.encode_name for spot in fields_of(table)}


def _mismatch(kind: Kind, value: object, path: KeyPath) -> tuple[str, str]:
    """What is wrong with a value that is not of its kind, and what to do about it."""
    base, extra = unwrap(kind)
    if origin_of(base) is Literal and isinstance(value, str):
        choices = get_args(base)
        hint = did_you_mean(value, choices) or f"one of {listed(choices)}"
        return f'{label(path)} cannot be "{printable(value)}"', hint
    if base is str and isinstance(value, str):
        return f'{label(path)} must be {extra["form"]}, not "{printable(value)}"', ""
    if origin_of(base) is tuple and isinstance(value, list):
        return f"{label(path)} must be {extra['form']}", ""
    found = _FOUND.get(type(value), "a date or a time")
    return f"{label(path)} must be {_noun(base)}, not {found}", _cure(base, value, path)


def _noun(base: Kind) -> str:
    if origin_of(base) is tuple:
        item, _ = unwrap(get_args(base)[0])
        return "an array of tables" if is_struct(item) else "an array of strings"
    if is_struct(base) or origin_of(base) is dict:
        return "a table"
    if origin_of(base) in (Union, types.UnionType):
        *nouns, last = [_noun(unwrap(option)[0]) for option in get_args(base)]
        return f"{', '.join(nouns)} or {last}".replace("true or false,", "true, false,")
    return "true or false" if base is bool else "a string"


def _cure(base: Kind, value: object, path: KeyPath) -> str:
    """How to turn a value of a wrong type into the right one."""
    noun = _noun(base)
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
