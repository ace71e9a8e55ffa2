"""The context of a check: a bundle, its processes on a target, and the user's policy."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from msgspec import Struct, field

from bundle_fix.archive.wheel import is_wheel
from bundle_fix.check.facts.allocators import MemoryProviders, find_memory_providers
from bundle_fix.check.facts.file_facts import FactCache, FileFacts
from bundle_fix.check.facts.library_tables import is_optional_plugin
from bundle_fix.check.facts.openers import Openers, Reach
from bundle_fix.check.facts.packages.dependencies import (
    find_package_of_library,
    read_dependencies,
)
from bundle_fix.check.facts.packages.imports import (
    LoadedNames,
    find_imported_names,
    is_imported_before,
)
from bundle_fix.check.facts.packages.optional_modules import find_optional_modules
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.scan.debug_info import is_debug_only
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.dlopen import (
    DlopenFeature,
    find_library_name_strings,
    imports_dlopen,
    read_dlopen_notes,
)
from bundle_fix.loader.entry_points import group_names_by_path, map_plugins, map_programs
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment, Host
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.manifest.model import Manifest, read_manifest
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.tree import InstallLocation
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity

T = TypeVar("T")


class Context(Struct, frozen=True, dict=True):
    """A bundle on a target, and facts about it that several rules use, each computed once.

    Attributes:
        bundle: the bundle; its contents must be open.
        policy: the user's statements about the pack and its target.
        host: the target.
        environment: the environment in which processes are started there.
        only: the path of the file to check; None for all files.
        known_facts: the facts of earlier checks of the same contents.
    """

    bundle: Bundle
    policy: CheckPolicy
    host: Host
    environment: Environment = EMPTY_ENVIRONMENT
    only: str | None = None
    known_facts: FactCache = field(default_factory=dict)

    @cached_property
    def deployment(self) -> Deployment:
        """The bundle on the target."""
        return Deployment(self.bundle, self.host, self.environment)

    @cached_property
    def facts(self) -> FileFacts:
        """The facts about the files of the bundle and of the target."""
        return FileFacts(self.deployment.view, self.known_facts)

    @cached_property
    def manifest(self) -> Manifest | BundleFixError | None:
        """The manifest of the pack, or the error if it is invalid; None if there is none.

        It is also None if a single file is checked, because the manifest lists all files.
        """
        try:
            return read_manifest(self.bundle.tree) if self.only is None else None
        except BundleFixError as error:
            return error

    @cached_property
    def is_wheel(self) -> bool:
        """Whether the artifact is a wheel."""
        return is_wheel(self.bundle.tree)

    @cached_property
    def package_dependencies(self) -> tuple[str, ...]:
        """The packages that the artifact depends on, as its metadata says."""
        return read_dependencies(self.bundle.tree)

    def find_dependency_of_library(self, name: str) -> str | None:
        """Return the package that the artifact depends on and that contains a library, or None."""
        return find_package_of_library(name, self.package_dependencies)

    def is_brought_by_dependency(self, loaded: LoadedObject) -> bool:
        """Return whether an object of the host comes with a package that the artifact depends on.

        It is then the copy for which the artifact was built.
        """
        name = posixpath.basename(loaded.name)
        is_on_host = loaded.origin is ObjectOrigin.HOST
        return is_on_host and self.find_dependency_of_library(name) is not None

    @cached_property
    def libraries(self) -> tuple[str, ...]:
        """The paths of the shared libraries to check."""
        return tuple(p for p in self.bundle.list_libraries() if self.only in (None, p))

    @cached_property
    def static_programs(self) -> tuple[str, ...]:
        """The paths of the static programs to check, which load no libraries."""
        images = self.bundle.images.items()
        return tuple(
            path
            for path, image in images
            if image.is_static_program
            and self.only in (None, path)
            and not self.facts.read_fact(path, is_debug_only)
        )

    @cached_property
    def programs(self) -> Mapping[str, Process]:
        """The process of each program, by its path."""
        return map_programs(self.deployment, self.only)

    @cached_property
    def loaded_at_start(self) -> frozenset[str]:
        """The files of the pack that a program loads when it starts."""
        return frozenset(
            o.path or "" for p in self.programs.values() for o in p.list_bundled_objects()
        )

    @cached_property
    def plugins(self) -> Mapping[str, Process]:
        """The process of each library that only dlopen(3) loads, mapped alone, by its path."""
        return map_plugins(self.deployment, self.programs, self.only)

    @cached_property
    def resolutions_by_object(self) -> Mapping[str, tuple[Resolution, ...]]:
        """The resolved needed names of each object, by its path, in all processes that load it."""
        found: dict[str, list[Resolution]] = {}
        for process in (*self.programs.values(), *self.plugins.values()):
            for need in process.resolutions:
                found.setdefault(need.requester.path or "", []).append(need)
        return {path: tuple(needs) for path, needs in found.items()}

    @cached_property
    def memory_providers(self) -> Mapping[str, MemoryProviders]:
        """The objects that provide memory in the process of each program, by the program's path."""
        return {path: find_memory_providers(self.facts, p) for path, p in self.programs.items()}

    @cached_property
    def names_by_library(self) -> Mapping[str, set[str]]:
        """The file names and sonames that lead to each library, by its path."""
        return group_names_by_path(self.bundle)

    @cached_property
    def names_by_stem(self) -> Mapping[str, set[str]]:
        """The names of the pack's libraries by their part before ``.so``."""
        found: dict[str, set[str]] = {}
        for name in self.bundle.paths_by_name:
            found.setdefault(get_library_stem(name), set()).add(name)
        return found

    @cached_property
    def dlopen_notes(self) -> Mapping[str, tuple[DlopenFeature, ...]]:
        """The entries of the ELF dlopen metadata notes (``.note.dlopen``), by the object's path."""
        found = {
            path: self._read_list(path, read_dlopen_notes) for path in self.iter_dynamic_files()
        }
        return {path: tuple(features) for path, features in found.items() if features}

    @cached_property
    def dlopen_importers(self) -> tuple[str, ...]:
        """The paths of the objects that import dlopen."""
        return tuple(
            p for p in self.iter_dynamic_files() if self.facts.read_fact(p, imports_dlopen)
        )

    @cached_property
    def library_strings(self) -> Mapping[str, set[str]]:
        """The library names in the read-only data of objects that import dlopen, by path."""
        found = {
            path: self.facts.read_fact(path, find_library_name_strings)
            for path in self.dlopen_importers
        }
        return {path: names for path, names in found.items() if names}

    def iter_dynamic_files(self) -> Iterator[str]:
        """Yield the paths of the dynamic ELF files to check; the loader ignores all others."""
        images = self.bundle.images.items()
        return (path for path, image in images if image.is_dynamic and self.only in (None, path))

    def _read_list(self, path: str, read: Callable[[Reader, Image], Iterable[T]]) -> list[T]:
        with self.bundle.get_content(path).open() as reader:
            return list(read(reader, self.bundle.images[path]))

    def compute_once(self, compute: Callable[[Context], T]) -> T:
        """Return the result of ``compute`` for this context; it is called once for all rules."""
        if compute not in self._computed:
            self._computed[compute] = compute(self)
        result: T = self._computed[compute]
        return result

    @cached_property
    def _computed(self) -> dict[Callable[[Context], Any], Any]:
        return {}

    def get_libc(self, entry: str) -> Libc:
        """Return the C library of the process of a program or library at the path ``entry``."""
        if entry not in self._libcs:
            image = self.bundle.images[entry]
            self._libcs[entry] = self.host.find_loader(self.deployment.view, image).libc
        return self._libcs[entry]

    @cached_property
    def _libcs(self) -> dict[str, Libc]:
        return {}

    def is_on_host(self, name: str) -> bool:
        """Return whether the target provides ``name``, as far as the target is known."""
        # The first process stands for all: a host library is found in the default directories.
        started = [*self.programs.values(), *self.plugins.values()]
        libc = self.get_libc(started[0].entry) if started else Libc.GLIBC
        if self.host.is_expected(name, libc) or self.host.files is None:
            return self.host.is_expected(name, libc)
        needs = (self.deployment.dlopen(p, name, p.main) for p in started[:1])
        return any(need.result.origin is ObjectOrigin.HOST for need in needs)

    @cached_property
    def openers(self) -> Openers:
        """The processes that open the libraries which only dlopen(3) loads."""
        names = {
            path: self.library_strings.get(path, set())
            | {name for feature in self.dlopen_notes.get(path, ()) for name in feature.sonames}
            for path in {*self.dlopen_importers, *self.dlopen_notes}
        }
        return Openers(
            self.deployment, self.facts, self.programs, self.plugins, names, self.names_by_library
        )

    def get_load_severity(self, path: str) -> Severity:
        """Return the severity of a problem that prevents the object at ``path`` from loading.

        For a plugin, it is an error if the artifact has libraries only, except optional plugins of
        wheels. The programs that use the libraries of a distribution package may be in another one.
        """
        if path in self.loaded_at_start:
            return Severity.ERROR
        is_package = self.bundle.tree.location is InstallLocation.BESIDE_OTHERS
        is_minor = self.programs or is_package or (self.is_wheel and is_optional_plugin(path))
        return Severity.WARNING if is_minor else Severity.ERROR

    def _is_imported_before(self, plugin: str, need: Resolution) -> bool:
        """Return whether the import of a Python package loads a needed name before ``plugin``."""
        image = need.requester.image
        architecture = image.architecture if image is not None else None
        return is_imported_before(self._imported_names, plugin, need.name, architecture)

    @cached_property
    def _imported_names(self) -> LoadedNames:
        return find_imported_names(self.bundle, self.plugins)

    @cached_property
    def resolutions(self) -> tuple[tuple[Severity, Process, Resolution], ...]:
        """The resolved needed names of all processes, programs first, each with its severity.

        The severity is that of a problem with the name. A name that a plugin alone does not find
        in the pack is left out if the process that opens the plugin finds it there, and is an error
        if only objects of the pack open the plugin, and they do not find it.
        """
        found = [
            (Severity.ERROR, p, need) for p in self.programs.values() for need in p.resolutions
        ]
        optional = find_optional_modules(self.bundle, self.plugins, self.known_facts)
        for plugin, process in self.plugins.items():
            for need in process.resolutions:
                is_optional = plugin in optional
                severity = Severity.WARNING if is_optional else self.get_load_severity(plugin)
                if need.result.origin is not ObjectOrigin.BUNDLE:
                    if self._is_imported_before(plugin, need):
                        continue
                    reach = self.openers.find_reach(plugin, need)
                    if reach is Reach.FOUND:
                        continue
                    severity = Severity.ERROR if reach is Reach.LACKED_BY_ALL else severity
                found.append((severity, process, need))
        return tuple(found)
