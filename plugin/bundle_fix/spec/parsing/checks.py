"""Checks of a spec beyond the types of its values: within an entry, and between entries."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.model.suggestions import find_closest, format_words, suggest_word
from bundle_fix.spec.model import Tables
from bundle_fix.spec.names import find_name_error, find_path_error, is_directory_path
from bundle_fix.spec.parsing.convert import (
    SpecText,
    format_label,
    iterate_children,
    iterate_texts,
    list_fields,
)
from bundle_fix.spec.parsing.positions import KeyPath
from bundle_fix.spec.parsing.problems import Problem
from bundle_fix.spec.table_types import FilesEntry, LibrariesEntry, Option, Variable
from bundle_fix.spec.template import is_build_variable, list_references, parse_template
from bundle_fix.spec.value_types import CHECKSUM, ENTRIES

_CONDITION = str | tuple[str, ...]
_TABLE_TYPES = {info.encode_name: info.type for info in list_fields(Tables)}


def find_problems(data: Mapping[str, Any], structs: Mapping[KeyPath, Struct]) -> Iterator[Problem]:
    """Yield the problems within the entries that could be converted, and between entries.

    Args:
        data: the whole spec as tomli parsed it.
        structs: the entries that could be converted, by path.
    """
    texts = list(iterate_texts(Tables, data))
    for path, text, marks in texts:
        if marks.get("pack_name"):
            yield from _check_pack_name(path, text)
        if marks.get("pattern"):
            yield from _check_pattern(path, text)
        if marks.get("checksum"):
            yield from _check_checksum(path, text)
        if marks.get("pack_path"):
            yield from _check_pack_path(path, text)
    for path, item in structs.items():
        if isinstance(item, Variable):
            yield from _check_variable(path, item)
        elif isinstance(item, Option):
            yield from _check_option(path, item)
        elif isinstance(item, FilesEntry):
            yield from _check_files(path, item)
        elif isinstance(item, LibrariesEntry):
            yield from _check_libraries(path, item)
    names = _collect_names(data)
    yield from _check_duplicates(data)
    templates = [item for item in texts if item.marks.get("template")]
    yield from _check_cycles(templates)
    yield from _check_templates(templates, names)
    if names is not None:
        options = {path[1]: item for path, item in structs.items() if isinstance(item, Option)}
        yield from _check_conditions(data, names, options)


def _collect_names(data: Mapping[str, Any]) -> set[str] | None:
    """Return the names of all variables and options; None if a header may be misspelt."""
    misspelt = {
        find_closest(key, ("variables", "options")) for key in data if key not in _TABLE_TYPES
    }
    sections = [data.get("variables", {}), data.get("options", {})]
    if misspelt - {None} or not all(isinstance(section, dict) for section in sections):
        return None
    return {name for section in sections for name in section}


def _check_pack_name(path: KeyPath, template: str) -> Iterator[Problem]:
    name = _fill_placeholders(template)
    if name and (fault := find_name_error(name)):
        message = f'invalid pack name "{escape_and_shorten(template)}": {fault}'
        yield Problem(path, message, "it names a file and a directory")


def _check_variable(path: KeyPath, variable: Variable) -> Iterator[Problem]:
    name = escape_and_shorten(str(path[-1]))
    texts = {
        "env": variable.env,
        "file": variable.file,
        "cmake-cache": variable.cmake_cache,
        "builtin": variable.builtin,
        "value": variable.value,
    }
    sources = [source for source, text in texts.items() if text is not None]
    if len(sources) > 1:
        message = f"the variable `{name}` has {len(sources)} sources: {format_words(sources)}"
        yield Problem(path, message, "keep one of them")
    if variable.file is not None and variable.pattern is None:
        yield Problem((*path, "file"), "`file` requires `pattern`", "add `pattern = '…(…)…'`")
    elif variable.pattern is not None and not set(sources) & {"file", "env", "cmake-cache"}:
        message = "`pattern` requires `file`, `env` or `cmake-cache`"
        yield Problem((*path, "pattern"), message, 'add `file = "…"`')
    elif variable.cache_directory is not None and variable.cmake_cache is None:
        yield Problem((*path, "in"), "`in` requires `cmake-cache`", 'add `cmake-cache = "…"`')
    elif not sources:
        message = f"the variable `{name}` has no source"
        yield Problem(path, message, f"add one of {format_words(texts)}")


def _check_pattern(path: KeyPath, pattern: str) -> Iterator[Problem]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning would name a line of this module
            groups = re.compile(pattern, re.MULTILINE).groups
    except (re.error, OverflowError, RecursionError) as error:
        message = f"invalid regular expression in `pattern`: {escape_and_shorten(str(error))}"
        yield Problem(path, message, "put a \\ before a literal special character")
        return
    if groups != 1:
        message = f"`pattern` has {groups} groups instead of one"
        hint = "write the others as (?:…)" if groups else "put ( ) around the part to capture"
        yield Problem(path, message, hint)


def _check_checksum(path: KeyPath, text: str) -> Iterator[Problem]:
    if not re.search(CHECKSUM, text):
        form = 'a checksum such as "sha256:…" in lower-case hexadecimal digits'
        yield Problem(
            path, f'{format_label(path)} must be {form}, not "{escape_and_shorten(text)}"'
        )


def _check_option(path: KeyPath, option: Option) -> Iterator[Problem]:
    choices = option.choices
    if len(set(choices)) < len(choices):
        repeated = sorted({choice for choice in choices if choices.count(choice) > 1})
        message = f"`choices` contains {format_words(repeated)} more than once"
        yield Problem((*path, "choices"), message, "remove the repetition")
    if option.default not in choices:
        message = f'`default` "{escape_and_shorten(option.default)}" is not one of the choices'
        hint = suggest_word(option.default, choices) or f"use one of {format_words(choices)}"
        yield Problem((*path, "default"), message, hint)


def _check_files(path: KeyPath, files: FilesEntry) -> Iterator[Problem]:
    if files.source is None and files.text is None:
        yield Problem(path, "missing key `from` or `text`", "add one of them")
    elif files.source is not None and files.text is not None:
        yield Problem((*path, "text"), "`from` and `text` exclude each other", "keep one of them")
    for key, value in (("exclude", files.exclude), ("checksum", files.checksum)):
        if files.source is None and value:
            yield Problem((*path, key), f"`{key}` requires `from`, not `text`", "remove it")
    if files.text is not None and is_directory_path(_fill_placeholders(files.to) or "unknown"):
        message = f'"{escape_and_shorten(files.to)}" is a directory, but `text` writes one file'
        yield Problem((*path, "to"), message, "add the file name")


def _check_libraries(path: KeyPath, libraries: LibrariesEntry) -> Iterator[Problem]:
    if libraries.source is None and libraries.name is None:
        yield Problem(path, "missing key `from` or `name`", "add one of them")
    elif libraries.source is not None and libraries.name is not None:
        yield Problem((*path, "name"), "`from` and `name` exclude each other", "keep one of them")
    elif libraries.name is not None and not libraries.search:
        yield Problem(
            path, "`name` requires `search`", 'add `search = ["…"]`: the directories to search'
        )
    elif libraries.name is not None and libraries.exclude:
        yield Problem((*path, "exclude"), "`exclude` requires `from`, not `name`", "remove it")
    elif libraries.source is not None and libraries.search:
        yield Problem((*path, "search"), "`search` requires `name`, not `from`", "remove it")


def _check_pack_path(path: KeyPath, template: str) -> Iterator[Problem]:
    pack_path = _fill_placeholders(template)
    if pack_path and (fault := find_path_error(pack_path)):
        message = f'invalid path in the pack "{escape_and_shorten(template)}": {fault}'
        yield Problem(path, message, "write a path relative to the pack's root")


def _fill_placeholders(template: str) -> str:
    """Return the text with a letter for each variable; empty if it cannot be parsed."""
    try:
        return "".join(part.literal + part.name[:1] for part in parse_template(template))
    except BundleFixError:
        return ""


def _check_duplicates(data: Mapping[str, Any]) -> Iterator[Problem]:
    variables, options = data.get("variables"), data.get("options")
    if isinstance(variables, dict) and isinstance(options, dict):
        for name in options:
            if name in variables:
                message = f"`{escape_and_shorten(name)}` is defined as a variable and as an option"
                yield Problem(("options", name), message, "rename one of them", at_key=True)


def _check_templates(templates: Iterable[SpecText], names: set[str] | None) -> Iterator[Problem]:
    for path, template, _ in templates:
        try:
            references = list_references(template)
        except BundleFixError as error:
            yield Problem(path, error.message, error.hint)
            continue
        for name in references:
            if names is None or name in names or is_build_variable(name):
                continue
            hint = suggest_word(name, names)
            hint = hint or f"define it in [variables], or write {{{{{name}}}}} for literal braces"
            yield Problem(path, f"undefined variable `{name}`", hint)


def _check_conditions(
    data: Mapping[str, Any], names: set[str], options: Mapping[str | int, Option]
) -> Iterator[Problem]:
    for path, name, expected in _iterate_conditions(data):
        option = options.get(name)
        if name not in names and not is_build_variable(name):
            message = f"unknown variable `{escape_and_shorten(name)}` in `when`"
            hint = suggest_word(name, names) or "define it in [variables] or [options]"
            yield Problem(path, message, hint, at_key=True)
        elif option:
            choices = option.choices
            for value_path, value, _ in iterate_texts(_CONDITION, expected, path):
                if value not in choices:
                    shown = escape_and_shorten(value)
                    message = f'"{shown}" is not one of the choices of the option `{name}`'
                    hint = suggest_word(value, choices) or f"use one of {format_words(choices)}"
                    yield Problem(value_path, message, hint)


def _iterate_conditions(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, object]]:
    """Yield path, name and expected value of every condition of every entry."""
    for section in ENTRIES:
        for _, entry, index in iterate_children(_TABLE_TYPES[section], data.get(section)):
            when = entry.get("when") if isinstance(entry, dict) else None
            for name, expected in when.items() if isinstance(when, dict) else ():
                yield (section, index, "when", name), name, expected


def _check_cycles(templates: Iterable[SpecText]) -> Iterator[Problem]:
    """Yield a problem for each circle of variables that refer to each other."""
    from graphlib import CycleError, TopologicalSorter

    references: dict[str, set[str]] = {}
    for path, template, _ in templates:
        if path[0] == "variables":
            with suppress(BundleFixError):
                references.setdefault(str(path[1]), set()).update(list_references(template))
    while True:
        try:
            TopologicalSorter(references).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]
            first = min(circle, key=list(references).index)
            start = circle.index(first)
            rotated = circle[start:] + circle[1 : start + 1]
            shown = " → ".join(escape_and_shorten(name) for name in rotated)
            message = f"circular reference between variables: {shown}"
            hint = "remove one of the references"
            yield Problem(("variables", first), message, hint, at_key=True)
            for name in circle:
                references.pop(name, None)
        else:
            return
