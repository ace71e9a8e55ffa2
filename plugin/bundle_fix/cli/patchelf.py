"""``bundle-fix patchelf``: the command line of patchelf, for scripts that were written for it.

Source: patchelf(1) of patchelf 0.19; each file is edited in place, and its values are printed as
they were before. What an option does not mean here is listed in docs/elf.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct, field

from bundle_fix import __version__
from bundle_fix.cli.examples import EXAMPLES, CommandWithExamples
from bundle_fix.model.errors import BundleFixError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bundle_fix.elf.changes import Changes
    from bundle_fix.elf.read.image import Image
    from bundle_fix.elf.search_path import SearchPathChange

VERSION = "0.19.0"
"""The version of patchelf whose options this command has; scripts ask for it."""
FAILURE = 1
FLAGS = (
    "--print-interpreter", "--print-os-abi", "--print-soname", "--print-rpath", "--print-needed",
    "--print-execstack", "--remove-rpath", "--shrink-rpath", "--force-rpath", "--no-sort",
    "--clear-execstack", "--set-execstack", "--debug", "--no-default-lib", "--add-debug-tag",
    "--no-clobber-old-sections",
)  # fmt: skip
FROM_FILE = (
    "--set-interpreter", "--set-os-abi", "--set-soname", "--set-rpath", "--add-rpath",
    "--add-needed", "--remove-needed", "--clear-symbol-version", "--output",
)  # fmt: skip
"""Options whose value may be ``@FILE``, which stands for the content of FILE."""
PLAIN = ("--page-size", "--allowed-rpath-prefixes", "--rename-dynamic-symbols")
REPLACE = "--replace-needed"
UNSUPPORTED = "--build-resolution-cache"


class PatchelfCommand(CommandWithExamples):
    """A command that gets its arguments as they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Pass all arguments on; click would interpret ``--help`` and ``--``."""
        ctx.params["arguments"] = tuple(args)
        return []

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete an option, or the path of a file."""
        from click.shell_completion import CompletionItem

        if not incomplete.startswith("-"):
            return [CompletionItem(incomplete, type="file")]
        options = (*FLAGS, *FROM_FILE, *PLAIN, REPLACE)
        return [CompletionItem(name) for name in options if name.startswith(incomplete)]


class Request(Struct, frozen=True):
    """A command line: flags, the values of each option in their order, and files."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, list[str]] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def find_last(self, option: str) -> str | None:
        """Return the value of an option of which the last one counts."""
        return self.values[option][-1] if option in self.values else None


@click.command(cls=PatchelfCommand, options_metavar="OPTION... FILE...")
def patchelf(arguments: tuple[str, ...]) -> int:
    """Change ELF files with the command line of patchelf.

    The options are those of patchelf 0.19; 'bundle-fix patchelf --help' lists them. Each FILE is
    changed in place.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stderr.write(_format_help())
        return 0 if arguments else FAILURE
    if "--version" in arguments:
        sys.stdout.write(f"patchelf {VERSION} (bundle-fix {__version__})\n")
        return 0
    try:
        request = _parse(arguments)
        for file in request.files:
            _process_file(file, request)
    except BundleFixError as error:
        from bundle_fix.model.printable import escape_unprintable

        sys.stderr.write(f"patchelf: {escape_unprintable(str(error))}\n")
        return FAILURE
    return 0


def _format_help() -> str:
    lines = ["syntax: patchelf"]
    lines += [f"  [{option}]" for option in FLAGS]
    lines += [f"  [{option} VALUE]" for option in (*FROM_FILE, *PLAIN)]
    lines += [f"  [{REPLACE} LIBRARY NEW_LIBRARY]", "  FILENAME...", "", "Examples:"]
    lines += [f"  {example.line}" for example in EXAMPLES["patchelf"]]
    return "\n".join(lines) + "\n"


def _parse(arguments: tuple[str, ...]) -> Request:
    """Parse a command line.

    Raises:
        BundleFixError: A value is missing, or options contradict each other.
    """
    request, rest = Request(), list(arguments)
    while rest:
        option = rest.pop(0)
        option = "--set-interpreter" if option == "--interpreter" else option
        count = 2 if option == REPLACE else int(option in (*FROM_FILE, *PLAIN))
        if len(rest) < count:
            raise BundleFixError("missing argument", where=option)
        values, rest = rest[:count], rest[count:]
        if option == UNSUPPORTED:
            raise BundleFixError(
                f"{option} is not supported: only the loader of NixOS reads its note"
            )
        if option == REPLACE:
            request.replaced[values[0]] = values[1]
        elif values:
            text = _read_value(values[0]) if option in FROM_FILE else values[0]
            request.values.setdefault(option, []).append(text)
        elif option in FLAGS:
            request.flags.add(option)
        else:
            request.files.append(option)
    _validate(request)
    return request


def _read_value(text: str) -> str:
    """Return the value of an option; ``@FILE`` stands for the content of FILE."""
    if not text.startswith("@"):
        return text
    try:
        return os.fsdecode(Path(text[1:]).read_bytes()).removesuffix("\n")
    except OSError as error:
        raise BundleFixError(f"getting info about '{text[1:]}': {error.strerror}") from error


