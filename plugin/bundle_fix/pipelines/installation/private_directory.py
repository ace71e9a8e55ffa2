"""The directory of private libraries, which no loader of a target may search by default.

A private copy of a library there would be loaded by every program of the target that needs the
library, and two installations would overwrite each other's copy.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from bundle_fix.collect.libraries.build_machine import create_build_machine
from bundle_fix.loader.hosts.ld_conf import read_ld_conf
from bundle_fix.loader.hosts.rtld import is_default_directory
from bundle_fix.model.errors import BundleFixError


def ensure_private(directory: str) -> None:
    """Raise `BundleFixError` if loaders search an absolute directory of the target by default.

    Such directories are those that are compiled into a loader, and those of ld.so.conf. The
    target's ld.so.conf is unknown, so this machine's stands for it.
    """
    directory = posixpath.normpath(directory)
    names = {directory, os.path.realpath(directory)}
    configured = read_ld_conf(create_build_machine(Path("/")).view)
    searched = {*configured, *map(os.path.realpath, configured)}
    if any(is_default_directory(name) or name in searched for name in names):
        raise BundleFixError(
            "the loader searches this directory by default, so every program of the target would"
            " load the private libraries in it",
            where=directory,
            hint="choose another directory for them, such as lib/PROJECT below the prefix",
        )
