"""The sample server as a Python package; its program and libraries are beside this file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

PROGRAM = Path("bin", "pegasus_server")


def find_program() -> Path:
    """Return the path of the server, or exit with a message if it is missing."""
    for directory in __path__:  # an editable installation has several directories
        if Path(directory, PROGRAM).is_file():
            return Path(directory, PROGRAM)
    sys.exit(f"{PROGRAM}: missing in {', '.join(__path__)}; install the package again")


def main() -> NoReturn:
    """Replace this process by the server."""
    path = find_program()
    os.execv(path, [path, *sys.argv[1:]])  # noqa: S606 (a program of this package)
