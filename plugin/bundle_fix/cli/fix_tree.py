"""``bundle-fix fix-tree``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from bundle_fix.cli.fix import tell
from bundle_fix.cli.options import (
    define_option,
    editor_option,
    force_option,
    here_option,
    host_option,
    read_defines,
    spec_option,
    talk_options,
)
from bundle_fix.cli.policy_options import read_expectations
from bundle_fix.pipelines.fix import Options
from bundle_fix.pipelines.install_tree import Closure, Installation, fix_installation
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import resolve_variables
from bundle_fix.storage.atomic import pending_file

FilePath = click.Path(path_type=Path)


@click.command(short_help="mend what a build system installs into a folder")
@click.argument("root", type=FilePath)
@click.option(
    "--members", type=FilePath, metavar="LIST",
    help="A file with a path a line: what was installed. Nothing else in ROOT is changed; what is"
    " added or removed is added to or removed from LIST. Without it, all that is there.",
)  # fmt: skip
@click.option(
    "--added", type=FilePath, metavar="LIST",
    help="A file that tells the next run what this one added to ROOT: what an earlier one added is"
    " added anew, or taken away.",
)  # fmt: skip
@click.option(
    "--built", type=FilePath, metavar="LIST",
    help="A file with PATH=FILE a line: libraries that the build makes, where they belong in ROOT,"
    " and where they are. They never count as the host's.",
)  # fmt: skip
@click.option("--partial", is_flag=True, help="What is built and not in ROOT yet will come later.")
@click.option(
    "--for-wheel", is_flag=True,
    help="ROOT becomes a wheel, which cannot hold links: each library is kept once, as its soname.",
)  # fmt: skip
@click.option(
    "--sources", type=FilePath, multiple=True, metavar="FOLDER",
    help="A wheel keeps copies of libraries that Python code below FOLDER names; repeatable.",
)  # fmt: skip
@click.option(
    "--elsewhere", type=FilePath, multiple=True, metavar="FOLDER",
    help="A part of the wheel that pip puts elsewhere, such as its scripts: nothing there finds"
    " libraries in ROOT; repeatable.",
)  # fmt: skip
@click.option(
    "--libdir", metavar="FOLDER", default="",
    help="Put what the spec's [closure] bundles into FOLDER of ROOT; without it, nothing is added.",
)  # fmt: skip
@here_option
@define_option
@force_option
@spec_option
@host_option
@editor_option
@talk_options
def fix_tree(
    root: Path,
    members: Path | None,
    added: Path | None,
    built: Path | None,
    partial: bool,
    for_wheel: bool,
    sources: tuple[Path, ...],
    elsewhere: tuple[Path, ...],
    libdir: str,
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
    """Mend what was installed into ROOT, in place, and check it.

    This is what bundle_fix_install() runs at the end of an installation. Exit status: 0 all well;
    1 it cannot be mended, and nothing was changed; 2 something cannot be read or written.
    """
    values = read_defines(defines)
    expectations, pinned = read_expectations(spec, host_provides, values)
    installation = Installation(
        root,
        None if members is None else tuple(Path(line) for line in _lines(members)),
        tuple(_lines(added)) if added is not None and added.exists() else (),
        {} if built is None else _built(built),
        partial, for_wheel, host_like_this,
        _closure(spec, values, libdir) if spec is not None and libdir else None,
        sources,
        elsewhere,
    )  # fmt: skip
    options = Options(expectations, pinned, editor or "auto", force)
    installed = fix_installation(installation, options)
    mended = installed.mended
    tell(root, mended, dry_run=False, quiet=quiet, verbose=verbose, color=color)
    if members is not None and mended.written is not None:
        _write_lines(members, (str(root / path) for path in installed.own))
    if added is not None and mended.written is not None:
        _write_lines(added, installed.added)
    return 1 if mended.failed else 0


def _closure(path: Path, defines: Mapping[str, str], libdir: str) -> Closure:
    spec = load_spec(path)
    return Closure(
        spec, resolve_variables(spec, path.parent.resolve(), defines, os.environ), libdir
    )


def _lines(path: Path) -> list[str]:
    return [os.fsdecode(line) for line in path.read_bytes().splitlines() if line]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with pending_file(path) as pending:
        pending.file.writelines(os.fsencode(line) + b"\n" for line in lines)
        pending.commit()


def _built(path: Path) -> dict[str, Path]:
    pairs = (line.partition("=") for line in _lines(path))
    return {place: Path(file) for place, _, file in pairs}
