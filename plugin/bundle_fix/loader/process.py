"""A process: the objects that the loader maps for one program, in load order.

Sources: glibc's elf/rtld.c, dl_main (the program, then the preloaded objects) and elf/dl-deps.c,
_dl_map_object_deps (needed names breadth first, each object once); musl's ldso/dynlink.c,
load_deps.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.libc import Libc, is_musl_itself
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin, ProcessContext
from bundle_fix.loader.search.dependencies import (
    Dependency,
    DependencyKind,
    list_audit_tags,
    read_dependencies,
)
from bundle_fix.loader.search.order import drop_unexpected_host_copy, search_library
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep
from bundle_fix.model.errors import BundleFixError

MAX_STEPS = 500_000
"""Search steps of one process; a large office suite needs fewer than 20,000."""


class Resolution(Struct, frozen=True):
    """One needed name of one object, and the object that it resolves to.

    ``already_loaded`` if another object had it loaded before. ``trace`` are the search steps, none
    if the name was known.
    """

    requester: LoadedObject
    name: str
    result: LoadedObject
    already_loaded: bool
    trace: tuple[SearchStep, ...] = ()


class Process(Struct, frozen=True):
    """The objects that the loader maps for ``entry``, and the resolution of each needed name.

    ``main`` is the object of ``entry``. ``objects`` is in load order, which is the order of symbol
    lookup as well; filtees of ``main`` come before it. ``remarks`` are warnings of the loader, and
    features that the model does not support.
    """

    entry: str
    main: LoadedObject
    objects: tuple[LoadedObject, ...]
    resolutions: tuple[Resolution, ...]
    remarks: tuple[str, ...] = ()

    def list_bundled_objects(self) -> tuple[LoadedObject, ...]:
        """Return the objects that come from the pack."""
        return tuple(o for o in self.objects if o.origin is ObjectOrigin.BUNDLE)


class ProcessBuilder:
    """A process whose objects are being mapped."""

    def __init__(self, context: ProcessContext) -> None:
        self.context = context
        self.steps = 0
        self.objects: list[LoadedObject] = []
        self.resolutions: list[Resolution] = []
        self.remarks: dict[str, None] = {}
        self.queue: deque[LoadedObject] = deque()
        self.by_name: dict[str, LoadedObject] = {}
        self.by_file: dict[object, LoadedObject] = {}
        self.missing: dict[str, LoadedObject] = {}
        self.interpreter: LoadedObject | None = None
        self.filters: set[tuple[str, str]] = set()

    def start_with(self, objects: Sequence[LoadedObject]) -> None:
        """Start with objects that are mapped; the dependencies of the last one are pending."""
        for loaded in objects:
            self.objects.append(loaded)
            self._index_object(loaded)
        self.queue.extend(objects[-1:])
        self._add_interpreter()

    def _add_interpreter(self) -> None:
        """Add the interpreter, which the kernel maps.

        It is an object of the link map at once, but in load order only when an object needs it
        (elf/rtld.c, dl_main).
        """
        context, main = self.context, self.context.main
        is_program = main.image is not None and main.image.is_program
        path = main.image.interpreter if main.image is not None and is_program else None
        is_musl = context.loader.libc is Libc.MUSL
        if is_musl or (path is None and context.view.host is not None):
            # A library without a program is mapped as `ld.so LIBRARY` does: by a loader. musl is
            # known by the path of the loader that gcompat starts.
            path = context.loader.path
        if path is None or not path.startswith("/"):
            return
        step = SearchStep(path, SearchRule.LOADED, Outcome.MAIN_INTERPRETER)
        real = context.view.resolve_path(path)
        found = context.view.find_image(real) if isinstance(real, str) else None
        is_expected = context.host.is_expected(path, context.loader.libc)
        if context.view.host is not None and not is_expected and not isinstance(found, Image):
            if not is_program:
                return
            self._add_missing_interpreter(path, replace(step, outcome=Outcome.MISSING_INTERPRETER))
            return
        member = context.view.find_member(real) if isinstance(real, str) else None
        self.interpreter = LoadedObject(
            path, path if member is None else member,
            ObjectOrigin.HOST if member is None else ObjectOrigin.BUNDLE,
            SearchRule.LOADED, main.label, (step,), posixpath.dirname(path),
            found if isinstance(found, Image) else None, main,
            real if isinstance(real, str) else None,
        )  # fmt: skip
        if self.interpreter not in self.objects:
            self._index_object(self.interpreter)
            self.by_name.setdefault(posixpath.basename(path), self.interpreter)

    def _add_missing_interpreter(self, path: str, step: SearchStep) -> None:
        main = self.context.main
        missing = LoadedObject(
            path, None, ObjectOrigin.MISSING, SearchRule.DIRECT, main.label, (step,),
            loaded_by=main,
        )  # fmt: skip
        self.objects.append(missing)
        self.resolutions.append(
            Resolution(main, path, missing, already_loaded=False, trace=(step,))
        )

    def preload_libraries(self) -> None:
        """Map the libraries of LD_PRELOAD and ld.so.preload; a missing one is only a remark."""
        context = self.context
        names: list[str] = []
        requester = context.main
        if context.loader.libc is Libc.MUSL:
            # musl reads no ld.so.preload, and searches without the entries of the program
            # (load_preload).
            requester = requester.hide_search_path()
        else:
            names += context.host.list_preloads(context.view)
        text = context.environment.preload
        if text and context.secure:
            self._add_remark("LD_PRELOAD is ignored: the program is privileged")
        elif text:
            names = [*text.replace(":", " ").split(), *names]
        # gcompat passes --preload, which replaces LD_PRELOAD.
        names = [*context.loader.preloads] or names
        for name in names:
            resolution = self.resolve_name(name, requester)
            if resolution.result.origin is ObjectOrigin.MISSING:
                self._add_remark(f"preloaded library {name} is missing and is ignored")
            elif not resolution.already_loaded:
                preloaded = replace(resolution.result, via=SearchRule.PRELOAD)
                self._add_object(preloaded, len(self.objects))

    def open_library(self, name: str, requester: LoadedObject) -> None:
        """Map a library that ``requester`` opens; a missing one is ignored."""
        resolution = self.resolve_name(name, requester)
        if not resolution.already_loaded and resolution.result.origin is not ObjectOrigin.MISSING:
            self._add_object(resolution.result, len(self.objects))

    def load_dependencies(self) -> None:
        """Resolve and map the dependencies of all pending objects, breadth first."""
        libc = self.context.loader.libc
        while self.queue:
            requester = self.queue.popleft()
            for tag in list_audit_tags(requester):
                self._add_remark(f"{requester.label}: {tag} is not followed")
            filtees: list[LoadedObject] = []
            for dependency in read_dependencies(self.context.view, requester, libc):
                self._load_dependency(dependency, requester, filtees)
            # Filtees are looked up before the filter, and their own dependencies come next
            # (elf/dl-deps.c).
            pending = [o for o in self.queue if not any(o is filtee for filtee in filtees)]
            self.queue = deque([*filtees, *pending])

    def _load_dependency(
        self, dependency: Dependency, requester: LoadedObject, filtees: list[LoadedObject]
    ) -> None:
        resolution = self.resolve_name(dependency.name, requester)
        is_missing = resolution.result.origin is ObjectOrigin.MISSING
        if is_missing and dependency.kind is DependencyKind.AUXILIARY:
            self._add_remark(f"{requester.label}: auxiliary library {dependency.name} is missing")
            return
        self.resolutions.append(resolution)
        if dependency.kind is not DependencyKind.NEEDED:
            self._place_filtee(resolution.result, requester, filtees)
        elif not resolution.already_loaded:
            self._add_object(resolution.result, len(self.objects))
        elif resolution.result is self.interpreter and self.interpreter not in self.objects:
            self.objects.append(self.interpreter)
            self.queue.append(self.interpreter)

    def _place_filtee(
        self, filtee: LoadedObject, requester: LoadedObject, filtees: list[LoadedObject]
    ) -> None:
        """Map the target of a filter before it; one that is mapped after it moves there."""
        position = self._find_position(requester)
        if filtee is requester or self._find_position(filtee) < position:
            return
        pair = (requester.label, filtee.label)
        if pair in self.filters:
            # glibc moves the two in turn until its stack overflows (elf/dl-deps.c).
            self._add_remark(f"{requester.label}: circular DT_FILTER crashes the loader")
            return
        self.filters.add(pair)
        is_new = self._find_position(filtee) == len(self.objects)
        self.objects = [o for o in self.objects if o is not filtee]
        self.objects.insert(position, filtee)
        filtees.append(filtee)
        if is_new:
            self._index_object(filtee)

    def _find_position(self, loaded: LoadedObject) -> int:
        """Return the index of an object in load order, or the number of objects."""
        return next((n for n, o in enumerate(self.objects) if o is loaded), len(self.objects))

    def _add_remark(self, text: str) -> None:
        self.remarks[text] = None

    def resolve_name(self, name: str, requester: LoadedObject) -> Resolution:
        """Resolve ``name`` for ``requester``, without mapping the result.

        Raises:
            BundleFixError: the searches of the process exceed `MAX_STEPS`.
        """
        known = self.by_name.get(name)
        is_musl = self.context.loader.libc is Libc.MUSL
        if is_musl and is_musl_itself(name):
            known = self.interpreter
        if known is not None:
            return Resolution(requester, name, known, already_loaded=True)
        found = search_library(self.context, name, requester)
        found = drop_unexpected_host_copy(self.context, found)
        self.steps += len(found.trace)
        if self.steps > MAX_STEPS:
            raise BundleFixError(
                f"the library searches exceed the limit of {MAX_STEPS:,} steps",
                where=self.context.main.label, hint="reduce its RPATH or RUNPATH entries",
            )  # fmt: skip
        if found.origin is ObjectOrigin.MISSING and name in self.missing:
            missing = self.missing[name]
            return Resolution(requester, name, missing, already_loaded=True, trace=found.trace)
        same = self.by_file.get(self._get_identity(found))
        if same is not None and found.real_path is not None:
            # The same file under another name is one object: _dl_map_object_from_fd compares
            # device and inode.
            if not is_musl:
                self.by_name[name] = same
            elif "/" in same.name:
                # musl knows an object by one name, that of the file which a search found first.
                self.by_name[posixpath.basename(same.name)] = same
            return Resolution(requester, name, same, already_loaded=True, trace=found.trace)
        return Resolution(requester, name, found, already_loaded=False, trace=found.trace)

    def _add_object(self, loaded: LoadedObject, position: int) -> None:
        self.objects.insert(position, loaded)
        self.queue.append(loaded)
        self._index_object(loaded)

    def _index_object(self, loaded: LoadedObject) -> None:
        """Make an object known by the names and the file that later searches match."""
        if loaded.origin is ObjectOrigin.MISSING:
            # The search of another object may still find the name: only reports are shared.
            self.missing.setdefault(loaded.name, loaded)
            return
        # The entry point is known by its soname, not by its path in the pack.
        is_entry = loaded.via is SearchRule.DIRECT and loaded.origin is ObjectOrigin.BUNDLE
        if not is_entry or "/" in loaded.name:
            self.by_name.setdefault(loaded.name, loaded)
        if loaded.real_path is not None:
            self.by_file.setdefault(self._get_identity(loaded), loaded)
        # glibc also matches the soname (_dl_name_match_p); musl only the name of the opened file.
        is_musl = self.context.loader.libc is Libc.MUSL
        if loaded.image is not None and loaded.image.soname and not is_musl:
            self.by_name.setdefault(loaded.image.soname, loaded)

    def _get_identity(self, loaded: LoadedObject) -> object:
        """Return a value that is equal for two names of one file; None without a file."""
        if loaded.real_path is None:
            return None
        return self.context.view.get_status(loaded.real_path).identity or loaded.real_path

    def build_process(self, entry: str, main: LoadedObject) -> Process:
        """Return the process with the objects that are mapped so far."""
        return Process(
            entry, main, tuple(self.objects), tuple(self.resolutions), tuple(self.remarks)
        )
