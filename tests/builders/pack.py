"""Whole packs: folders and tarballs, good ones and the ones that really were shipped."""

from __future__ import annotations

import tarfile
from pathlib import Path

from builders.elf import elf


def make_tarball(folder: Path, target: Path, top: str = "pack") -> Path:
    """A tarball of ``folder`` under the top folder ``top``; its compression follows its name."""
    kind = target.name.rpartition(".")[2]
    mode = f"w:{kind}" if kind in ("gz", "xz", "bz2") else "w"
    with tarfile.open(target, mode) as archive:
        archive.add(folder, top)
    return target


def make_incident_pack(folder: Path) -> Path:
    """Pegasus's incident: the library is there, but under its development name.

    The server's RUNPATH ``.`` leads to it only from ``bin/``, and not under the name it needs.
    """
    elf(folder / "bin/libtcmalloc.so", soname="libtcmalloc.so.4", tag="shipped")
    elf(folder / "bin/server", program=True, needed=["libtcmalloc.so.4"], runpath=".")
    return folder


def make_healthy_pack(folder: Path) -> Path:
    """A pack in which everything is as it should be."""
    elf(folder / "lib/libtcmalloc.so.4.6", soname="libtcmalloc.so.4", tag="shipped")
    (folder / "lib/libtcmalloc.so.4").symlink_to("libtcmalloc.so.4.6")
    elf(folder / "bin/server", program=True, needed=["libtcmalloc.so.4"], runpath="$ORIGIN/../lib")
    return folder
