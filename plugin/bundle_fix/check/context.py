"""What the rules look at: a bundle, its processes on a host, and what the user expects of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar

from msgspec import Struct

from bundle_fix.check.facts.allocators import MemoryProviders, find_memory_providers
from bundle_fix.check.facts.package_dependencies import read_dependencies
from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.dlopen import (
    DlopenFeature,
    find_library_name_strings,
    imports_dlopen,
    read_dlopen_notes,
)
from bundle_fix.loader.entries import group_names_by_path, map_plugins, map_programs
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment, Host
from bundle_fix.loader.objects import BUNDLE, HOST
from bundle_fix.loader.process import Deployment, Process, Resolution
from bundle_fix.manifest.model import Manifest, read_manifest
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import InstallLocation
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity

T = TypeVar("T")


class Context(Struct, frozen=True, dict=True):
    """A bundle on a host, with all processes that can come of it."""

    bundle: Bundle
    policy: CheckPolicy
    host: Host
    environment: Environment = EMPTY_ENVIRONMENT
    only: str | None = None
    """The one file that is asked about; None for all."""

    @cached_property
    def world(self) -> Deployment:
        """The pack on that host."""
        return Deployment(self.bundle, self.host, self.environment)

    @cached_property
    def facts(self) -> FileFacts:
        """The symbols and versions of the objects of all processes, read when asked about."""
        return FileFacts(self.world.view)

    @cached_property
    def manifest(self) -> Manifest | BundleFixError | None:
        """The pack's own list of what is in it, or why it cannot be read; None where it has none.

        Of a lone file nobody asks whether others are there.
        """
        try:
            return read_manifest(self.bundle.tree) if self.only is None else None
        except BundleFixError as error:
            return error

    @cached_property
    def dependencies(self) -> tuple[str, ...]:
        """The packages that the artifact wants to be installed beside itself."""
        return read_dependencies(self.bundle.tree)

    @cached_property
    def libraries(self) -> tuple[str, ...]:
        """The shared libraries that are asked about."""
        return tuple(p for p in self.bundle.list_libraries() if self.only in (None, p))

    @cached_property
    def programs(self) -> Mapping[str, Process]:
        """The process of every program."""
        return map_programs(self.world, self.only)

    @cached_property
    def mapped(self) -> frozenset[str]:
        """The files of the pack that some program maps when it starts."""
        return frozenset(
            o.path or "" for p in self.programs.values() for o in p.list_bundled_objects()
        )

    @cached_property
    def plugins(self) -> Mapping[str, Process]:
        """What every library maps, by itself, that has to be opened at run time to be mapped."""
        return map_plugins(self.world, self.programs, self.only)

    @cached_property
    def needs_of(self) -> Mapping[str, tuple[Resolution, ...]]:
        """The needs of every object of the pack, in all processes that map it."""
        found: dict[str, list[Resolution]] = {}
        for process in (*self.programs.values(), *self.plugins.values()):
            for need in process.resolutions:
                found.setdefault(need.requester.path or "", []).append(need)
        return {path: tuple(needs) for path, needs in found.items()}

    @cached_property
    def memory_providers(self) -> Mapping[str, MemoryProviders]:
        """Who provides memory in the process of every program."""
        return {path: find_memory_providers(self.facts, p) for path, p in self.programs.items()}

    @cached_property
    def names(self) -> Mapping[str, set[str]]:
        """Every name that leads to each library."""
        return group_names_by_path(self.bundle)

    @cached_property
    def versions(self) -> Mapping[str, set[str]]:
        """The names that lead to libraries of the pack, by what stands before their ``.so``."""
        found: dict[str, set[str]] = {}
        for name in self.bundle.paths_by_name:
            found.setdefault(name.partition(".so")[0], set()).add(name)
        return found

    @cached_property
    def noted(self) -> Mapping[str, tuple[DlopenFeature, ...]]:
        """What the ELF dlopen metadata notes of the pack's objects say."""
        found = {path: self._read(path, read_dlopen_notes) for path in self.dynamic()}
        return {path: tuple(features) for path, features in found.items() if features}

    @cached_property
    def openers(self) -> tuple[str, ...]:
        """The objects that import dlopen."""
        return tuple(p for p in self.dynamic() if self.facts.read_fact(p, imports_dlopen))

    @cached_property
    def carried(self) -> Mapping[str, set[str]]:
        """The names of libraries in the read-only data of objects that import dlopen."""
        found = {
            path: self.facts.read_fact(path, find_library_name_strings) for path in self.openers
        }
        return {path: names for path, names in found.items() if names}

    def dynamic(self) -> Iterator[str]:
        """The files that are asked about and that the loader has to do with."""
        images = self.bundle.images.items()
        return (path for path, image in images if image.is_dynamic and self.only in (None, path))

    def _read(self, path: str, read: Callable[[Reader, Image], Iterable[T]]) -> list[T]:
        with self.bundle.get_content(path).open() as reader:
            return list(read(reader, self.bundle.images[path]))

    def on_host(self, name: str) -> bool:
        """Whether the target has ``name``, as far as is known of it."""
        if self.host.is_expected(name) or self.host.files is None:
            return self.host.is_expected(name)
        started = [*self.programs.values(), *self.plugins.values()]
        needs = (self.world.dlopen(p, name, p.objects[0]) for p in started[:1])
        return any(need.result.origin == HOST for need in needs)

    @cached_property
    def _loaded_names(self) -> frozenset[tuple[str, object]]:
        """Every name under which some program has an object of the pack, with its architecture."""
        return frozenset(
            (name, o.image.architecture)
            for process in self.programs.values()
            for o in process.list_bundled_objects()
            if o.image is not None and o is not process.objects[0]
            for name in (o.name, o.image.soname or o.name)
        )

    @cached_property
    def _programs_with_rpath(self) -> tuple[Process, ...]:
        """The programs whose RPATH serves what they open as well."""
        images = self.bundle.images
        paths = [p for p in self.programs if images[p].rpath and images[p].runpath is None]
        return tuple(self.programs[path] for path in paths)

    @cached_property
    def _by_rpath(self) -> dict[tuple[str, str], bool]:
        return {}

    def _finds_by_rpath(self, program: Process, name: str) -> bool:
        """Whether the RPATH of ``program`` leads to the pack's copy of ``name``."""
        key = (program.entry, name)
        if key not in self._by_rpath:
            found = self.world.dlopen(program, name, program.objects[0]).result
            self._by_rpath[key] = (found.origin, found.via) == (BUNDLE, "rpath")
        return self._by_rpath[key]

    @property
    def consequence(self) -> Severity:
        """How bad it is when a plugin fails: worst where there is nothing but libraries.

        The programs that open a package's libraries may be in another package.
        """
        alone = not self.programs and self.bundle.tree.location is not InstallLocation.BESIDE_OTHERS
        return Severity.ERROR if alone else Severity.WARNING

    @cached_property
    def needs(self) -> tuple[tuple[Severity, Process, Resolution], ...]:
        """Every need of every process with its severity: programs first, then plugins.

        A plugin's need that fails counts only where it fails in every program that could open it.
        """
        found = [
            (Severity.ERROR, p, need) for p in self.programs.values() for need in p.resolutions
        ]
        for plugin, process in self.plugins.items():
            for need in process.resolutions:
                if _is_met(need) or not self._met_in_a_program(plugin, need):
                    found.append((self.consequence, process, need))
        return tuple(found)

    def _met_in_a_program(self, plugin: str, need: Resolution) -> bool:
        """Whether a program that opens ``plugin`` gives it the pack's copy of what it needs."""
        like = need.requester.image
        if like is None or not self.bundle.find_providers(need.name, like):
            return False
        if (need.name, like.architecture) in self._loaded_names:
            return True
        for program in self._programs_with_rpath if like.runpath is None else ():
            same = self.bundle.images[program.entry].architecture == like.architecture
            if same and self._finds_by_rpath(program, need.name):
                opened = self.world.dlopen_process(program, plugin).resolutions
                wanted = (need.requester.path, need.name)
                if any(_is_met(n) and (n.requester.path, n.name) == wanted for n in opened):
                    return True
        return False


def _is_met(need: Resolution) -> bool:
    return need.result.origin == BUNDLE
