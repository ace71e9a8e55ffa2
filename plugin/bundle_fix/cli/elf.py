"""``bundle-fix elf``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundle_fix.cli.elf_options import (
    EditOptions,
    add_edit_options,
    add_print_options,
    combine_changes,
    make_search_path_change,
)
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.options import (
    ARTIFACT_OUTPUT,
    PATH,
    add_message_options,
    editor_option,
    print_message,
)
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.differences import describe_differences
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.pipelines.elf_files import EditedFile, edit_elf_file, read_elf_file

if TYPE_CHECKING:
    from bundle_fix.elf.edit.edit import CrossCheck
    from bundle_fix.report.render.elf import ElfFileRecord

LEFT_ALONE = 1
BAD_REQUEST = 2


@click.command(cls=CommandWithExamples)
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@add_edit_options
@click.option(
    "-o", "--output", type=ARTIFACT_OUTPUT, metavar="OUT",
    help="Write the changed file to OUT, a file or a directory.",
)  # fmt: skip
@click.option("--in-place", is_flag=True, help="Change each FILE itself.")
@click.option(
    "--format", "kind", type=click.Choice(["text", "json"]), default="text",
    help="Set the format of the output (default: text).",
)  # fmt: skip
@add_print_options
@editor_option
@click.option(
    "--cross-check", is_flag=True, help="Let LIEF read each changed file again, and compare."
)
@add_message_options
def elf(
    files: tuple[Path, ...],
    output: Path | None,
    in_place: bool,
    kind: str,
    editor: str | None,
    cross_check: bool,
    quiet: bool,
    verbose: bool,
    color: str,
    edit: EditOptions,
    fields: tuple[str, ...],
) -> int:
    """Print or change the dynamic section of ELF files.

    All changes to a file are made at once, and only if everything else stays the same for the
    loader. Static programs, object files, core files, debug files and the loader are printed, but
    never changed.

    Exit code: 0 success; 1 a file was not changed (it is not an ELF file, or no editor can change
    it safely); 2 a file cannot be read or written, or the options are invalid.
    """
    changes, search_path = combine_changes(edit), make_search_path_change(edit)
    if fields and kind == "json":
        raise click.UsageError("--print and --format json exclude each other")
    if changes == Changes() and search_path is None:
        if in_place or output is not None or editor is not None:
            raise click.UsageError("missing change; add an option such as --set-runpath")
        return _print_records(files, fields, kind)
    if fields:
        raise click.UsageError("--print and an option that changes files exclude each other")
    outputs = _choose_outputs(files, output, in_place=in_place)
    records: list[ElfFileRecord] = []
    status = 0
    check = _import_crosscheck() if cross_check else None
    for file, target in zip(files, outputs, strict=True):
        try:
            result = edit_elf_file(file, changes, target, editor or "auto", search_path, check)
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


def _import_crosscheck() -> CrossCheck:
    """Import the second opinion, which takes longer than an edit."""
    from bundle_fix.elf.verify.lief_crosscheck import crosscheck

    return crosscheck


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


def _print_records(files: Iterable[Path], fields: Sequence[str], kind: str) -> int:
    from bundle_fix.report.render.elf import PRINTED_FIELDS, make_elf_record, render_elf
    from bundle_fix.report.render.json import format_json

    records, status = [], 0
    for path in files:
        try:
            records.append(make_elf_record(read_elf_file(path)))
        except BundleFixError as error:
            status = max(status, _print_error(error))
    if kind == "json":
        sys.stdout.write(format_json(records))
    elif fields:
        lines = [
            value
            for record in records
            for field in fields
            for value in PRINTED_FIELDS[field](record)
        ]
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
