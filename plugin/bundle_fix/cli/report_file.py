"""Where a report goes: to stdout as it comes, into a file whole, and into GitHub's summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bundle_fix.cli.signals import flush_output
from bundle_fix.model.errors import BundleFixError

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable with the path of the file that GitHub Actions shows below a step."""
LARGEST_SUMMARY = 1 << 20
"""Bytes of one step's summary; GitHub refuses a larger one altogether."""


def write_report(pieces: Iterable[str], output: Path | None, kind: str) -> None:
    """Write a report to stdout as it comes, or to a file, which is whole or not touched.

    Args:
        pieces: the report.
        output: the file; None for stdout.
        kind: its format; but for text it is UTF-8, whatever stdout's encoding is.

    Raises:
        BundleFixError: it cannot be written.
    """
    if output is None:
        encoding = (sys.stdout.encoding if kind == "text" else None) or "utf-8"
        for piece in pieces:
            if reason := flush_output(piece.encode(encoding, "backslashreplace")):
                raise BundleFixError(f"cannot print the report: {reason}")
    elif output.exists() and not output.is_file() and not output.is_dir():
        # A pipe or a device, such as /dev/stderr, cannot be replaced.
        with output.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(pieces)
    else:
        from bundle_fix.storage.atomic import pending_file

        with pending_file(output) as pending:
            for piece in pieces:
                pending.file.write(piece.encode("utf-8", "backslashreplace"))
            pending.commit()


def append_summary(render: Callable[[], str]) -> None:
    """Append to the summary of a step of GitHub Actions, where this is one and there is room.

    Args:
        render: makes the Markdown.

    Raises:
        BundleFixError: the file cannot be written.
    """
    place = os.environ.get(SUMMARY)
    if not place:
        return
    text = render().encode("utf-8", "backslashreplace")
    try:
        with Path(place).open("ab") as summary:
            if summary.tell() + len(text) <= LARGEST_SUMMARY:
                summary.write(text)
    except OSError as error:
        raise BundleFixError(
            f"cannot write the summary: {error.strerror}", where=place, hint=f"unset {SUMMARY}"
        ) from error