def _validate(request: Request) -> None:
    size = request.find_last("--page-size")
    if size is not None and not (size.isascii() and size.isdigit() and int(size)):
        raise BundleFixError("invalid argument to --page-size")
    if not request.files:
        raise BundleFixError("missing filename")
    if request.find_last("--output") and len(request.files) != 1:
        raise BundleFixError("--output option only allowed with single input file")
    if {"--set-rpath", "--add-rpath"} <= request.values.keys():
        raise BundleFixError("--set-rpath option not allowed with --add-rpath")


def _process_file(name: str, request: Request) -> None:
    """Print the requested values of a file, then change it."""
    from bundle_fix.elf.changes import Changes
    from bundle_fix.elf.read.parser import read_image_at

    if not os.path.lexists(name):
        raise BundleFixError(f"getting info about '{name}': No such file or directory")
    path = Path(name)
    image = read_image_at(path)
    if image is None:
        raise BundleFixError("not an ELF executable", where=name)
    _print_values(image, request)
    changes, search_path = _make_changes(image, request)
    output = request.find_last("--output")
    if changes == Changes() and search_path is None and output is None:
        return
    from bundle_fix.pipelines.elf_files import edit_elf_file

    edited = edit_elf_file(path, changes, Path(output) if output else None, search_path=search_path)
    if "--debug" in request.flags or "PATCHELF_DEBUG" in os.environ:
        from bundle_fix.elf.differences import describe_differences

        for change in describe_differences(edited.before, edited.edited.image):
            sys.stderr.write(f"{name}: {change}\n")


def _print_values(image: Image, request: Request) -> None:
    """Print the values in the order in which patchelf prints them.

    Raises:
        BundleFixError: The file has no interpreter or no dynamic section.
    """
    from bundle_fix.elf.read.os_abi import format_os_abi

    lines: list[str] = []
    flags = request.flags
    if "--print-interpreter" in flags:
        if image.interpreter is None:
            raise BundleFixError("it has no interpreter; it may be a library or a static program")
        lines.append(image.interpreter)
    if "--print-os-abi" in flags:
        lines.append(format_os_abi(image.os_abi))
    if flags & {"--print-soname", "--print-rpath", "--print-needed"} and not image.is_dynamic:
        # A file with split debug information has the program headers of its program.
        if not image.segments:
            raise BundleFixError("it has no dynamic section; it may be linked statically")
    elif image.is_dynamic:
        lines += [image.soname] if "--print-soname" in flags and image.soname else []
        path = image.rpath if image.runpath is None else image.runpath
        lines += [path or ""] if "--print-rpath" in flags else []
    if "--print-execstack" in flags:
        words = {True: "X", False: "-", None: "?"}
        lines.append(f"execstack: {words[image.requests_executable_stack]}")
    lines += image.needed if "--print-needed" in flags else ()
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _make_changes(image: Image, request: Request) -> tuple[Changes, SearchPathChange | None]:
    """Return the changes to a file, in the order of precedence of patchelf."""
    from bundle_fix.cli.symbol_map import read_symbol_map
    from bundle_fix.elf.changes import Changes
    from bundle_fix.elf.read import constants as c
    from bundle_fix.elf.read.os_abi import parse_os_abi

    flags, values = request.flags, request.values
    rpath, runpath, search_path = _make_path_change(image, request)
    removed = tuple(dict.fromkeys(values.get("--remove-needed", ())))
    stack = {"--clear-execstack", "--set-execstack"} & flags
    is_printed = "--print-execstack" in flags
    abi, renames = request.find_last("--set-os-abi"), request.find_last("--rename-dynamic-symbols")
    # Names are removed, then replaced, then added.
    added = sorted(set(values.get("--add-needed", ())))
    soname = request.find_last("--set-soname") if image.header.type == c.ET_DYN else None
    changes = Changes(
        runpath=runpath,
        rpath=rpath,
        soname=soname,
        replace_needed=tuple(pair for pair in request.replaced.items() if pair[0] not in removed),
        add_needed=tuple(added),
        remove_needed=tuple(name for name in removed if name not in added),
        interpreter=request.find_last("--set-interpreter") or None,
        executable_stack="--clear-execstack" not in flags if stack and not is_printed else None,
        os_abi=None if abi is None else parse_os_abi(abi),
        no_default_lib="--no-default-lib" in flags,
        debug_tag="--add-debug-tag" in flags,
        clear_versions=tuple(dict.fromkeys(values.get("--clear-symbol-version", ()))),
        rename_symbols=() if renames is None else read_symbol_map(Path(renames)),
    )
    return changes, search_path


def _make_path_change(
    image: Image, request: Request
) -> tuple[str | None, str | None, SearchPathChange | None]:
    """Return the new RPATH, the new RUNPATH, and the change that depends on the old one."""
    from bundle_fix.elf.search_path import SearchPathChange

    is_rpath = "--force-rpath" in request.flags
    if "--shrink-rpath" in request.flags:
        text = request.find_last("--allowed-rpath-prefixes") or ""
        prefixes = tuple(filter(None, text.split(":")))
        return None, None, SearchPathChange((), True, prefixes, is_rpath)
    if "--remove-rpath" in request.flags:
        return None, "", None
    path = request.find_last("--set-rpath")
    if path is not None:
        return (path, None, None) if is_rpath else (None, path, None)
    added = request.find_last("--add-rpath")
    return None, None, None if added is None else SearchPathChange((added,), False, (), is_rpath)
