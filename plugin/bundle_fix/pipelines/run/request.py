"""The request of a run: the program with its arguments and variables, and the host."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.loader.hosts.host import Environment
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, resolve_path
from bundle_fix.run.host.decoy_host import HOSTILE_DIRECTORY
from bundle_fix.run.record.loader_record import VARIABLES

BASE_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp"}  # noqa: S108


class RunOptions(Struct, frozen=True):
    """The request of a run.

    Attributes:
        program: a path in the pack, the file name of one of its programs, or a program of the
            host; empty if only the libraries are opened.
        arguments: the arguments of the program.
        at: the directory of the pack on the host.
        directory: the working directory, relative to the pack.
        environment: variables of the program.
        hostile: whether LD_LIBRARY_PATH contains a directory of decoys.
        host: a real root file system, a directory or a tarball; None for a decoy host.
        decoys: libraries that are used as the decoys of their sonames.
        network: whether the program uses this machine's network.
        seconds: the time after which the program is stopped.
        is_stop: whether the program is meant to run until that time, as a server does.
        open_all: whether each library of the pack is opened by itself first.
        strace: whether strace records the files outside the pack that the program opens.
        limits: the limits of the pack.
    """

    program: str
    arguments: tuple[str, ...] = ()
    at: str = "/opt/pack"
    directory: str = ""
    environment: Mapping[str, str] = {}
    hostile: bool = False
    host: Path | None = None
    decoys: tuple[Path, ...] = ()
    network: bool = False
    seconds: float = 60.0
    is_stop: bool = False
    open_all: bool = False
    strace: bool = False
    limits: Limits = DEFAULT_LIMITS


def find_program(view: View, options: RunOptions, where: str) -> str:
    """Return the absolute path of the program on the host; empty if none is requested.

    Raises:
        BundleFixError: Neither the pack nor the host's PATH has such a program.
    """
    text, tree = options.program, view.bundle.tree
    if not text or (text.startswith("/") and isinstance(view.resolve_path(text), str)):
        return text
    if text.startswith("/"):
        raise BundleFixError(
            f"the host has no program {text}", hint="--host / has all of this machine"
        )
    for path in (text, text.removeprefix(f"{tree.top}/")):
        real = resolve_path(tree, posixpath.normpath(path))
        if isinstance(real, str) and isinstance(tree.nodes.get(real), File):
            image = view.bundle.images.get(real)
            if image is not None and not image.is_program:
                raise BundleFixError(f"{text} is a library, not a program", where=where)
            return posixpath.join(options.at, posixpath.normpath(path))
    named = [path for path, _ in tree.iter_files() if posixpath.basename(path) == text]
    if len(named) == 1:
        return posixpath.join(options.at, named[0])
    for directory in BASE_ENVIRONMENT["PATH"].split(":") if "/" not in text and not named else ():
        if isinstance(view.resolve_path(f"{directory}/{text}"), str):
            return f"{directory}/{text}"
    programs = view.bundle.list_programs()
    hint = f"its programs are {', '.join(programs[:5])}" if programs else "it has no programs"
    if len(named) > 1:
        hint = f"give the path of one of {', '.join(named[:5])}"
    raise BundleFixError(f"the pack has no program {text}", where=where, hint=hint)


def build_environment(options: RunOptions) -> dict[str, str]:
    """Return all variables of the program, with those that make its loader write a record."""
    library_path = options.environment.get("LD_LIBRARY_PATH", "")
    if options.hostile:
        library_path = ":".join(filter(None, (library_path, HOSTILE_DIRECTORY)))
    own = {"LD_LIBRARY_PATH": library_path} if library_path else {}
    return {**BASE_ENVIRONMENT, **options.environment, **own, **VARIABLES}


def describe_environment(options: RunOptions) -> Environment:
    """Return the program's environment as the loader model reads it."""
    variables = build_environment(options)
    return Environment(
        variables.get("LD_LIBRARY_PATH", ""), variables.get("LD_PRELOAD", ""),
        posixpath.join(options.at, options.directory),
    )  # fmt: skip
