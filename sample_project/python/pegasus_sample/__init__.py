"""The sample's server as a Python package: the program and its libraries lie beside this file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

PROGRAM = Path("bin", "pegasus_server")


def program() -> Path:
    """Where the server is: in an editable installation the package has several folders."""
    for folder in __path__:
        if Path(folder, PROGRAM).is_file():
            return Path(folder, PROGRAM)
    sys.exit(f"{PROGRAM} is in none of {', '.join(__path__)}: install the package again")


def main() -> NoReturn:
    """Become the server."""
    path = program()
    os.execv(path, [path, *sys.argv[1:]])  # noqa: S606 (the program of this very package)
