"""``bundle-fix fix-tree``."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
from msgspec.structs import replace

from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.fix_result import print_result
from bundle_fix.cli.options import (
    DIRECTORY,
    PATH,
    add_message_options,
    define_option,
    editor_option,
    force_option,
    host_like_this_option,
    host_option,
    parse_text,
    read_defines,
    read_sources,
    search_option,
    spec_option,
    sysroot_option,
)
from bundle_fix.cli.policy_options import read_policy
from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.collect.target_machine import describe_target
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.fix import Options
from bundle_fix.pipelines.install_tree import Installation, fix_installation
from bundle_fix.pipelines.installation.closure import Closure
from bundle_fix.pipelines.installation.components import ComponentPlan, read_component_plan
from bundle_fix.pipelines.installation.private_directory import ensure_private
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import resolve_variables
from bundle_fix.storage.atomic import create_pending_file


@click.command(cls=CommandWithExamples)
@click.argument("root", type=DIRECTORY)
@click.option(
    "--members", type=PATH, metavar="LIST",
    help="Change only the files that LIST names, one path per line, and update LIST.",
)  # fmt: skip
@click.option(
    "--all", "everything", is_flag=True,
    help="Change all files of ROOT, which must not contain files of other packages.",
)  # fmt: skip
@click.option(
    "--added", type=PATH, metavar="LIST",
    help="State file listing the paths added to ROOT. Paths from the previous run are re-created or"
    " removed.",
)  # fmt: skip
@click.option(
    "--built", type=PATH, metavar="LIST",
    help="Read libraries of the build from LIST, one PATH=FILE per line: the path in ROOT and the"
    " built file. They are never resolved on the host.",
)  # fmt: skip
@click.option(
    "--component", type=PATH, metavar="FILE",
    help="Treat ROOT as one component of a CMake project, which FILE describes; write the names of"
    " the components that it needs to FILE.requires.",
)  # fmt: skip
@click.option(
    "--for-wheel", is_flag=True,
    help="Keep one copy of each library, named by its soname, because wheels cannot hold symlinks.",
)  # fmt: skip
@click.option(
    "--sources", type=DIRECTORY, multiple=True, metavar="DIR",
    help="Keep copies of libraries that Python code below DIR names; repeatable.",
)  # fmt: skip
@click.option(
    "--elsewhere", type=DIRECTORY, multiple=True, metavar="DIR",
    help="Treat DIR as a part of the wheel that pip installs outside ROOT, such as its scripts;"
    " repeatable.",
)  # fmt: skip
@click.option(
    "--libdir", type=parse_text, metavar="DIR",
    help="Add the libraries that the spec's [closure] bundles to DIR of ROOT (default:"
    " add nothing).",
)  # fmt: skip
@click.option(
    "--destdir", type=DIRECTORY, metavar="DIR",
    help="Treat ROOT as staged below DIR: its path on the target is the rest.",
)  # fmt: skip
@search_option
@sysroot_option
@click.option(
    "--linked", type=PATH, metavar="LIST",
    help="Read the files that the build linked from LIST, one per line. Their RUNPATHs lead to"
    " libraries of [closure]; those of installed files may not.",
)  # fmt: skip
@host_like_this_option
@define_option
@force_option
@spec_option
@host_option
@editor_option
@add_message_options
def fix_tree(
    root: Path,
    members: Path | None,
    everything: bool,
    added: Path | None,
    built: Path | None,
    component: Path | None,
    for_wheel: bool,
    sources: tuple[Path, ...],
    elsewhere: tuple[Path, ...],
    libdir: str | None,
    destdir: Path | None,
    search: tuple[str, ...],
    sysroot: Path | None,
    linked: Path | None,
    host_like_this: bool,
    defines: tuple[str, ...],
    force: bool,
    spec: Path | None,
    host_provides: tuple[str, ...],
    editor: str | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Repair the files that were installed into ROOT, in place, and check them.

    Either --members lists these files, or --all selects all files of ROOT. The CMake function
    bundle_fix_install() runs this command at the end of an installation.

    Exit code: 0 success, 1 the check failed and nothing was changed, 2 invalid request.
    """
    if not for_wheel:
        _ensure_files_are_selected(root, members, everything=everything)
    values = read_defines(defines)
    location = _find_location(root, destdir)
    if libdir is not None and not for_wheel:
        ensure_private(posixpath.join(location, libdir))
    places = read_sources(search, sysroot)
    if linked is not None:
        places = replace(places, built=tuple(Path(line) for line in _read_lines(linked)))
    policy, pinned = read_policy(spec, host_provides, values)
    installation = Installation(
        root,
        None if members is None else tuple(Path(line) for line in _read_lines(members)),
        _read_additions(added) if added is not None and added.exists() else {},
        {} if built is None else _read_built_libraries(built),
        ComponentPlan() if component is None else read_component_plan(component, location),
        for_wheel, host_like_this,
        sources=sources,
        elsewhere=elsewhere,
    )  # fmt: skip
    if spec is not None and libdir is not None:
        closure = _read_closure(spec, values, libdir, places, installation)
        installation = replace(installation, closure=closure)
    options = Options(policy, pinned, editor or "auto", force)
    installed = fix_installation(installation, options)
    result = installed.fixed
    print_result(root, result, dry_run=False, quiet=quiet, verbose=verbose, color=color)
    if members is not None and result.written is not None:
        _write_lines(members, (str(root / path) for path in installed.own))
    if added is not None and result.written is not None:
        _write_lines(added, (f"{c}={path}" for path, c in sorted(installed.added.items())))
    if component is not None and result.written is not None:
        _write_lines(component.with_name(f"{component.name}.requires"), installed.required)
    return 1 if result.failed else 0


