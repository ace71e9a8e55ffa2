"""The options of ``bundle-fix elf`` that ask for a change or for a single value."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from pathlib import Path

import click
from msgspec import Struct

from bundle_fix.cli.options import PATH
from bundle_fix.cli.symbol_map import read_symbol_map
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.os_abi import OS_ABI_NAMES, parse_os_abi
from bundle_fix.elf.search_path import SearchPathChange
from bundle_fix.model.errors import BundleFixError

PRINTED = (
    "interpreter", "soname", "needed", "rpath", "runpath", "path", "build-id", "os-abi",
    "execstack",
)  # fmt: skip
PRINT_FLAGS = {
    "interpreter": "interpreter", "os-abi": "os-abi", "soname": "soname", "rpath": "path",
    "execstack": "execstack", "needed": "needed",
}  # fmt: skip
"""The options ``--print-NAME`` of patchelf, each with the field that it prints."""
EDIT_OPTIONS = (
    click.option(
        "--set-runpath", metavar="P", help="Set DT_RUNPATH and remove DT_RPATH; '' removes both."
    ),
    click.option(
        "--set-rpath", metavar="P", help="Set DT_RPATH and remove DT_RUNPATH; '' removes both."
    ),
    click.option(
        "--add-runpath", "--add-rpath", "add_path", multiple=True, metavar="P",
        help="Append P to the search path; repeatable.",
    ),
    click.option(
        "--remove-runpath", "--remove-rpath", "remove_path", is_flag=True,
        help="Remove DT_RUNPATH and DT_RPATH.",
    ),
    click.option(
        "--shrink-runpath", "--shrink-rpath", "shrink_path", is_flag=True,
        help="Remove absolute directories without a needed library from the search path.",
    ),
    click.option(
        "--allowed-rpath-prefixes", metavar="P:...",
        help="With --shrink-rpath, remove absolute directories without one of these prefixes.",
    ),
    click.option(
        "--force-rpath", is_flag=True, help="Write the search path as DT_RPATH."
    ),
    click.option("--set-interpreter", metavar="S", help="Set the interpreter (PT_INTERP)."),
    click.option("--set-soname", metavar="S", help="Set DT_SONAME."),
    click.option(
        "--replace-needed", nargs=2, multiple=True, metavar="A B",
        help="Replace DT_NEEDED A by B, also in the version requirements; repeatable.",
    ),
    click.option(
        "--add-needed", multiple=True, metavar="S",
        help="Add DT_NEEDED S before all others, unless it is present; repeatable.",
    ),
    click.option(
        "--remove-needed", multiple=True, metavar="S", help="Remove DT_NEEDED S; repeatable."
    ),
    click.option(
        "--no-default-lib", is_flag=True,
        help="Set DF_1_NODEFLIB: the loader ignores its default directories for this file.",
    ),
    click.option("--add-debug-tag", is_flag=True, help="Add DT_DEBUG, unless it is present."),
    click.option(
        "--clear-execstack/--set-execstack", "clear_execstack", default=None,
        help="Ask for a stack that is not executable, or for one that is.",
    ),
    click.option(
        "--clear-symbol-version", multiple=True, metavar="SYMBOL",
        help="Remove the version of the dynamic symbol SYMBOL; repeatable.",
    ),
    click.option(
        "--rename-dynamic-symbols", type=PATH, metavar="MAP",
        help="Rename dynamic symbols; each line of the file MAP has the old and the new name.",
    ),
    click.option(
        "--set-os-abi", metavar="ABI",
        help=f"Set the OS ABI of the ELF header: {', '.join(OS_ABI_NAMES.values())}.",
    ),
)  # fmt: skip


class EditOptions(Struct, frozen=True):
    """The values of `EDIT_OPTIONS`."""

    set_runpath: str | None
    set_rpath: str | None
    add_path: tuple[str, ...]
    remove_path: bool
    shrink_path: bool
    allowed_rpath_prefixes: str | None
    force_rpath: bool
    set_interpreter: str | None
    set_soname: str | None
    replace_needed: tuple[tuple[str, str], ...]
    add_needed: tuple[str, ...]
    remove_needed: tuple[str, ...]
    no_default_lib: bool
    add_debug_tag: bool
    clear_execstack: bool | None
    clear_symbol_version: tuple[str, ...]
    rename_dynamic_symbols: Path | None
    set_os_abi: str | None


def add_edit_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add `EDIT_OPTIONS`; the command gets them as one ``edit``."""

    @wraps(function)
    def call_with_edit(*args: object, **kwargs: object) -> int:
        values = {name: kwargs.pop(name) for name in EditOptions.__struct_fields__}
        return function(*args, edit=EditOptions(**values), **kwargs)  # type: ignore[arg-type]

    return reduce(lambda command, option: option(command), reversed(EDIT_OPTIONS), call_with_edit)


