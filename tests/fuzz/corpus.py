"""The sound artifacts that mutations start from."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from builders.elf import elf, object_with_versions
from builders.pack import make_tarball
from builders.packages import build_deb, build_rpm, make_layer, write_docker_archive

SPARSE = 300_000


def pack(directory: Path) -> Path:
    """A pack with links, versions, an old search path, a sparse file, a file that is not ELF."""
    object_with_versions(directory / "lib/libv.so.1.2", "libv.so.1", "f", ["V_1", "V_2"])
    (directory / "lib/libv.so.1").symlink_to("libv.so.1.2")
    elf(directory / "lib/libx.so.4", soname="libx.so.4", needed=["libv.so.1"], rpath="$ORIGIN")
    flags = ["-Wl,--hash-style=both"]
    elf(directory / "bin/tool", program=True, needed=["libx.so.4"], runpath=".", flags=flags)
    (directory / "bin/again").hardlink_to(directory / "bin/tool")
    with (directory / "share").open("wb") as file:
        file.truncate(SPARSE)
        file.write(b"text")
    return directory


def corpus(directory: Path) -> dict[str, bytes]:
    """Every kind of artifact by its suffix; those that can be are not compressed."""
    source = pack(directory / "pack")
    made = {
        "elf": source / "bin/tool",
        "tar": make_tarball(source, directory / "a.tar"),
        "deb": build_deb(pack(directory / "deb"), directory / "a.deb", "none"),
        "rpm": build_rpm(pack(directory / "rpm"), directory / "a.rpm", "w1.gzdio"),
    }
    for name, form in (("sparse.tar", "posix"), ("gnu.tar", "gnu")):
        command = ["tar", "--sparse", f"--format={form}", "-cf", name, "pack"]
        subprocess.run(command, cwd=directory, check=True)
    subprocess.run(["zip", "-qry0", directory / "stored.zip", "pack"], cwd=directory, check=True)
    subprocess.run(["zip", "-qry", directory / "a.zip", "pack"], cwd=directory, check=True)
    names = ("sparse.tar", "gnu.tar", "stored.zip", "a.zip")
    made |= {name: directory / name for name in names}
    files = [path for path in source.rglob("*") if path.is_file()]
    members = [(str(path.relative_to(source)), path.read_bytes()) for path in files]
    made["image.tar"] = write_docker_archive(
        directory / "image.tar", [make_layer(members), make_layer([("a", b"b")])]
    )
    found = {name: path.read_bytes() for name, path in made.items()}
    found["tar.gz"] = gzip.compress(found["gnu.tar"], 1, mtime=0)
    return found
