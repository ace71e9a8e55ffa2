"""``bundle-fix cmake-dir``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import bundle_fix.cmake


@click.command(short_help="print the directory of BundleFixConfig.cmake")
def cmake_dir() -> int:
    """Print the directory of BundleFixConfig.cmake.

    cmake -S . -B build -DBundleFix_ROOT="$(bundle-fix cmake-dir)"
    """
    directory = Path(bundle_fix.cmake.__file__).resolve().parent
    sys.stdout.buffer.write(os.fsencode(f"{directory}\n"))
    return 0
