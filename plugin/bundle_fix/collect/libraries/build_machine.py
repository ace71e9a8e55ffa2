"""The machine that a pack is made on, and the places in which its builds find libraries."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import build_bundle
from bundle_fix.loader.hosts.files import MACHINE, DirectoryFiles, HidingFiles, LayeredFiles
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.view import UNKNOWN_PLACE, View
from bundle_fix.loader.objects import LoadedObject, ProcessContext
from bundle_fix.model.content import PathContent
from bundle_fix.model.tree import Tree


class LibrarySources(Struct, frozen=True):
    """The places in which a build finds libraries.

    Attributes:
        directories: searched in order after the `search` of the spec; the first copy is used.
        sysroot: the root file system of the target. It is searched instead of this machine's
            default directories, and paths in RPATHs and RUNPATHs lead into it.
        built: the files that the build linked; their RUNPATHs lead to libraries, but installed
            copies may lack them.
    """

    directories: tuple[Path, ...] = ()
    sysroot: Path | None = None
    built: tuple[Path, ...] = ()


class BuildMachine(Struct, frozen=True):
    """This machine as the loader sees it, without the directories for its processor.

    A library from ``glibc-hwcaps`` for this processor may not run on the target.

    Attributes:
        view: the files that paths in objects lead to.
        system_view: the files in whose default directories libraries are searched.
        host: the loader and the cache of ``system_view``.
        root: the directory that relative needed paths start from.
        sources: where the build finds libraries.
        environment: the environment of its processes.
    """

    view: View
    system_view: View
    host: RealHost
    root: Path
    sources: LibrarySources
    environment: Environment = EMPTY_ENVIRONMENT

    def resolve_name(self, name: str) -> str:
        """Return the needed name to search for; a relative path starts at the root of the build.

        If a library has no soname, ld(1) stores the path from its command line as DT_NEEDED.
        """
        is_relative = "/" in name and not name.startswith(("/", "$"))
        return str(self.root / name) if is_relative else name

    def create_context(self, main: LoadedObject) -> ProcessContext:
        """Return the process of ``main``, which must have an image."""
        assert main.image is not None  # noqa: S101 (main objects are ELF files)
        found = self.host.find_loader(self.system_view, main.image)
        loader = replace(found, subdirectories=(), hwcaps=())
        return ProcessContext(self.view, self.host, loader, self.environment, main, secure=False)

    def create_system_context(self, context: ProcessContext) -> ProcessContext:
        """Return a process that sees only the files with the default directories."""
        if self.sources.sysroot is None:
            return context
        return replace(context, view=self.system_view)

    def locate(self, found: LoadedObject) -> Path:
        """Return the path on this machine of a file that was found; symlinks stay in a sysroot."""
        assert found.path is not None  # noqa: S101 (a file that was found has a path)
        if self.sources.sysroot is None or self.view.host is None:
            return Path(found.path)
        content = self.view.host.find_content(found.real_path or found.path)
        return content.path if isinstance(content, PathContent) else Path(found.path)


def create_build_machine(
    root: Path,
    removed: frozenset[str] = frozenset(),
    sources: LibrarySources = LibrarySources(),  # noqa: B008 (frozen)
) -> BuildMachine:
    """Return this machine without the files ``removed``; relative needed paths start at ``root``.

    The working directory of a process is unknown, so RUNPATH entries like ``.`` match nothing.
    """
    if sources.sysroot is None:
        files = HidingFiles(MACHINE, removed)
        view = View(build_bundle(Tree({}), {}), UNKNOWN_PLACE, files)
        host = RealHost(files, UNKNOWN_PLACE, level="baseline", running=True)
        return BuildMachine(view, view, host, root, sources)
    system = DirectoryFiles(sources.sysroot)
    # CMake writes RPATHs without the sysroot (cmComputeLinkInformation::GetRPath); $ORIGIN is a
    # directory of this machine.
    layered = HidingFiles(LayeredFiles((system, MACHINE)), removed)
    host = RealHost(system, UNKNOWN_PLACE, level="baseline")
    empty = build_bundle(Tree({}), {})
    return BuildMachine(
        View(empty, UNKNOWN_PLACE, layered), View(empty, UNKNOWN_PLACE, system), host, root, sources
    )
