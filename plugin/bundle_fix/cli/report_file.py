"""Write reports to stdout, to a file, or to the step summary of GitHub Actions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bundle_fix.cli.signals import flush_output
from bundle_fix.model.errors import BundleFixError

SUMMARY = "GITHUB_STEP_SUMMARY"
"""Environment variable with the path of the file that GitHub Actions shows below a step."""
LARGEST_SUMMARY = 1 << 20
"""Bytes of the summary of one step; GitHub rejects a larger summary as a whole."""


def write_report(pieces: Iterable[str], output: Path | None, kind: str) -> None:
    """Write a report piece by piece to stdout, or to a file, which is replaced at the end.

    Args:
        pieces: The report.
        output: The file; None for stdout.
        kind: The format. Text on stdout has the encoding of stdout, any other format UTF-8.

    Raises:
        BundleFixError: The report cannot be written.
    """
    if output is None:
        encoding = (sys.stdout.encoding if kind == "text" else None) or "utf-8"
        for piece in pieces:
            if reason := flush_output(piece.encode(encoding, "backslashreplace")):
                raise BundleFixError(f"cannot print the report: {reason}")
    elif output.exists() and not output.is_file() and not output.is_dir():
        # rename(2) would replace a pipe or a device, such as /dev/stderr, by a file.
        try:
            with output.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.writelines(pieces)
        except OSError as error:
            # write(2) has a descriptor only, so Python does not know the name of the file.
            error.filename = error.filename or str(output)
            raise
    else:
        from bundle_fix.storage.atomic import create_pending_file

        with create_pending_file(output) as pending:
            for piece in pieces:
                pending.file.write(piece.encode("utf-8", "backslashreplace"))
            pending.commit()


def append_summary(render: Callable[[], str]) -> None:
    """Append to the summary of a step of GitHub Actions, if this is one and the limit allows it.

    Args:
        render: Function that returns the Markdown.

    Raises:
        BundleFixError: The file cannot be written.
    """
    path = os.environ.get(SUMMARY)
    if not path:
        return
    text = render().encode("utf-8", "backslashreplace")
    try:
        with Path(path).open("ab") as summary:
            if summary.tell() + len(text) <= LARGEST_SUMMARY:
                summary.write(text)
    except OSError as error:
        raise BundleFixError(
            f"cannot write the summary: {error.strerror}", where=path, hint=f"unset {SUMMARY}"
        ) from error
