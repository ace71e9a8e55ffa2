"""What strace(1) records: the files outside the pack that a program opens.

strace runs with its own copy of its libraries and of the loader, because the host of the run may
have decoys of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundle_fix.run.record.loader_record import RECORD_DIRECTORY

STRACE_DIRECTORY = "/.bundle-fix-strace"
"""The directory of the sandbox with strace and its libraries."""
RECORD = "strace"
MAX_RECORD = 256 << 20
"""Bytes of the record that are read."""
STARTED = re.compile(r'(\d+) +(?:open|openat|execve)\((?:[^,"]*, )?"((?:[^"\\]|\\.)*)"(.*)')
RESUMED = re.compile(r"(\d+) +<\.\.\. (?:open|openat|execve) resumed>(.*)")
SUCCESS = re.compile(r"\) += \d+")
KERNEL_DIRECTORIES = ("/proc/", "/sys/", "/dev/", f"{RECORD_DIRECTORY}/", f"{STRACE_DIRECTORY}/")


def build_strace_command(loader: str, environment: Iterable[str]) -> tuple[str, ...]:
    """Return the beginning of a command line that runs a program under strace.

    Args:
        loader: the file name of the loader in `STRACE_DIRECTORY`.
        environment: the variables of the program, as NAME=VALUE.
    """
    own = (f"{STRACE_DIRECTORY}/{loader}", "--library-path", STRACE_DIRECTORY)
    options = ("-f", "-qq", "-s", "4096", "-e", "trace=open,openat,execve", "-e", "signal=none")
    variables = [part for variable in environment for part in ("-E", variable)]
    output = ("-o", f"{RECORD_DIRECTORY}/{RECORD}", *variables, "--")
    return (*own, f"{STRACE_DIRECTORY}/strace", *options, *output)


def read_strace_record(directory: Path) -> list[str]:
    """Return the absolute paths that were opened or executed, each once, in order."""
    try:
        with (directory / RECORD).open("rb") as file:
            text = file.read(MAX_RECORD).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return []
    found = dict.fromkeys(parse_strace_record(text.split("\n")))
    return [p for p in found if p.startswith("/") and not p.startswith(KERNEL_DIRECTORIES)]


def parse_strace_record(lines: Iterable[str]) -> Iterator[str]:
    """Yield the path of each call that succeeded; a call may be split into two lines."""
    pending: dict[str, str] = {}
    for line in lines:
        if (started := STARTED.match(line)) is not None:
            process, path, rest = started.groups()
            if SUCCESS.search(rest):
                yield path
            elif "<unfinished" in rest:
                pending[process] = path
        elif (resumed := RESUMED.match(line)) is not None:
            path = pending.pop(resumed[1], "")
            if path and SUCCESS.search(resumed[2]):
                yield path
