"""What bundle-fix and other programs read in an archive: all members, as plain values."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.content import read_chunks
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Node, Symlink

COMMANDS = {
    "GNU tar": 'tar -xf "$archive" -C "$archive.out" --no-same-owner',
    "bsdtar": 'bsdtar -xof "$archive" -C "$archive.out"',
    "unzip": 'unzip -qo "$archive" -d "$archive.out" </dev/null',
}
"""How each program unpacks ``$archive``."""


NODE_TAR = (Path("/usr/share/nodejs/tar"), Path("/usr/lib/node_modules/npm/node_modules/tar"))
"""Where node-tar is, npm's library for tarballs: Debian's package of it, or npm's own copy."""
UNPACK_WITH_NODE_TAR = """
const tar = require(process.argv[1])
for (const archive of process.argv.slice(2)) {
  try { tar.x({file: archive, cwd: archive + ".out", sync: true}) }
  catch (error) { console.log(archive) }
}
"""


class Reading(NamedTuple):
    """The members of an archive by path: what they contain or point to, and the directories."""

    members: Mapping[str, tuple[str, bytes]]
    directories: frozenset[str]


def read_here(path: Path) -> Reading | None:
    """Return what bundle-fix reads; None if it rejects the archive."""
    try:
        with open_artifact(path) as artifact:
            tree = artifact.tree
            top = tree.top.removeprefix("./").removeprefix(".")
            join: Callable[[str], str] = lambda name: f"{top}/{name}".strip("/")  # noqa: E731
            found = {
                join(name): _describe_node(node)
                for name, node in tree.nodes.items()
                if not isinstance(node, Directory)
            }
            return Reading(found, frozenset(map(join, tree.directories)) - {""})
    except BundleFixError:
        return None


def _describe_node(node: Node) -> tuple[str, bytes]:
    if isinstance(node, File):
        with node.content.open() as reader:
            return "file", b"".join(read_chunks(reader))
    return ("link", os.fsencode(node.target)) if isinstance(node, Symlink) else ("special", b"")


def unpack_all(program: str, archives: Sequence[Path]) -> list[Reading]:
    """Unpack archives with a program, all in one process of a shell; return what is on the disk."""
    for archive in archives:
        Path(f"{archive}.out").mkdir()
    script = f"for archive; do {COMMANDS[program]} || :; done"
    command = ["sh", "-c", script, "sh", *map(str, archives)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(command, capture_output=True, check=False, timeout=300, env=environment)
    return [_take_directory(Path(f"{archive}.out")) for archive in archives]


def find_node_tar() -> Path | None:
    """Return the directory of node-tar; None if it or Node.js is not installed."""
    return next((path for path in NODE_TAR if path.is_dir() and shutil.which("node")), None)


def unpack_with_node_tar(node_tar: Path, archives: Sequence[Path]) -> list[Reading | None]:
    """Unpack archives with node-tar; None stands for an archive that it rejects."""
    for archive in archives:
        Path(f"{archive}.out").mkdir()
    command = ["node", "-e", UNPACK_WITH_NODE_TAR, *map(str, (node_tar, *archives))]
    # Only Debian's own Node.js looks for the other modules of Debian beside this one.
    environment = {**os.environ, "NODE_PATH": str(node_tar.parent)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, env=environment
    )
    rejected = set(done.stdout.splitlines())
    readings = [_take_directory(Path(f"{archive}.out")) for archive in archives]
    return [
        None if str(archive) in rejected else reading
        for archive, reading in zip(archives, readings, strict=True)
    ]


def _take_directory(root: Path) -> Reading:
    """Return the contents of a directory and remove it."""
    found, directories = {}, set()
    for parent, names, files in os.walk(root):
        for name in names + files:
            path = Path(parent, name)
            inner, mode = str(path.relative_to(root)), path.lstat().st_mode
            if stat.S_ISDIR(mode):
                directories.add(inner)
            elif stat.S_ISLNK(mode):
                found[inner] = "link", os.readlink(os.fsencode(path))  # noqa: PTH115 (unchanged)
            else:
                is_file = stat.S_ISREG(mode)
                found[inner] = ("file", path.read_bytes()) if is_file else ("special", b"")
    shutil.rmtree(root)
    return Reading(found, frozenset(directories))


def unpack_with_tarfile(archive: Path) -> Reading:
    """Return what Python's tarfile unpacks."""
    root = Path(f"{archive}.out")
    with tarfile.open(archive) as file:
        file.extraction_filter = staticmethod(lambda member, _path: member)
        file.extractall(root)  # noqa: S202 (no name of an accepted archive leaves the directory)
    return _take_directory(root)


def read_with_zipfile(archive: Path) -> Reading:
    """Return what Python's zipfile reads; it unpacks symlinks as text files."""
    with zipfile.ZipFile(archive) as file:
        found = {
            os.path.normpath(info.filename): ("file", file.read(info))
            for info in file.infolist()
            if not info.is_dir()
        }
        directories = {os.path.normpath(i.filename) for i in file.infolist() if i.is_dir()}
    return Reading(found, frozenset(directories))
