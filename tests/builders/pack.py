"""Whole packs as directories and tarballs: a correct one, and one that crashed in production."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from builders.elf import build_elf

TarMode: TypeAlias = Literal["w", "w:gz", "w:xz", "w:bz2"]
MODES: Mapping[str, TarMode] = {"gz": "w:gz", "xz": "w:xz", "bz2": "w:bz2"}
"""The mode of tarfile that compresses like the suffix of a file name."""


def make_tarball(directory: Path, target: Path, top: str = "pack") -> Path:
    """Write ``directory`` into a tarball, as ``top``, with the compression of its suffix.

    Its members belong to root, whoever runs the tests, as BF605 reports other owners.
    """

    def give_to_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(target, MODES.get(target.name.rpartition(".")[2], "w")) as archive:
        archive.add(directory, top, filter=give_to_root)
    return target


def make_incident_pack(directory: Path) -> Path:
    """Make the pack of the Pegasus incident: the library has its development name only.

    The server's RUNPATH ``.`` leads to it only if the working directory is ``bin/``, and no file
    there has the needed name.
    """
    build_elf(directory / "bin/libtcmalloc.so", soname="libtcmalloc.so.4", tag="shipped")
    build_elf(directory / "bin/server", program=True, needed=["libtcmalloc.so.4"], runpath=".")
    return directory


def make_healthy_pack(directory: Path) -> Path:
    """Make a pack without any error."""
    build_elf(directory / "lib/libtcmalloc.so.4.6", soname="libtcmalloc.so.4", tag="shipped")
    (directory / "lib/libtcmalloc.so.4").symlink_to("libtcmalloc.so.4.6")
    build_elf(
        directory / "bin/server",
        program=True,
        needed=["libtcmalloc.so.4"],
        runpath="$ORIGIN/../lib",
    )
    return directory
