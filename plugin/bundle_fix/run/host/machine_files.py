"""Files of this machine that a decoy host has: C library, programs, expected libraries."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import map_plugins, map_programs
from bundle_fix.loader.hosts.files import MACHINE
from bundle_fix.loader.hosts.libc import LOADER_NAME, is_part_of_libc
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.rtld import Loader
from bundle_fix.loader.hosts.view import UNKNOWN_PLACE, View
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.tree import File, Metadata, Tree

SHELL = Path("/bin/sh")
PATH_FILE = re.compile(r"ld-musl-.*\.path")
MODE = Metadata(0o755)
PROGRAMS = (
    "sh", "bash", "env", "true", "false", "test", "cat", "basename", "dirname", "readlink",
    "realpath", "uname", "id", "ls", "mkdir", "rm", "cp", "mv", "ln", "chmod", "touch", "sed",
    "grep", "cut", "tr", "head", "tail", "sort", "wc", "date", "expr", "sleep", "mktemp",
)  # fmt: skip
"""Programs that shell scripts expect on every machine."""


class HostLibraries(Struct, frozen=True):
    """The libraries outside a pack that its objects need.

    Attributes:
        expected: the name and the file on this machine of each that every target has.
        others: the names of all others, which a decoy host has as decoys.
    """

    expected: Mapping[str, str]
    others: frozenset[str]


def find_host_libraries(bundle: Bundle, provides: tuple[str, ...]) -> HostLibraries:
    """Return the libraries outside a pack that its programs and plugins need on this machine.

    Args:
        bundle: the pack.
        provides: patterns of names that every target has; their own needs are expected as well.
    """
    deployment = Deployment(bundle, RealHost(MACHINE, UNKNOWN_PLACE, running=True))
    programs = map_programs(deployment)
    expected: dict[str, str] = {}
    others: set[str] = set()
    for process in (*programs.values(), *map_plugins(deployment, programs).values()):
        for loaded in process.objects:
            name = posixpath.basename(loaded.name)
            if loaded.origin is ObjectOrigin.BUNDLE or is_part_of_libc(name):
                continue
            if loaded.real_path is not None and _is_expected(loaded, provides):
                expected[name] = loaded.real_path
            else:
                others.add(name)
    return HostLibraries(expected, frozenset(others - expected.keys()))


def _is_expected(loaded: LoadedObject, provides: tuple[str, ...]) -> bool:
    chain = (o for o in loaded.walk_load_chain() if o.origin is ObjectOrigin.HOST)
    return any(matches_any(posixpath.basename(o.name), provides) for o in chain)


def group_images(bundle: Bundle) -> list[list[Image]]:
    """Return one image of each interpreter that a pack uses, grouped by architecture.

    This machine's shell is among them: `PROGRAMS` need its C library.
    """
    found: dict[object, dict[str | None, Image]] = {}
    shell = read_image_at(SHELL) if SHELL.exists() else None
    for image in (*bundle.images.values(), *([shell] if shell else [])):
        if image.is_dynamic:
            found.setdefault(image.architecture, {}).setdefault(image.interpreter, image)
    return [list(images.values()) for images in found.values()]


def find_loaders(bundle: Bundle, images: Iterable[Image]) -> list[Loader]:
    """Return this machine's loader of each image."""
    view = View(bundle, UNKNOWN_PLACE, MACHINE)
    machine = RealHost(MACHINE, UNKNOWN_PLACE, running=True)
    return [machine.find_loader(view, image) for image in images]


def copy_file(path: str, root: Path, name: str = "") -> None:
    """Copy a file of this machine to the same place below ``root``, with the same symlinks.

    Args:
        path: an absolute path.
        root: the root directory of the decoy host.
        name: the file name of the copy, if it is another one.
    """
    target = mirror_directory(posixpath.dirname(path), root) / (name or posixpath.basename(path))
    if not target.exists():
        shutil.copy(path, target)


def mirror_directory(path: str, root: Path) -> Path:
    """Create the directory ``path`` of this machine below ``root``, and symlinks on the way.

    ``/lib`` is often a symlink to ``/usr/lib``.
    """
    prefix = ""
    for part in path.strip("/").split("/"):
        prefix = f"{prefix}/{part}"
        copy = root / prefix.lstrip("/")
        if os.path.islink(prefix) and not os.path.lexists(copy):  # noqa: PTH114
            mirror_directory(posixpath.dirname(prefix), root)
            copy.symlink_to(os.readlink(prefix))  # noqa: PTH115
    real = root / os.path.realpath(path).lstrip("/")
    real.mkdir(parents=True, exist_ok=True)
    return real


def copy_libc(directories: Iterable[str], interpreters: Iterable[str], root: Path) -> None:
    """Copy the parts of this machine's C libraries, and the loaders with their paths."""
    for directory in directories:
        for name in MACHINE.list_names(directory):
            path = posixpath.join(directory, name)
            if is_part_of_libc(name) and os.path.isfile(path):  # noqa: PTH113
                copy_file(path, root)
    # The directories that musl's loader searches (ldso/dynlink.c).
    path_files = [f"/etc/{name}" for name in MACHINE.list_names("/etc") if PATH_FILE.match(name)]
    for path in (*interpreters, *path_files):
        if os.path.isfile(path):  # noqa: PTH113
            copy_file(path, root)


def copy_programs(root: Path, decoys: frozenset[str]) -> None:
    """Copy `PROGRAMS` and their libraries, except programs that need a library with a decoy."""
    paths = [p for name in PROGRAMS if (p := shutil.which(name, path="/bin:/usr/bin"))]
    libraries = _map_programs_of_machine(paths)
    for path in paths:
        own = {n: f for n, f in libraries[path].items() if not is_part_of_libc(n)}
        if decoys.isdisjoint(own):
            copy_file(path, root)
            for name, file in own.items():
                copy_file(file, root, name)


def copy_strace(directory: Path) -> str:
    """Copy strace(1) with all its libraries into one new directory.

    Returns:
        The file name of its loader in the directory.

    Raises:
        BundleFixError: strace is not installed.
    """
    path = shutil.which("strace")
    if path is None:
        raise BundleFixError("--strace requires strace(1)", hint="install the package strace")
    directory.mkdir()
    shutil.copy(path, directory / "strace")
    libraries = _map_programs_of_machine([path])[path]
    for name, file in libraries.items():
        shutil.copy(file, directory / name)
    loader = next((name for name in libraries if LOADER_NAME.fullmatch(name)), None)
    if loader is None:
        raise BundleFixError("cannot find the loader of strace", where=path)
    return loader


def _map_programs_of_machine(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the libraries of programs of this machine: the file by name, by program."""
    members = {path: os.path.realpath(path).strip("/") for path in paths}
    nodes = {
        member: File(PathContent(Path("/", member), Path("/", member).stat().st_size), MODE)
        for member in members.values()
    }
    bundle = read_bundle(Tree(nodes), "/")
    deployment = Deployment(bundle, RealHost(MACHINE, "/", running=True))
    return {
        path: {
            posixpath.basename(loaded.name): loaded.real_path
            for loaded in deployment.map_process(member).objects
            if loaded.origin is ObjectOrigin.HOST and loaded.real_path
        }
        if member in bundle.images
        else {}
        for path, member in members.items()
    }
