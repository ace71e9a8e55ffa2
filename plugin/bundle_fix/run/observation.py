"""What a run showed: each loaded object with its origin, and whether the model predicted it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property

from msgspec import Struct

from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import MAX_PROGRAMS
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.run.record.loader_record import LoadCall, LoadRequest
from bundle_fix.run.sandbox.command import MEMORY_DIRECTORIES


class LoadOrigin(Enum):
    """The side that a loaded file comes from; the values are codes for JSON."""

    PACK = "pack"
    DECOY = "decoy"
    HOST = "host"
    PROGRAM = "program"
    """A file that the program itself wrote, such as a library that a JVM unpacks to /tmp."""
    MISSING = "missing"


class Prediction(Enum):
    """Whether the loader model predicted a loaded object; the values are codes for JSON."""

    PREDICTED = "predicted"
    RUN_TIME = "run-time"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class Load(Struct, frozen=True):
    """One object that was loaded, or a name that was not found.

    Attributes:
        name: the name that was asked for.
        path: relative to the pack, absolute for other files, empty for a missing one.
        origin: the side that it comes from.
        requester: the object that asked for it: a path as above, or argv[0] of a program.
        call: by which call it was loaded.
        program: the path or argv[0] of the program.
        at_start: whether it was loaded before the program's entry point.
        prediction: whether the loader model predicted it.
        tried: the files that the loader tried.
    """

    name: str
    path: str
    origin: LoadOrigin
    requester: str
    call: LoadCall
    program: str
    at_start: bool
    prediction: Prediction
    tried: tuple[str, ...] = ()


class Observer(Struct, frozen=True, dict=True):
    """The sides that files of a run come from.

    Attributes:
        deployment: the pack on the host of the run.
        decoys: the name of each decoy, by its path without symlinks.
        provides: patterns of the libraries that every target has.
    """

    deployment: Deployment
    decoys: Mapping[str, str]
    provides: tuple[str, ...] = ()

    def label_path(self, path: str) -> tuple[str, LoadOrigin]:
        """Return the path for messages and the origin of an absolute path in the sandbox."""
        view = self.deployment.view
        normal = posixpath.normpath(path)
        # The file of a decoy may be outside the files of a real host.
        if normal in self.decoys:
            return normal, LoadOrigin.DECOY
        real = view.resolve_path(path) if path.startswith("/") else path
        if not isinstance(real, str):
            is_scratch = normal.strip("/").startswith(tuple(f"{d}/" for d in MEMORY_DIRECTORIES))
            return normal, LoadOrigin.PROGRAM if is_scratch else LoadOrigin.HOST
        if real in self.decoys:
            return real, LoadOrigin.DECOY
        member = view.find_member(real)
        return (real, LoadOrigin.HOST) if member is None else (member, LoadOrigin.PACK)

    def label_program(self, argument: str) -> str:
        """Return the path in the pack of a program with this argv[0], or argv[0] itself."""
        if "/" in argument:
            return self.label_path(argument)[0] if argument.startswith("/") else argument
        named = [p for p in self._programs if posixpath.basename(p) == argument]
        return named[0] if len(named) == 1 else argument

    @cached_property
    def _programs(self) -> list[str]:
        return self.deployment.bundle.list_programs()

    @cached_property
    def _predictions(self) -> dict[str, Process | None]:
        return {}

    def predict_process(self, program: str) -> Process | None:
        """Return the predicted process of a program of the pack, None for other programs."""
        if program not in self._predictions:
            is_known = program in self.deployment.bundle.images and program in self._programs
            self._predictions[program] = self.deployment.map_process(program) if is_known else None
        return self._predictions[program]

    def resolves_in_program(self, library: str, name: str) -> bool:
        """Return whether ``library`` finds ``name`` in the pack if a program of the pack opens it.

        A library that the program has loaded satisfies the need, and its RPATH is searched.
        """
        images = self.deployment.bundle.images
        like = [
            process
            for program in self._programs[:MAX_PROGRAMS]
            if library in images
            and images[program].architecture == images[library].architecture
            and (process := self.predict_process(program)) is not None
        ]
        return any(
            need.name == name and need.result.origin is ObjectOrigin.BUNDLE
            for process in like
            for need in self.deployment.dlopen_process(process, library).resolutions
        )


def observe_loads(observer: Observer, requests: Iterable[LoadRequest]) -> Iterator[Load]:
    """Yield the loads that a record shows, each once; parts of the C library are left out."""
    seen: set[tuple[object, ...]] = set()
    for request in requests:
        if is_part_of_libc(posixpath.basename(request.name)):
            continue
        load = _observe_load(observer, request)
        if load is None:
            continue
        key = (load.name, load.path, load.requester, load.call, load.program)
        if key not in seen:
            seen.add(key)
            yield load


def _observe_load(observer: Observer, request: LoadRequest) -> Load | None:
    """Return the load of a request; None if it found an object that was loaded before."""
    program = observer.label_program(request.program)
    requester = program
    # A server may write a title over its argv[0]; a library has its path.
    if request.requester != request.program and ".so" in request.requester:
        requester = observer.label_path(request.requester)[0]
    if request.path is not None:
        path, origin = observer.label_path(request.path)
    elif _has_found_file(observer, request):
        return None
    else:
        path, origin = "", LoadOrigin.MISSING
    prediction = _compare_with_model(observer, request, program, path)
    return Load(
        request.name, path, origin, requester, request.call, program, request.at_start,
        prediction, request.tried,
    )  # fmt: skip


def _has_found_file(observer: Observer, request: LoadRequest) -> bool:
    """Return whether a search without a mapped file ended at a file that was mapped already."""
    last = request.name if "/" in request.name else (*request.tried, "")[-1]
    real = observer.deployment.view.resolve_path(last) if last.startswith("/") else None
    return isinstance(real, str)


def _compare_with_model(
    observer: Observer, request: LoadRequest, program: str, path: str
) -> Prediction:
    process = observer.predict_process(program)
    if process is None:
        return Prediction.UNKNOWN
    if not request.at_start:
        return Prediction.RUN_TIME
    labels = {observer.label_path(o.real_path)[0] if o.real_path else "" for o in process.objects}
    return Prediction.PREDICTED if path in labels else Prediction.DIFFERENT