def add_print_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``--print`` and the options of patchelf; the command gets them as ``fields``."""

    @wraps(function)
    def call_with_fields(*args: object, printed: tuple[str, ...], **kwargs: object) -> int:
        flags = [field for name, field in PRINT_FLAGS.items() if kwargs.pop(_get_variable(name))]
        return function(*args, fields=tuple(dict.fromkeys((*printed, *flags))), **kwargs)

    command: Callable[..., int] = call_with_fields
    for name, field in reversed(PRINT_FLAGS.items()):
        command = click.option(
            f"--print-{name}", _get_variable(name), is_flag=True, help=f"As --print {field}."
        )(command)
    return click.option(
        "--print", "printed", multiple=True, type=click.Choice(PRINTED), metavar="FIELD",
        help=f"Print only the values of FIELD, one per line: {', '.join(PRINTED)}.",
    )(command)  # fmt: skip


def _get_variable(name: str) -> str:
    return f"print_{name.replace('-', '_')}"


def combine_changes(options: EditOptions) -> Changes:
    """Return the changes of all options that are the same for every file, as one edit.

    Raises:
        BundleFixError: Two options contradict each other, or a name is empty.
    """
    runpath, rpath = options.set_runpath, options.set_rpath
    if runpath is not None and rpath is not None:
        raise BundleFixError("--set-runpath and --set-rpath exclude each other")
    if options.remove_path and (runpath or rpath):
        raise BundleFixError("a search path cannot be both set and removed")
    if (options.add_path or options.shrink_path) and (
        options.remove_path or runpath is not None or rpath is not None
    ):
        raise BundleFixError(
            "a search path that is set or removed cannot be extended or shrunk as well"
        )
    if options.set_soname == "":
        raise BundleFixError("a soname cannot be empty")
    replaced = [old for old, _ in options.replace_needed]
    if "" in (*options.remove_needed, *replaced):
        raise BundleFixError("a needed name cannot be empty")
    if options.remove_path and rpath is None:
        runpath = ""
    if options.force_rpath and runpath:
        runpath, rpath = None, runpath
    stack, symbol_map = options.clear_execstack, options.rename_dynamic_symbols
    return Changes(
        runpath=runpath,
        rpath=rpath,
        soname=options.set_soname,
        replace_needed=options.replace_needed,
        add_needed=options.add_needed,
        remove_needed=options.remove_needed,
        interpreter=options.set_interpreter,
        executable_stack=None if stack is None else not stack,
        os_abi=None if options.set_os_abi is None else parse_os_abi(options.set_os_abi),
        no_default_lib=options.no_default_lib,
        debug_tag=options.add_debug_tag,
        clear_versions=options.clear_symbol_version,
        rename_symbols=() if symbol_map is None else read_symbol_map(symbol_map),
    )


def make_search_path_change(options: EditOptions) -> SearchPathChange | None:
    """Return the change of the search path that differs from file to file, or None."""
    if "" in options.add_path:
        raise BundleFixError("an added search path cannot be empty")
    prefixes = tuple(filter(None, (options.allowed_rpath_prefixes or "").split(":")))
    if options.allowed_rpath_prefixes is not None and not options.shrink_path:
        raise BundleFixError("--allowed-rpath-prefixes requires --shrink-rpath")
    if not options.add_path and not options.shrink_path:
        return None
    return SearchPathChange(options.add_path, options.shrink_path, prefixes, options.force_rpath)
