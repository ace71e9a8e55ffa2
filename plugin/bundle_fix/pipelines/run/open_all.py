"""Each library of a pack, opened by itself in a process of its own.

The library is preloaded into ``true``, so that its constructors run and its data is relocated;
functions are bound when they are called, as with RTLD_LAZY.
"""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Iterator

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.observed import CANNOT_OPEN
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.run.prepare import PreparedHost
from bundle_fix.pipelines.run.request import RunOptions, build_environment
from bundle_fix.policy.severity import Severity
from bundle_fix.run.findings import describe_end
from bundle_fix.run.sandbox.command import Command, ProgramEnd
from bundle_fix.run.sandbox.program import start_program

PROGRAM = "/usr/bin/true"
MAX_OUTPUT = 1 << 16
"""Bytes of the messages of one library that are read."""
SEPARATORS = re.compile(r"[\s:$]")
"""Characters that LD_PRELOAD cannot contain in a path (ld.so(8))."""
PREFIXES = re.compile(
    r"^(\S+: )?(error while loading shared libraries: |symbol lookup error: |ERROR: ld\.so: )",
    re.MULTILINE,
)
"""The beginnings of the loader's messages (glibc's elf/dl-error-skeleton.c, elf/rtld.c)."""
UNDEFINED = "undefined symbol: "


def open_libraries(host: PreparedHost, options: RunOptions) -> Iterator[Finding]:
    """Yield a finding for each library of the pack that cannot be opened.

    Raises:
        BundleFixError: the host has no program to open a library with.
    """
    for path in host.bundle.list_libraries():
        absolute = posixpath.join(options.at, path)
        if SEPARATORS.search(absolute):
            yield CANNOT_OPEN.make_finding(
                path, "was not opened: its path contains a blank, ':' or '$'",
                severity=Severity.NOTE,
            )  # fmt: skip
            continue
        end, text = _open_library(host, absolute, options)
        if end.error:
            raise BundleFixError(f"cannot run {PROGRAM} to open the libraries: {end.error}")
        reason = _find_reason(text) or describe_end(end, options.seconds)
        if reason:
            # A program that opens a plugin often has the symbols that the plugin lacks.
            is_plugin = UNDEFINED in reason
            yield CANNOT_OPEN.make_finding(
                path, f"cannot be opened: {reason.removeprefix(f'{absolute}: ')}",
                severity=Severity.NOTE if is_plugin else Severity.ERROR, reason=reason,
            )  # fmt: skip


def _open_library(host: PreparedHost, path: str, options: RunOptions) -> tuple[ProgramEnd, str]:
    """Return how the process ended that opened the library, and what it wrote."""
    variables = build_environment(options)
    preload = " ".join(filter(None, (variables.get("LD_PRELOAD"), path)))
    with tempfile.TemporaryFile() as output:
        command = Command(
            (PROGRAM,), {**variables, "LD_PRELOAD": preload}, options.at, options.seconds,
            output.fileno(),
        )  # fmt: skip
        with start_program(host.sandbox, command) as running:
            end = running.wait_for_end()
        text = os.pread(output.fileno(), MAX_OUTPUT, 0).decode("utf-8", "backslashreplace")
    return end, text


def _find_reason(text: str) -> str:
    """Return the first message of the loader in the output of a process, without its prefix."""
    found = PREFIXES.search(text)
    return "" if found is None else text[found.end() :].split("\n", 1)[0]
