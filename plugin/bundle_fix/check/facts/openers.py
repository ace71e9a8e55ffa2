"""The processes that open a plugin, and the names that the plugin finds in them.

An object *opens* a plugin if it imports dlopen and contains the plugin's name as a string, or has a
dlopen note for it; so does a program that exports symbols which the plugin uses. Without such an
object, the name may come from a setting: any object that imports dlopen *may open* the plugin,
unless all names in its strings are those of other libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from functools import cached_property

from msgspec import Struct

from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.elf.symbols.symbol_table import UndefinedSymbol
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.dlopen import NAME_PATTERN
from bundle_fix.loader.entry_points import MAX_PROGRAMS
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution


class Reach(Enum):
    """Where a plugin finds a needed name of the pack's that it does not find on its own."""

    FOUND = auto()
    """In the processes that open it."""
    LACKED_BY_ALL = auto()
    """In no process that opens it, and objects of the pack open it."""
    UNKNOWN = auto()
    """In no process that may open it, or not in all that open it."""


class Opener(Struct, frozen=True):
    """A process with an object that opens a plugin."""

    process: Process
    caller: LoadedObject


class Openers(Struct, frozen=True, eq=False, dict=True):
    """The processes of a pack that open its plugins.

    Attributes:
        deployment: the pack on its host.
        facts: the facts about its files.
        programs: the processes of its programs, by path.
        plugins: the process of each library that only dlopen loads, by path.
        names: for each object that imports dlopen, the names of libraries that it contains.
        names_by_library: the names that lead to each library, by its path.
    """

    deployment: Deployment
    facts: FileFacts
    programs: Mapping[str, Process]
    plugins: Mapping[str, Process]
    names: Mapping[str, set[str]]
    names_by_library: Mapping[str, set[str]]

    def find_reach(self, plugin: str, need: Resolution) -> Reach:
        """Return where ``plugin`` finds a needed name that it does not find on its own."""
        like = need.requester.image
        if like is None or not self.deployment.bundle.find_providers(need.name, like):
            return Reach.UNKNOWN
        if openers := self.find_by_name(plugin):
            found = [self._is_found_through(opener, plugin, need) for opener in openers]
            if all(found):
                return Reach.FOUND
            return Reach.UNKNOWN if any(found) else Reach.LACKED_BY_ALL
        by_symbols = self.find_by_symbols(plugin)
        possible = (*by_symbols, *self._list_possible(plugin))
        if any(self._is_found_through(opener, plugin, need) for opener in possible):
            return Reach.FOUND
        return Reach.LACKED_BY_ALL if by_symbols else Reach.UNKNOWN

    def find_by_name(self, plugin: str) -> tuple[Opener, ...]:
        """Return the processes with an object that contains the name of ``plugin``."""
        found: dict[str, Opener] = {}
        for name in sorted(self.names_by_library.get(plugin, ())):
            for opener in self._by_name.get(name, ()):
                if plugin not in (opener.process.entry, opener.caller.path):
                    found.setdefault(opener.process.entry, opener)
        return tuple(found.values())

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[Opener]]:
        """The processes that open a library of the pack, by the name that they contain."""
        known = self.deployment.bundle.paths_by_name.keys()
        names = {path: sorted(found & known) for path, found in self.names.items()}
        by_name: dict[str, list[Opener]] = {}
        for process in self._list_processes():
            for loaded in process.list_bundled_objects():
                for name in names.get(loaded.path or "", ()):
                    by_name.setdefault(name, []).append(Opener(process, loaded))
        return by_name

    def _list_processes(self) -> tuple[Process, ...]:
        """Return the processes of the pack, and of callers that only objects outside it load.

        Such a library is no entry point of the pack if one of its plugins needs it.
        """
        own = (*self.programs.values(), *self.plugins.values())
        loaded = {o.path for process in own for o in process.list_bundled_objects()}
        callers = sorted(path for path, names in self.names.items() if names and path not in loaded)
        return (*own, *map(self.deployment.map_process, callers))

    def find_by_symbols(self, plugin: str) -> tuple[Opener, ...]:
        """Return the programs that export symbols which ``plugin`` uses and does not define."""
        if plugin not in self.plugins:
            return ()
        used = frozenset(symbol.name for symbol in self._list_unversioned_symbols(plugin))
        paths = [path for path, names in self._exports.items() if not names.isdisjoint(used)]
        if paths:
            used = frozenset(symbol.name for symbol in self.list_open_symbols(plugin))
            paths = [path for path in paths if not self._exports[path].isdisjoint(used)]
        openers = [Opener(self.programs[path], self.programs[path].main) for path in paths]
        architecture = self.deployment.bundle.images[plugin].architecture
        images = ((opener, opener.caller.image) for opener in openers)
        return tuple(o for o, image in images if image and image.architecture == architecture)

    @cached_property
    def _exports(self) -> Mapping[str, frozenset[bytes]]:
        """The symbols that programs define for the libraries that they open, by path."""
        found = {path: self.facts.read_exports(path).names for path in self.programs}
        return {path: names for path, names in found.items() if names}

    def list_open_symbols(self, plugin: str) -> tuple[UndefinedSymbol, ...]:
        """Return the symbols that ``plugin`` uses and that none of its own objects defines.

        Weak symbols may stay undefined, and a symbol with a version is one of a known library.
        """
        if plugin not in self._open_symbols:
            symbols = self._list_unversioned_symbols(plugin)
            for loaded in self.plugins[plugin].objects:
                if symbols and loaded.image is not None and loaded.image.is_dynamic:
                    defined = self.facts.read_exports(loaded).names
                    symbols = [symbol for symbol in symbols if symbol.name not in defined]
            self._open_symbols[plugin] = tuple(symbols)
        return self._open_symbols[plugin]

    def _list_unversioned_symbols(self, plugin: str) -> list[UndefinedSymbol]:
        undefined = self.facts.read_undefined_symbols(plugin)
        return [symbol for symbol in undefined if not symbol.weak and symbol.library is None]

    @cached_property
    def _open_symbols(self) -> dict[str, tuple[UndefinedSymbol, ...]]:
        return {}

    def _list_possible(self, plugin: str) -> Iterator[Opener]:
        """Yield the processes that may open ``plugin``: programs, or libraries without any."""
        architecture = self.deployment.bundle.images[plugin].architecture
        for opener in self._possible:
            image = opener.caller.image
            if opener.process.entry != plugin and image and image.architecture == architecture:
                yield opener

    @cached_property
    def _possible(self) -> tuple[Opener, ...]:
        """The first object of each process that opens libraries whose names are not known."""
        callers = {path for path, names in self.names.items() if not names or NAME_PATTERN in names}
        found = []
        for process in (self.programs or self.plugins).values():
            objects = process.list_bundled_objects()
            caller = next((loaded for loaded in objects if loaded.path in callers), None)
            if caller is not None:
                found.append(Opener(process, caller))
        return tuple(found)

    def _is_found_through(self, opener: Opener, plugin: str, need: Resolution) -> bool:
        """Return whether ``plugin`` finds a name if ``opener``, or what opens that, opens it."""
        pending, seen = [opener], {plugin}
        while pending and len(seen) <= MAX_PROGRAMS:
            current = pending.pop()
            if self._is_found_in(current, plugin, need):
                return True
            entry = current.process.entry
            if entry not in seen and entry in self.plugins:
                pending += self.find_by_name(entry) or self._list_possible(entry)
            seen.add(entry)
        return False

    def _is_found_in(self, opener: Opener, plugin: str, need: Resolution) -> bool:
        """Return whether the process of ``opener`` has loaded a name, or its RPATH leads to it."""
        like = need.requester.image
        entry = opener.process.entry
        if like is None or (need.name, like.architecture) in self._get_loaded_names(opener.process):
            return True
        # A DT_RUNPATH disables the RPATHs of the objects above (ld.so(8)).
        chain = [opener.caller, *opener.caller.walk_load_chain(), opener.process.main]
        images = [loaded.image for loaded in chain if loaded.image is not None]
        if like.runpath is not None or not any(i.rpath and i.runpath is None for i in images):
            return False
        key = (entry, opener.caller.label, plugin)
        if key not in self._opened:
            self._opened[key] = self.deployment.dlopen_process(
                opener.process, plugin, opener.caller
            )
        return any(
            (other.requester.path, other.name) == (need.requester.path, need.name)
            and other.result.origin is ObjectOrigin.BUNDLE
            for other in self._opened[key].resolutions
        )

    @cached_property
    def _opened(self) -> dict[tuple[str, str, str], Process]:
        """The objects that dlopen adds, by process, caller and plugin."""
        return {}

    def _get_loaded_names(self, process: Process) -> frozenset[tuple[str, object]]:
        """Return the names and architectures of the pack's objects that a process loads."""
        if process.entry not in self._loaded_names:
            self._loaded_names[process.entry] = frozenset(
                (name, o.image.architecture)
                for o in process.list_bundled_objects()
                if o.image is not None and (o is not process.main or not o.image.is_program)
                for name in (o.name, o.image.soname or o.name)
            )
        return self._loaded_names[process.entry]

    @cached_property
    def _loaded_names(self) -> dict[str, frozenset[tuple[str, object]]]:
        return {}
