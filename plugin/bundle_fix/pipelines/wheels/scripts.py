"""Programs in NAME.data/scripts that need bundled libraries.

pip installs them to bin/ of the environment, from where no relative RUNPATH leads to site-packages
in every environment. They are moved into site-packages, and Python scripts start them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Mapping

from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import File
from bundle_fix.plan.naming.new_names import rename_files

STARTER = """\
#!python
import os
import sys
from importlib.metadata import distribution

program = distribution({distribution!r}).locate_file({path!r})
os.execv(program, [str(program), *sys.argv[1:]])
"""
"""The script that starts a program; installers insert the path of Python (PEP 427)."""


def find_scripts(bundle: Bundle, start: str, libraries: Container[str]) -> dict[str, str]:
    """Return the programs to move, old path to new path.

    Args:
        bundle: the wheel with its bundled libraries.
        start: NAME-VERSION, as in the names of the wheel's directories.
        libraries: the paths of the bundled libraries.
    """
    directory = f"{start.partition('-')[0]}.scripts"
    return {
        path: posixpath.join(directory, posixpath.basename(path))
        for path, image in bundle.images.items()
        if posixpath.dirname(path) == f"{start}.data/scripts"
        and any(p in libraries for n in image.needed for p in bundle.find_providers(n, image))
    }


def move_scripts(bundle: Bundle, start: str, paths: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with the programs at their new paths, and scripts that start them."""
    moved = rename_files(bundle, paths)
    nodes = dict(moved.tree.nodes)
    for old, new in paths.items():
        text = STARTER.format(distribution=start.partition("-")[0], path=new)
        metadata = bundle.tree.nodes[old].metadata
        nodes[old] = File(BytesContent(text.encode()), metadata)
    return build_bundle(replace(moved.tree, nodes=nodes), moved.images)
