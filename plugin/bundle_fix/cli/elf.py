"""``bundle-fix elf``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundle_fix.cli.options import (
    add_message_options,
    editor_option,
    parse_artifact_output,
    parse_path,
    print_message,
)
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.differences import describe_differences
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.pipelines.elf_files import EditedFile, edit_elf_file, read_elf_file

if TYPE_CHECKING:
    from bundle_fix.report.render.elf import ElfFileRecord

LEFT_ALONE = 1
BAD_REQUEST = 2
PRINTED = ("interpreter", "soname", "needed", "rpath", "runpath", "build-id")


@click.command(short_help="print or change the dynamic section of ELF files")
@click.argument("files", nargs=-1, required=True, type=parse_path, metavar="FILE...")
@click.option(
    "--set-runpath", metavar="P", help="Set DT_RUNPATH and remove DT_RPATH; '' removes both."
)
@click.option(
    "--set-rpath", metavar="P", help="Set DT_RPATH and remove DT_RUNPATH; '' removes both."
)
@click.option(
    "--remove-runpath", "--remove-rpath", "remove_path", is_flag=True,
    help="Remove DT_RUNPATH and DT_RPATH.",
)  # fmt: skip
@click.option("--set-soname", metavar="S", help="Set DT_SONAME.")
@click.option(
    "--replace-needed", nargs=2, multiple=True, metavar="A B",
    help="Replace DT_NEEDED A by B, also in the version requirements; repeatable.",
)  # fmt: skip
@click.option(
    "--add-needed", multiple=True, metavar="S",
    help="Add DT_NEEDED S before all others, unless it is present; repeatable.",
)  # fmt: skip
@click.option("--remove-needed", multiple=True, metavar="S", help="Remove DT_NEEDED S; repeatable.")
@click.option(
    "-o", "--output", type=parse_artifact_output, metavar="OUT",
    help="Write the changed file to OUT, a file or a directory.",
)  # fmt: skip
@click.option("--in-place", is_flag=True, help="Change each FILE itself.")
@click.option("--format", "kind", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--print", "field", type=click.Choice(PRINTED), metavar="FIELD",
    help=f"Print only the values of FIELD, one per line: {', '.join(PRINTED)}.",
)  # fmt: skip
@editor_option
@add_message_options
def elf(
    files: tuple[Path, ...],
    set_runpath: str | None,
    set_rpath: str | None,
    remove_path: bool,
    set_soname: str | None,
    replace_needed: tuple[tuple[str, str], ...],
    add_needed: tuple[str, ...],
    remove_needed: tuple[str, ...],
    output: Path | None,
    in_place: bool,
    kind: str,
    field: str | None,
    editor: str | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Print or change the dynamic section of ELF files.

    All changes to a file are made at once, and only if everything else stays the same for the
    loader. Static programs, object files, core files, debug files and the loader are printed, but
    never changed.

    Exit code: 0 success; 1 a file was not changed (it is not an ELF file, or no editor can change
    it safely); 2 a file cannot be read or written, or the options are invalid.
    """
    changes = _combine_changes(
        set_runpath, set_rpath, remove_path, set_soname, replace_needed, add_needed, remove_needed
    )
    if field is not None and kind == "json":
        raise click.UsageError("--print and --format json exclude each other")
    if changes == Changes():
        if in_place or output is not None or editor is not None:
            raise click.UsageError("missing change; add an option such as --set-runpath")
        return _print_records(files, field, kind)
    outputs = _choose_outputs(files, output, in_place=in_place)
    records: list[ElfFileRecord] = []
    status = 0
    for file, target in zip(files, outputs, strict=True):
        try:
            result = edit_elf_file(file, changes, target, editor or "auto")
        except BundleFixError as error:
            status = max(status, _print_error(error))
            continue
        _print_changes(file, result, quiet=quiet, verbose=verbose)
        if kind == "json":
            from bundle_fix.report.render.elf import make_edited_record

            records.append(make_edited_record(read_elf_file(result.path), result))
        else:
            sys.stdout.write(f"{result.path}\n")
    if kind == "json":
        from bundle_fix.report.render.json import format_json

        sys.stdout.write(format_json(records))
    return status


