"""Values of a spec's variables and options, and their substitution into texts.

No command is ever run: a value comes from the environment, a file, CMake's cache, this machine or
the spec itself. Bytes that are not UTF-8 become surrogate escapes, as with `os.fsdecode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.model.suggestions import format_words, suggest_word
from bundle_fix.spec.model import Spec, Tables
from bundle_fix.spec.parsing.convert import iterate_texts
from bundle_fix.spec.parsing.problems import raise_all
from bundle_fix.spec.sources import (
    CMAKE_CACHE,
    SourceValue,
    apply_pattern,
    find_cache_entry,
    list_cache_entries,
    read_builtin,
    read_cmake_cache,
    read_environment,
    search_file,
)
from bundle_fix.spec.table_types import SpecTable, Variable
from bundle_fix.spec.template import is_build_variable, list_references, parse_template

TARGET = "target."
"""The beginning of the name of a build variable that is the file of a target."""


@dataclass(frozen=True, slots=True, eq=False)
class Values(Mapping[str, str]):
    """The value of each variable and option by name, resolved on first access.

    Resolution is lazy so that a check needs no source tree and an unused entry needs no values.
    Access raises `BundleFixError` if a variable has no value. ``builtins`` replaces values of
    `builtin`; None stands for one that is not known yet. ``consulted`` lists the files that have
    been searched so far.
    """

    spec: Spec
    root: Path
    defines: Mapping[str, str]
    environ: Mapping[str, str]
    builtins: Mapping[str, SourceValue | None] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict, repr=False)
    consulted: dict[Path, None] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> str:
        if name in self.defines:
            return self.defines[name]
        if name in self.spec.options:
            return self.spec.options[name].default
        if name not in self._known:
            variable = self.spec.variables.get(name)
            self._known[name] = (
                _evaluate_variable(name, variable, self)
                if variable
                else _resolve_build_variable(name, self)
            )
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.spec.variables
        yield from self.spec.options

    def __len__(self) -> int:
        return len(self.spec.variables) + len(self.spec.options)

    def __contains__(self, name: object) -> bool:
        known = name in self.spec.variables or name in self.spec.options
        return known or (isinstance(name, str) and is_build_variable(name))


def resolve_variables(
    spec: Spec, root: Path, defines: Mapping[str, str], environ: Mapping[str, str]
) -> Values:
    """Return the values of a spec's variables on this machine.

    Args:
        spec: the spec.
        root: the directory that relative paths start from.
        defines: the names and values of ``-D name=value``; values are used literally.
        environ: the environment variables.

    Raises:
        BundleFixError: ``defines`` contains an unknown name, or a value that is not a choice.
    """
    values = Values(spec, root, defines, environ)
    errors = []
    for name, value in defines.items():
        given = f"-D {escape_and_shorten(name)}={escape_and_shorten(value)}"
        if name not in values:
            hint = suggest_word(name, values) or (
                f"use one of {format_words(values)}" if values else ""
            )
            message = f"{spec.path} defines no variable or option of this name"
            errors.append(BundleFixError(message, where=given, hint=hint))
        elif name in spec.options and value not in spec.options[name].choices:
            choices = spec.options[name].choices
            message = f"the option `{name}` must be one of {format_words(choices)}"
            errors.append(BundleFixError(message, where=given, hint=suggest_word(value, choices)))
    raise_all(errors)
    return values


def require_values(spec: Spec, values: Values) -> None:
    """Resolve all values that a pack needs, so that all missing ones are reported together.

    Entries whose ``when`` does not hold are skipped.

    Raises:
        BundleFixError: a variable has no value.
    """
    errors: dict[str, BundleFixError] = {}
    tables: tuple[SpecTable, ...] = (
        spec.bundle, *spec.files, *spec.libraries, spec.closure, spec.layout, spec.check
    )  # fmt: skip
    for table in tables:
        try:
            if not evaluate_when(getattr(table, "when", {}), values):
                continue
        except BundleFixError as error:
            errors[str(error)] = error
            continue
        for _, text, marks in iterate_texts(type(table), msgspec.to_builtins(table)):
            for name in list_references(text) if marks.get("template") else ():
                try:
                    values[name]
                except BundleFixError as error:
                    errors[str(error)] = error
    raise_all(list(errors.values()))


def substitute_variables(template: str, values: Mapping[str, str]) -> str:
    """Return a text with each ``{name}`` replaced by its value.

    Args:
        template: a text that `parse_template` accepts.
        values: the value of each name; braces in a value are literal.

    Raises:
        BundleFixError: a name has no value, or the text cannot be parsed.
    """
    text = []
    for part in parse_template(template):
        text.append(part.literal)
        if part.name and part.name not in values:
            hint = suggest_word(part.name, values)
            raise BundleFixError(f"undefined variable `{part.name}`", hint=hint)
        if part.name:
            text.append(format(values[part.name], part.format))
    return "".join(text)


def evaluate_when(
    when: Mapping[str, bool | str | tuple[str, ...]], values: Mapping[str, str]
) -> bool:
    """Return whether all conditions hold; evaluation stops at the first that does not.

    Args:
        when: for each name true (its value is not empty), false (it is empty), the expected
            value, or several of which one is expected.
        values: the value of each name.
    """
    return all(_is_met(values[name], expected) for name, expected in when.items())


def _is_met(value: str, expected: bool | str | tuple[str, ...]) -> bool:
    if isinstance(expected, bool):
        return bool(value) == expected
    return value == expected if isinstance(expected, str) else value in expected


def _evaluate_variable(name: str, variable: Variable, values: Values) -> str:
    try:
        value, lack = _read_source(variable, values)
    except BundleFixError as error:
        if error.where:
            raise
        key = () if variable.pattern is None else ("pattern",)
        where = values.spec.locate_key("variables", name, *key)
        raise BundleFixError(error.message, where=where, hint=error.hint) from error
    if lack and variable.default is None:
        raise BundleFixError(
            f"the variable `{name}` has no value: {lack}",
            where=values.spec.locate_key("variables", name),
            hint=f"add a `default`, or pass -D {name}=…",
        )
    if value in variable.map and not lack:
        return substitute_variables(variable.map[value], values)
    if variable.default is not None and (lack or variable.map):
        return substitute_variables(variable.default, values)
    return value


def _resolve_build_variable(name: str, values: Values) -> str:
    """Return the value of a build variable: without ``-D``, only ``cmake.ENTRY`` has one.

    The cache is that of the directory ``{build}``.
    """
    kind, _, entry = name.partition(".")
    shown = escape_and_shorten(name)
    lack = "only the CMake build defines it"
    hint = f"make the pack with bundle_fix_pack() in CMake, or pass -D {shown}=…"
    if kind == "cmake":
        directory = values.root / values["build"]
        values.consulted[directory / CMAKE_CACHE] = None
        value, lack = find_cache_entry(directory, entry)
        if not lack:
            return value
        if "build" in values.defines:
            hint = suggest_word(entry, list_cache_entries(directory)) or f"pass -D {shown}=…"
    elif targets := sorted(n.removeprefix(TARGET) for n in values.defines if n.startswith(TARGET)):
        lack = f"the build has no program or library `{escape_and_shorten(entry)}`"
        hint = f"{suggest_word(entry, targets)} The targets are {format_words(targets)}".lstrip()
    where = _find_first_use(name, values.spec)
    raise BundleFixError(f"the variable `{shown}` has no value: {lack}", where=where, hint=hint)


def _find_first_use(name: str, spec: Spec) -> str:
    """Return the position of the first use of a variable, as ``path:line:column``."""
    import tomli

    for path, text, marks in iterate_texts(Tables, tomli.loads(spec.toml)):
        if marks.get("template") and name in list_references(text):
            return spec.locate_key(*path)
    return spec.locate_key("bundle")


def _read_source(variable: Variable, values: Values) -> SourceValue:
    if variable.value is not None:
        return SourceValue(substitute_variables(variable.value, values))
    if variable.env is not None:
        return apply_pattern(read_environment(variable.env, values.environ), variable.pattern)
    if variable.file is not None and variable.pattern is not None:
        path = values.root / substitute_variables(variable.file, values)
        values.consulted[path] = None
        return search_file(path, variable.pattern)
    if variable.cmake_cache is not None:
        directory = values.root / substitute_variables(variable.cache_directory or "", values)
        values.consulted[directory / CMAKE_CACHE] = None
        return apply_pattern(read_cmake_cache(directory, variable.cmake_cache), variable.pattern)
    if variable.builtin == "here":
        return SourceValue(str(values.spec.path.parent.resolve()))
    builtin = variable.builtin or ""
    if builtin in values.builtins:
        known = values.builtins[builtin]
        if known is None:
            raise BundleFixError("the machine of the files is not known yet")
        return known
    found = read_builtin(builtin, values.environ)
    if found.lack and variable.builtin == "epoch" and variable.default is None:
        return SourceValue("0")
    return found
