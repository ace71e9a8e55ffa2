"""What the objects of a pack need that nothing in it provides, and the way that leads there.

The pack is walked as a loader would, from each program on, but over the files that its objects were
copied from: `$ORIGIN` and an inherited RPATH mean what they meant on the build machine.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.collect.collection import Origin
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.loader.hosts.files import UNKNOWN_PLACE, DirectoryFiles, HidingFiles, View
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.rtld import MUSL
from bundle_fix.loader.objects import HOST, LoadedObject, ProcessContext
from bundle_fix.loader.process import MUSL_BUILTIN_PREFIXES
from bundle_fix.loader.search.dependencies import DependencyKind, read_dependencies
from bundle_fix.model.tree import Tree

MAX_CHAINS = 3
"""Ways to one name that an error tells in full."""


class Want(Struct, frozen=True, eq=False):
    """A name that an object of the pack asks for and nothing in the pack provides.

    Attributes:
        name: the name, without the folders of the build where it was needed by its path.
        asked: the name as it stands in the file, a path as an absolute one.
        requester: the file that the object was copied from, with what loaded it.
        setting: the process of the build machine that it is in.
        chain: the paths in the pack from the entry to the object.
        program: the program that it is in; empty for what only dlopen(3) maps.
    """

    name: str
    asked: str
    requester: LoadedObject
    setting: ProcessContext
    chain: tuple[str, ...]
    program: str

    @property
    def path(self) -> str:
        """The object in the pack that needs it."""
        return self.chain[-1]

    @property
    def is_musls(self) -> bool:
        """Whether musl answers the name with itself."""
        return self.setting.loader.flavour == MUSL and self.name.startswith(MUSL_BUILTIN_PREFIXES)


class BuildMachine(Struct, frozen=True):
    """This machine as the loader of the build sees it, with a processor of no level.

    What its own processor would take from ``glibc-hwcaps`` may not run on the target.
    """

    view: View
    host: RealHost
    root: Path

    def place(self, name: str) -> str:
        """A needed name as it is looked for: a relative path is one in the build's root.

        Linkers write the path of a library without a soname as they were given it.
        """
        is_relative = "/" in name and not name.startswith(("/", "$"))
        return str(self.root / name) if is_relative else name

    def setting(self, main: LoadedObject) -> ProcessContext:
        """The process of ``main``, whose image is known."""
        assert main.image is not None  # noqa: S101 (mains are ELF files)
        loader = replace(self.host.find_loader(self.view, main.image), subfolders=(), hwcaps=())
        return ProcessContext(self.view, self.host, loader, EMPTY_ENVIRONMENT, main, secure=False)


def build_machine(root: Path, gone: frozenset[str] = frozenset()) -> BuildMachine:
    """This machine, without the files ``gone``, where relative needed paths lead from ``root``.

    What a process's working directory would be nobody knows, so RUNPATHs like ``.`` lead nowhere.
    """
    files = HidingFiles(DirectoryFiles(Path("/")), gone)
    view = View(make_bundle(Tree({}), {}), UNKNOWN_PLACE, files)
    host = RealHost(files, UNKNOWN_PLACE, level="baseline", running=True)
    return BuildMachine(view, host, root)


def unmet(
    bundle: Bundle, origins: Mapping[str, Origin], machine: BuildMachine, opened: Sequence[str]
) -> Iterator[Want]:
    """Every name that an object of the pack asks for in vain, in every program that maps it.

    Args:
        bundle: the pack so far.
        origins: for each path in it where it comes from.
        machine: the machine that the pack is made on.
        opened: names that its programs open at run time.
    """
    reached: set[str] = set()
    programs = bundle.list_programs()
    for path in programs:
        yield from _walk(bundle, origins, machine, path, reached, None, opened)
    inherited = _with_rpath(_mapped(path, bundle, origins) for path in programs)
    for path in [p for p in _outermost_first(bundle) if p not in reached]:
        if path in reached:
            continue
        like = bundle.images[path].architecture
        heirs = [m for m in inherited if m.image and m.image.architecture == like]
        for heir in (*heirs, None)[: len(heirs) or 1]:
            names = () if programs else opened
            yield from _walk(bundle, origins, machine, path, reached, heir, names)


def _with_rpath(mains: Iterable[LoadedObject | None]) -> list[LoadedObject]:
    """The programs whose RPATH serves what they open; one of those with the same in one folder."""
    found: dict[object, LoadedObject] = {}
    for main in mains:
        image = main.image if main is not None else None
        if main is not None and image is not None and image.rpath and image.runpath is None:
            found.setdefault((image.rpath, main.directory, image.architecture), main)
    return list(found.values())


def _outermost_first(bundle: Bundle) -> list[str]:
    """All objects, those that no other needs before those that are needed."""
    needed = {name for image in bundle.images.values() for name in image.needed}
    inner = {path for name in needed for path in bundle.paths_by_name.get(posixpath.basename(name), ())}
    return sorted((p for p, i in bundle.images.items() if i.is_dynamic), key=lambda p: p in inner)


def _walk(
    bundle: Bundle,
    origins: Mapping[str, Origin],
    machine: BuildMachine,
    entry: str,
    reached: set[str],
    heir: LoadedObject | None,
    opened: Sequence[str],
) -> Iterator[Want]:
    """The wants of ``entry`` and of what it leads to; ``heir`` is the program that opens it."""
    main = _mapped(entry, bundle, origins, heir)
    if main is None:
        return
    setting = machine.setting(heir or main)
    program = entry if bundle.images[entry].is_program else ""
    queue: deque[tuple[LoadedObject, tuple[str, ...]]] = deque([(main, (entry,))])
    seen = {entry}
    while queue:
        mapped, chain = queue.popleft()
        reached.add(chain[-1])
        asked = [
            wanted.name
            for wanted in read_dependencies(machine.view, mapped, setting.loader.flavour)
            if wanted.kind is not DependencyKind.AUXILIARY
        ]
        for name in (*asked, *(opened if mapped is main else ())):
            base = posixpath.basename(name)
            provided = bundle.find_providers(base, bundle.images[chain[-1]])
            if not provided:
                yield Want(base, machine.place(name), mapped, setting, chain, program)
            for path in provided:
                child = None if path in seen else _mapped(path, bundle, origins, mapped)
                seen.add(path)
                if child is not None:
                    queue.append((child, (*chain, path)))


def _mapped(
    path: str, bundle: Bundle, origins: Mapping[str, Origin], loader: LoadedObject | None = None
) -> LoadedObject | None:
    """The file that an object of the pack was copied from, as the build machine maps it."""
    origin, image = origins[path], bundle.images[path]
    if origin.source is None or not image.is_dynamic:
        return None
    real = str(origin.source)
    home = posixpath.dirname(real if image.is_program else str(origin.found or real))
    return LoadedObject(
        image.soname or posixpath.basename(real), real, HOST, "loaded", directory=home, image=image,
        loaded_by=loader, real_path=real,
    )  # fmt: skip


def chains(wants: Sequence[Want]) -> str:
    """The ways to one name, one for each entry: ``bin/server → lib/libA.so.1 → libB.so.2``."""
    by_entry: dict[str, Want] = {}
    for want in wants:
        by_entry.setdefault(want.chain[0], want)
    told = [" → ".join((*want.chain, want.name)) for want in by_entry.values()]
    more = len(told) - MAX_CHAINS
    return "; ".join(told[:MAX_CHAINS]) + (f"; and {more} more ways" if more > 0 else "")
