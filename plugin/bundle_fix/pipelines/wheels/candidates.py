"""The platforms that a wheel may get, each with the libraries that it would bundle."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.directory import write_directory
from bundle_fix.archive.wheel import WheelName
from bundle_fix.collect.libraries.build_machine import BuildMachine, create_build_machine
from bundle_fix.collect.libraries.closure import ClosureRules, add_needed_libraries
from bundle_fix.collect.libraries.link_names import add_library
from bundle_fix.collect.pack_builder import Origin, PackBuilder
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.loader.hosts.host import Environment
from bundle_fix.loader.hosts.libc import Libc, is_part_of_libc
from bundle_fix.loader.hosts.rtld import find_linked_libc
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, Node, Tree
from bundle_fix.plan.verify import predict_edits
from bundle_fix.plan.wheels.platforms import (
    ARCHITECTURES,
    KINDS,
    Platform,
    find_obstacles,
    list_platforms,
    read_requirements,
)

LIBPYTHON = re.compile(r"libpython\d[\w.]*\.so[\d.]*")
"""Sonames of Python: a wheel must not need them, as the interpreter provides it (PEP 513)."""
MUSL_LIBC = "libc.musl-*.so.1"
"""The file of musl in /lib, on the distributions that are built with it."""


class WheelContents(Struct, frozen=True):
    """A wheel to repair.

    Attributes:
        name: its file name.
        bundle: its files, with the images of the objects for its architecture, as if ``edits`` were
            made.
        originals: the images of these objects as they are.
        libc: the C library that its objects need.
        architecture: the architecture in its tags.
        edits: the needed names of Python to remove, by path.
    """

    name: WheelName
    bundle: Bundle
    originals: Mapping[str, Image]
    libc: Libc
    architecture: str
    edits: Mapping[str, Changes]


class Candidate(Struct, frozen=True):
    """A platform with what a wheel would bundle for it.

    Attributes:
        platform: the platform.
        bundle: the wheel with the bundled libraries and their symlinks.
        origins: the added paths with their origins.
        obstacles: why the wheel cannot have the platform's tag; empty if it can.
    """

    platform: Platform
    bundle: Bundle
    origins: Mapping[str, Origin]
    obstacles: tuple[str, ...]

    @property
    def libraries(self) -> tuple[str, ...]:
        """The paths of the bundled libraries."""
        return tuple(path for path in self.origins if path in self.bundle.images)


def select_objects(name: WheelName, bundle: Bundle) -> WheelContents:
    """Return a wheel with only the objects for the architecture of its tags.

    Raises:
        BundleFixError: it contains no objects, or they do not show the platform.
    """
    known = {
        path: ARCHITECTURES.get(i.architecture, i.machine) for path, i in bundle.images.items()
    }
    dynamic = {known[path] for path, image in bundle.images.items() if image.is_dynamic}
    tagged = {a for a in dynamic if any(tag.endswith(f"_{a}") for tag in name.platforms)}
    found = tagged or dynamic
    if len(found) != 1:
        text = f"objects for {', '.join(sorted(found))}" if found else "no objects for Linux"
        raise BundleFixError(
            f"the wheel contains {text}, and {name.platform} does not say which platform it is for",
            hint="a wheel without compiled code needs no repair" if not found
            else "build a wheel for one architecture",
        )  # fmt: skip
    (architecture,) = found
    images = {p: i for p, i in bundle.images.items() if known[p] == architecture}
    libcs = {linked.libc for i in images.values() if (linked := find_linked_libc(i)) is not None}
    tagged_libcs = {libc for libc, kind in KINDS.items() if name.platform.startswith(kind)}
    if len(tagged_libcs or libcs) > 1:
        raise BundleFixError(
            "the wheel contains objects for glibc and for musl",
            hint="build a wheel for one C library",
        )
    libc = next(iter(tagged_libcs or libcs), Libc.GLIBC)
    edits = {
        path: Changes(remove_needed=names)
        for path, image in images.items()
        if image.is_library and (names := tuple(filter(LIBPYTHON.fullmatch, image.needed)))
    }
    selected = predict_edits(build_bundle(bundle.tree, images), edits)
    return WheelContents(name, selected, images, libc, architecture, edits)


def find_candidates(
    wheel: WheelContents, scratch: Path, provided: Sequence[str], included: Sequence[str]
) -> Iterator[Candidate]:
    """Yield the platforms of the wheel's C library and architecture, the oldest target first.

    Args:
        wheel: the wheel; its contents must be open.
        scratch: an empty directory for its objects: their RPATHs are followed from there.
        provided: patterns of libraries that the target provides.
        included: names of libraries, or paths of files, to bundle although no object needs them.

    Raises:
        BundleFixError: a library is not found on this machine.
    """
    _ensure_includable(included)
    objects = {path: wheel.bundle.tree.nodes[path] for path in wheel.bundle.images}
    write_directory(Tree(objects), scratch)
    library_path = os.environ.get("LD_LIBRARY_PATH", "")
    machine = replace(create_build_machine(scratch), environment=Environment(library_path))
    platforms = list_platforms(wheel.libc, wheel.architecture)
    if wheel.libc is Libc.MUSL:
        platforms = _select_musl_version(platforms)
    if not platforms:
        kind = KINDS[wheel.libc]
        raise BundleFixError(f"there are no {kind} tags for {wheel.architecture}")
    completed: dict[frozenset[str], PackBuilder] = {}
    for platform in platforms:
        builder = completed.get(platform.libraries)
        if builder is None:
            builder = _complete(wheel, platform, scratch, machine, provided, included)
            completed[platform.libraries] = builder
        yield _make_candidate(wheel, platform, builder, provided)


def _ensure_includable(included: Sequence[str]) -> None:
    """Raise `BundleFixError` if a file is missing, or a name is a part of the C library."""
    for name in included:
        if "/" in name and not Path(name).is_file():
            raise BundleFixError("no such file", where=f"--include {name}")
        if is_part_of_libc(posixpath.basename(name)):
            raise BundleFixError(
                "a part of the C library cannot be bundled", where=f"--include {name}",
                hint="omit it: every target has it",
            )  # fmt: skip


def _select_musl_version(platforms: Sequence[Platform]) -> tuple[Platform, ...]:
    """Return the platform of this machine's musl, or that of the newest known version.

    musl has no symbol versions, so an object does not show which version it needs: it is built
    with the musl of the machine, and runs with this and later versions (PEP 656).
    """
    loaders = sorted(Path("/lib").glob(MUSL_LIBC))
    for loader in loaders[:1]:
        done = subprocess.run([loader], stderr=subprocess.PIPE, text=True, check=False)
        version = re.search(r"^Version (\d+)\.(\d+)", done.stderr, re.MULTILINE)
        prefix = f"musllinux_{version[1]}_{version[2]}_" if version else ""
        if found := [p for p in platforms if prefix and p.name.startswith(prefix)]:
            return tuple(found)
    return tuple(platforms[-1:])


def _complete(
    wheel: WheelContents,
    platform: Platform,
    scratch: Path,
    machine: BuildMachine,
    provided: Sequence[str],
    included: Sequence[str],
) -> PackBuilder:
    """Return the wheel with the libraries that targets of ``platform`` may not have."""
    tree = wheel.bundle.tree
    nodes: dict[str, Node] = {p: n for p, n in tree.nodes.items() if not isinstance(n, Directory)}
    origins = {path: Origin(scratch / path, path) for path in wheel.bundle.images}
    builder = PackBuilder(scratch, nodes, dict(wheel.bundle.images), origins)
    directory = f"{wheel.name.distribution}.libs"
    for path in included:
        if "/" in path:
            add_library(builder, Path(path), directory, "--include", "--include")
    names = tuple(name for name in included if "/" not in name)
    # Names of the C library's parts that the platform lacks are accepted here, and reported by
    # `find_obstacles`.
    host = (*platform.libraries.difference(names), *provided)
    rules = ClosureRules(("*",), (), host, names, directory, str(wheel.name), None)
    try:
        add_needed_libraries(builder, rules, machine)
    except BundleFixError as error:
        errors = getattr(error, "errors", (error,))
        raise BundleFixError(
            "\n".join(e.message for e in errors), where=str(wheel.name),
            hint="install the library, add its directory to LD_LIBRARY_PATH, or give"
            " --host-provides NAME if the target has it",
        ) from None  # fmt: skip
    return builder


def _make_candidate(
    wheel: WheelContents, platform: Platform, builder: PackBuilder, provided: Sequence[str]
) -> Candidate:
    bundle = build_bundle(replace(wheel.bundle.tree, nodes=builder.nodes), builder.images)
    added = {p: o for p, o in builder.origins.items() if p not in wheel.bundle.tree.nodes}
    objects = [path for path, image in bundle.images.items() if image.is_dynamic]
    requirements = read_requirements(bundle, objects, platform.forbidden.keys())
    obstacles = tuple(find_obstacles(platform, requirements, provided))
    return Candidate(platform, bundle, added, obstacles)


def choose_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """Return the platform with the fewest bundled libraries, and of these the oldest.

    A library that is left to the target gets its security updates.

    Raises:
        BundleFixError: the wheel cannot have any of the tags.
    """
    fewest = min(len(candidate.libraries) for candidate in candidates)
    for candidate in candidates:
        if len(candidate.libraries) == fewest and not candidate.obstacles:
            return candidate
    newest = candidates[-1]
    raise BundleFixError(
        f"no tag fits the wheel: for {newest.platform.name}, {'; '.join(newest.obstacles)}",
        hint="build it on an older system, and without options such as -march",
    )


def find_given_name(included: Sequence[str], path: str, soname: str | None) -> str:
    """Return the file name of a bundled library that keeps its name."""
    names = [posixpath.basename(name) for name in included]
    own = posixpath.basename(path)
    return own if own in names else soname or own
