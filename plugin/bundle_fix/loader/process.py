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
from bundle_fix.loader.hosts.rtld import MUSL
from bundle_fix.loader.objects import (
    BUNDLE,
    HOST,
    MISSING,
    LoadedObject,
    Outcome,
    ProcessContext,
    SearchStep,
)
from bundle_fix.loader.search.dependencies import DependencyKind, list_audit_tags, read_dependencies
from bundle_fix.loader.search.order import search_library
from bundle_fix.model.errors import BundleFixError

MAX_STEPS = 500_000
"""Search steps of one process; a large office suite needs fewer than 20,000."""
MUSL_BUILTIN_PREFIXES = tuple(
    f"lib{name}." for name in ("c", "pthread", "rt", "m", "dl", "util", "xnet")
)
"""Beginnings of the names that resolve to musl itself (ldso/dynlink.c, load_library)."""


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

    ``objects`` is in load order, which is the order of symbol lookup as well. ``remarks`` are
    warnings of the loader, and what the model leaves out.
    """

    entry: str
    objects: tuple[LoadedObject, ...]
    resolutions: tuple[Resolution, ...]
    remarks: tuple[str, ...] = ()

    def list_bundled_objects(self) -> tuple[LoadedObject, ...]:
        """Return the objects that come from the pack."""
        return tuple(o for o in self.objects if o.origin == BUNDLE)


class ProcessBuilder:
    """A process while its objects are being mapped."""

    def __init__(self, setting: ProcessContext) -> None:
        self.setting = setting
        self.steps = 0
        self.objects: list[LoadedObject] = []
        self.needs: list[Resolution] = []
        self.remarks: dict[str, None] = {}
        self.queue: deque[LoadedObject] = deque()
        self.by_name: dict[str, LoadedObject] = {}
        self.by_file: dict[object, LoadedObject] = {}
        self.lost: dict[str, LoadedObject] = {}
        self.interpreter: LoadedObject | None = None

    def begin(self, objects: Sequence[LoadedObject]) -> None:
        """Start with objects that are mapped; the needs of the last are to be met."""
        for mapped in objects:
            self.objects.append(mapped)
            self._remember(mapped)
        self.queue.extend(objects[-1:])
        self._meet_interpreter()

    def _meet_interpreter(self) -> None:
        """The kernel maps the program's interpreter; it takes its place when something needs it."""
        setting, image = self.setting, self.setting.main.image
        path = image.interpreter if image is not None and image.is_program else None
        if path is None and setting.view.host is not None:
            # A library that a loader is told to list: the loader is there as well.
            path = setting.loader.path
        if path is None or not path.startswith("/"):
            return
        step = SearchStep(path, "loaded", Outcome.MAIN_INTERPRETER)
        real = setting.view.resolve_path(path)
        found = setting.view.find_image(real) if isinstance(real, str) else None
        known = setting.view.host is not None and not setting.host.is_expected(path)
        if known and not isinstance(found, Image):
            step = replace(step, outcome=Outcome.MISSING_INTERPRETER)
            lost = LoadedObject(path, None, MISSING, "direct", setting.main.label, (step,))
            lost = replace(lost, loaded_by=setting.main)
            self.objects.append(lost)
            self.needs.append(
                Resolution(setting.main, path, lost, already_loaded=False, trace=(step,))
            )
            return
        member = setting.view.find_member(real) if isinstance(real, str) else None
        self.interpreter = LoadedObject(
            path, path if member is None else member, HOST if member is None else BUNDLE, "loaded",
            setting.main.label, (step,), posixpath.dirname(path),
            found if isinstance(found, Image) else None, setting.main,
            real if isinstance(real, str) else None,
        )  # fmt: skip
        if self.interpreter not in self.objects:
            self._remember(self.interpreter)
            self.by_name.setdefault(posixpath.basename(path), self.interpreter)

    def preload(self) -> None:
        """Map what LD_PRELOAD and ld.so.preload name; what cannot be is only warned about."""
        setting, main = self.setting, self.setting.main
        text = setting.environment.preload
        names = (
            [] if setting.loader.flavour == MUSL else list(setting.host.list_preloads(setting.view))
        )
        if text and setting.secure:
            self._remark("LD_PRELOAD is ignored: the program is set-uid or set-gid")
        elif text:
            names = [*text.replace(":", " ").split(), *names]
        for name in names:
            need = self.need(name, main)
            if need.result.origin == MISSING:
                self._remark(f"{name} cannot be preloaded, and is ignored")
            elif not need.already_loaded:
                self._map(replace(need.result, via="preload"), len(self.objects))

    def run(self) -> None:
        """Meet all needs, breadth first."""
        setting = self.setting
        while self.queue:
            requester = self.queue.popleft()
            for tag in list_audit_tags(requester):
                self._remark(f"{requester.label} has {tag}: what auditors do is not modelled")
            for wanted in read_dependencies(
                setting.view, requester, flavour=setting.loader.flavour
            ):
                need = self.need(wanted.name, requester)
                if wanted.kind is DependencyKind.AUXILIARY and need.result.origin == MISSING:
                    self._remark(
                        f"{requester.label}: no {wanted.name}, which it would stand behind"
                    )
                    continue
                self.needs.append(need)
                at = (
                    self._place_of(requester)
                    if wanted.kind is not DependencyKind.NEEDED
                    else len(self.objects)
                )
                if not need.already_loaded:
                    self._map(need.result, at)
                elif need.result is self.interpreter and self.interpreter not in self.objects:
                    self.objects.append(self.interpreter)
                    self.queue.append(self.interpreter)

    def _remark(self, text: str) -> None:
        self.remarks[text] = None

    def _place_of(self, requester: LoadedObject) -> int:
        """What a filter stands for is looked up before the filter itself (dl-deps.c)."""
        return next((n for n, o in enumerate(self.objects) if o is requester), len(self.objects))

    def need(self, name: str, requester: LoadedObject) -> Resolution:
        """What ``name`` leads to, without mapping it."""
        known = self.by_name.get(name)
        if known is None and self._is_musl_itself(name):
            known = self.interpreter
        if known is not None:
            return Resolution(requester, name, known, already_loaded=True)
        found = _drop_unexpected_host_copy(
            self.setting, search_library(self.setting, name, requester)
        )
        self.steps += len(found.trace)
        if self.steps > MAX_STEPS:
            raise BundleFixError(
                f"its needed names and search paths make more than {MAX_STEPS} steps of search",
                where=self.setting.main.label, hint="no sound program comes near",
            )  # fmt: skip
        if found.origin == MISSING and name in self.lost:
            return Resolution(
                requester, name, self.lost[name], already_loaded=True, trace=found.trace
            )
        same = self.by_file.get(self._identity(found))
        if same is not None and found.real_path is not None:
            # The same file under another name is one object: the loader compares inodes.
            self.by_name[name] = same
            return Resolution(requester, name, same, already_loaded=True, trace=found.trace)
        return Resolution(requester, name, found, already_loaded=False, trace=found.trace)

    def _is_musl_itself(self, name: str) -> bool:
        return self.setting.loader.flavour == MUSL and name.startswith(MUSL_BUILTIN_PREFIXES)

    def _map(self, mapped: LoadedObject, at: int) -> None:
        self.objects.insert(at, mapped)
        self.queue.append(mapped)
        self._remember(mapped)

    def _remember(self, mapped: LoadedObject) -> None:
        if mapped.origin == MISSING:
            # Another object's search may find it: nothing is known of it but that it was told.
            self.lost.setdefault(mapped.name, mapped)
            return
        # musl knows an object by the name of the file that was opened, glibc by its soname as well.
        is_musl = self.setting.loader.flavour == MUSL
        entered = mapped.via == "direct"
        if not entered or mapped.origin != BUNDLE or "/" in mapped.name:
            self.by_name.setdefault(mapped.name, mapped)
        if mapped.real_path is not None:
            self.by_file.setdefault(self._identity(mapped), mapped)
        if mapped.image is not None and mapped.image.soname and not is_musl:
            self.by_name.setdefault(mapped.image.soname, mapped)

    def _identity(self, mapped: LoadedObject) -> object:
        """What is the same for two names of one file."""
        if mapped.real_path is None:
            return None
        return self.setting.view.get_status(mapped.real_path).identity or mapped.real_path

    def result(self, entry: str) -> Process:
        """The process as it is."""
        return Process(entry, tuple(self.objects), tuple(self.needs), tuple(self.remarks))


def _drop_unexpected_host_copy(setting: ProcessContext, found: LoadedObject) -> LoadedObject:
    """A name that only the host could have: missing, where nobody may count on it there."""
    if setting.view.host is not None or found.origin != HOST:
        return found
    bundle, host = setting.view.bundle, setting.host
    like = found.loaded_by.image if found.loaded_by else None
    provided = like is not None and bundle.find_providers(posixpath.basename(found.name), like)
    if provided or host.is_expected(found.name) or host.is_common(found.name):
        return found
    if found.via == "direct":
        return found
    *before, last = found.trace
    trace = (*before, replace(last, outcome=Outcome.NOT_EXPECTED))
    return replace(found, path=None, origin=MISSING, trace=trace)
