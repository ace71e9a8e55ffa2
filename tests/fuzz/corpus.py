"""The sound artifacts that mutations start from."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from builders.elf import elf, object_with_versions
from builders.pack import tarball
from builders.packages import deb, docker_save, layer, rpm

SPARSE = 300_000


def pack(folder: Path) -> Path:
    """A pack with links, versions, an old search path, a sparse file, a file that is not ELF."""
    object_with_versions(folder / "lib/libv.so.1.2", "libv.so.1", "f", ["V_1", "V_2"])
    (folder / "lib/libv.so.1").symlink_to("libv.so.1.2")
    elf(folder / "lib/libx.so.4", soname="libx.so.4", needed=["libv.so.1"], rpath="$ORIGIN")
    flags = ["-Wl,--hash-style=both"]
    elf(folder / "bin/tool", program=True, needed=["libx.so.4"], runpath=".", flags=flags)
    (folder / "bin/again").hardlink_to(folder / "bin/tool")
    with (folder / "share").open("wb") as file:
        file.truncate(SPARSE)
        file.write(b"text")
    return folder


def corpus(folder: Path) -> dict[str, bytes]:
    """Every kind of artifact by its suffix; those that can be are not compressed."""
    source = pack(folder / "pack")
    made = {
        "elf": source / "bin/tool",
        "tar": tarball(source, folder / "a.tar"),
        "deb": deb(pack(folder / "deb"), folder / "a.deb", "none"),
        "rpm": rpm(pack(folder / "rpm"), folder / "a.rpm", "w1.gzdio"),
    }
    for name, form in (("sparse.tar", "posix"), ("gnu.tar", "gnu")):
        command = ["tar", "--sparse", f"--format={form}", "-cf", name, "pack"]
        subprocess.run(command, cwd=folder, check=True)
    subprocess.run(["zip", "-qry0", folder / "stored.zip", "pack"], cwd=folder, check=True)
    subprocess.run(["zip", "-qry", folder / "a.zip", "pack"], cwd=folder, check=True)
    names = ("sparse.tar", "gnu.tar", "stored.zip", "a.zip")
    made |= {name: folder / name for name in names}
    files = [path for path in source.rglob("*") if path.is_file()]
    members = [(str(path.relative_to(source)), path.read_bytes()) for path in files]
    made["image.tar"] = docker_save(folder / "image.tar", [layer(members), layer([("a", b"b")])])
    found = {name: path.read_bytes() for name, path in made.items()}
    found["tar.gz"] = gzip.compress(found["gnu.tar"], 1, mtime=0)
    return found