def _combine_changes(
    runpath: str | None,
    rpath: str | None,
    remove_path: bool,
    soname: str | None,
    replace_needed: tuple[tuple[str, str], ...],
    add_needed: tuple[str, ...],
    remove_needed: tuple[str, ...],
) -> Changes:
    """Return the changes of all options, as one edit.

    Raises:
        BundleFixError: Two options contradict each other, or a name is empty.
    """
    if runpath is not None and rpath is not None:
        raise BundleFixError("--set-runpath and --set-rpath exclude each other")
    if remove_path and (runpath or rpath):
        raise BundleFixError("a search path cannot be both set and removed")
    if soname == "":
        raise BundleFixError("a soname cannot be empty")
    if "" in remove_needed or any(old == "" for old, _ in replace_needed):
        raise BundleFixError("a needed name cannot be empty")
    path = "" if remove_path and rpath is None else runpath
    return Changes(path, rpath, soname, replace_needed, (), add_needed, remove_needed)


def _choose_outputs(
    files: Sequence[Path], output: Path | None, *, in_place: bool
) -> Sequence[Path | None]:
    """Return the output of each file; None stands for the file itself.

    Raises:
        BundleFixError: The output is missing, or would overwrite an input or another output.
    """
    if in_place == (output is not None):
        raise BundleFixError(
            "--in-place and -o exclude each other" if in_place else "missing output",
            hint="use --in-place or -o OUT",
        )
    if output is None:
        return [None] * len(files)
    if not output.is_dir():
        if len(files) > 1:
            raise BundleFixError(
                "several files require an existing output directory",
                where=str(output),
                hint="create it",
            )
        outputs = [output]
    else:
        outputs = [output / file.name for file in files]
    for number, target in enumerate(outputs):
        if target in outputs[:number]:
            raise BundleFixError("two input files have this output", where=str(target))
        if any(target.exists() and file.exists() and target.samefile(file) for file in files):
            raise BundleFixError(
                "the output is the input", where=str(target), hint="use --in-place to change it"
            )
    return outputs


def _print_records(files: Iterable[Path], field: str | None, kind: str) -> int:
    from bundle_fix.report.render.elf import FIELDS, make_elf_record, render_elf
    from bundle_fix.report.render.json import format_json

    records, status = [], 0
    for path in files:
        try:
            records.append(make_elf_record(read_elf_file(path)))
        except BundleFixError as error:
            status = max(status, _print_error(error))
    if kind == "json":
        sys.stdout.write(format_json(records))
    elif field is not None:
        lines = [value for record in records for value in FIELDS[field](record)]
        sys.stdout.writelines(f"{escape_unprintable(line)}\n" for line in lines)
    else:
        sys.stdout.write("\n".join(map(render_elf, records)))
    return status


def _print_error(error: BundleFixError) -> int:
    """Print an error of one file and return the exit code for it."""
    refused = isinstance(error, EditRefusedError)
    word = "left alone" if refused else "error"
    sys.stderr.write(f"bundle-fix: {word}: {escape_unprintable(str(error))}\n")
    return LEFT_ALONE if refused else BAD_REQUEST


def _print_changes(file: Path, result: EditedFile, *, quiet: bool, verbose: bool) -> None:
    """Print the changes to stderr; with ``verbose`` also the editor, and why others failed."""
    editor = f" [{result.edited.editor}]" if verbose else ""
    name = escape_unprintable(str(file))
    if not result.edited.editor:
        print_message(f"{name}: nothing to change", quiet=quiet)
    for change in describe_differences(result.before, result.edited.image):
        print_message(f"{name}: {escape_unprintable(change)}{editor}", quiet=quiet)
    for reason in result.edited.refusals if verbose else ():
        print_message(f"{name}: skipped {escape_unprintable(reason)}", quiet=quiet)
    for remark in result.remarks:
        print_message(f"{name}: note: {escape_unprintable(remark)}", quiet=quiet)
