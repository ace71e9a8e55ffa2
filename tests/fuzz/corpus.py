"""The valid artifacts that are mutated."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Sequence
from pathlib import Path

from builders.elf import build_elf, build_versioned_library
from builders.pack import make_tarball
from builders.packages import (
    add_image_manifest,
    add_index,
    build_appimage,
    build_conda,
    build_deb,
    build_rpm,
    build_squashfs,
    make_layer,
    strip_payload,
    write_docker_archive,
    write_oci_layout,
)

SPARSE = 300_000


def build_pack(directory: Path) -> Path:
    """Build a pack with symlinks, symbol versions, an RPATH, a sparse and a non-ELF file."""
    build_versioned_library(directory / "lib/libv.so.1.2", "libv.so.1", "f", ["V_1", "V_2"])
    (directory / "lib/libv.so.1").symlink_to("libv.so.1.2")
    build_elf(
        directory / "lib/libx.so.4", soname="libx.so.4", needed=["libv.so.1"], rpath="$ORIGIN"
    )
    flags = ["-Wl,--hash-style=both"]
    build_elf(directory / "bin/tool", program=True, needed=["libx.so.4"], runpath=".", flags=flags)
    (directory / "bin/again").hardlink_to(directory / "bin/tool")
    with (directory / "share").open("wb") as file:
        file.truncate(SPARSE)
        file.write(b"text")
    return directory


def _write_oci_tarball(layout: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """Write an image in an index within the index of a layout."""
    layout.mkdir()
    image = add_image_manifest(layout, [make_layer(members), make_layer([("a", b"b")])])
    write_oci_layout(layout, add_index(layout, image))
    return make_tarball(layout, layout.parent / "oci.tar")


def _build_prefix(directory: Path) -> Path:
    """Build a conda package before it is packed."""
    build_pack(directory)
    (directory / "info").mkdir()
    (directory / "info/index.json").write_text('{"name": "a", "depends": ["libx >=1"]}')
    (directory / "info/paths.json").write_text('{"paths": []}')
    return directory


def _prepend_script(archive: Path, target: Path) -> Path:
    """Write a zip archive after an interpreter line, as a zipapp is."""
    target.write_bytes(b"#!/usr/bin/env python3\n" + archive.read_bytes())
    return target


def build_corpus(directory: Path) -> dict[str, bytes]:
    """Return an artifact of each kind by suffix, not compressed if the format permits."""
    source = build_pack(directory / "pack")
    paths = {
        "elf": source / "bin/tool",
        "tar": make_tarball(source, directory / "a.tar"),
        "deb": build_deb(build_pack(directory / "deb"), directory / "a.deb", "none"),
        "rpm": build_rpm(build_pack(directory / "rpm"), directory / "a.rpm", "w1.gzdio"),
    }
    for name, form in (("sparse.tar", "posix"), ("gnu.tar", "gnu")):
        command = ["tar", "--sparse", f"--format={form}", "-cf", name, "pack"]
        subprocess.run(command, cwd=directory, check=True)
    subprocess.run(["zip", "-qry0", directory / "stored.zip", "pack"], cwd=directory, check=True)
    subprocess.run(["zip", "-qry", directory / "a.zip", "pack"], cwd=directory, check=True)
    names = ("sparse.tar", "gnu.tar", "stored.zip", "a.zip")
    paths |= {name: directory / name for name in names}
    files = [path for path in source.rglob("*") if path.is_file()]
    members = [(str(path.relative_to(source)), path.read_bytes()) for path in files]
    paths["image.tar"] = write_docker_archive(
        directory / "image.tar", [make_layer(members), make_layer([("a", b"b")])]
    )
    paths["oci.tar"] = _write_oci_tarball(directory / "layout", members)
    paths["v6.rpm"] = strip_payload(
        build_rpm(build_pack(directory / "rpm6"), directory / "v6.rpm", "w1.gzdio")
    )
    paths["conda"] = build_conda(_build_prefix(directory / "prefix"), directory / "a-1-0.conda")
    paths["squashfs"] = build_squashfs(source, directory / "a.squashfs")
    paths["AppImage"] = build_appimage(source, directory / "a.AppImage")
    paths["pyz"] = _prepend_script(paths["a.zip"], directory / "a.pyz")
    found = {name: path.read_bytes() for name, path in paths.items()}
    found["tar.gz"] = gzip.compress(found["gnu.tar"], 1, mtime=0)
    return found
