"""The valid artifacts that are mutated."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from builders.elf import build_elf, build_versioned_library
from builders.pack import make_tarball
from builders.packages import build_deb, build_rpm, make_layer, write_docker_archive

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
    found = {name: path.read_bytes() for name, path in paths.items()}
    found["tar.gz"] = gzip.compress(found["gnu.tar"], 1, mtime=0)
    return found