def _ensure_files_are_selected(root: Path, members: Path | None, *, everything: bool) -> None:
    """Raise an error unless either a list or ``--all`` selects the files to change."""
    if members is not None and everything:
        raise click.UsageError("--members and --all cannot be combined")
    if members is None and not everything and root.is_dir():
        raise BundleFixError(
            "it may contain files of other packages, and no list says which files to change",
            where=str(root),
            hint="list the installed files with --members LIST, or pass --all if it contains"
            " nothing else",
        )


def _find_location(root: Path, destdir: Path | None) -> str:
    """Return the path of ``root`` on the target.

    Raises:
        BundleFixError: it is not below ``destdir``.
    """
    path = root.resolve()
    if destdir is None:
        return str(path)
    if not path.is_relative_to(destdir.resolve()):
        raise BundleFixError(f"it is not below --destdir {destdir}", where=str(root))
    return f"/{path.relative_to(destdir.resolve())}"


def _read_closure(
    path: Path,
    defines: Mapping[str, str],
    libdir: str,
    places: LibrarySources,
    installation: Installation,
) -> Closure:
    spec = load_spec(path)
    values = resolve_variables(spec, path.parent.resolve(), defines, os.environ)
    files = installation.members or installation.root.rglob("*")
    return Closure(spec, describe_target(values, places, files), libdir, places)


def _read_additions(path: Path) -> dict[str, str]:
    """Return the paths of the state file, with the component that each was added for."""
    pairs = (line.partition("=") for line in _read_lines(path))
    return {added: component for component, _, added in pairs}


def _read_lines(path: Path) -> list[str]:
    # Paths are bytes on Linux: they need not be UTF-8.
    return [os.fsdecode(line) for line in path.read_bytes().splitlines() if line]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with create_pending_file(path) as pending:
        pending.file.writelines(os.fsencode(line) + b"\n" for line in lines)
        pending.commit()


def _read_built_libraries(path: Path) -> dict[str, Path]:
    pairs = (line.partition("=") for line in _read_lines(path))
    return {installed: Path(file) for installed, _, file in pairs}
