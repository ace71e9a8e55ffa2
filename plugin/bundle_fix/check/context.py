"""What the rules look at: a bundle, its processes on a host, and what the user expects of it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from bundle_fix.bundle import Bundle
from bundle_fix.check.findings import ERROR, WARNING
from bundle_fix.elf.hashes import defines
from bundle_fix.loader.host import AdversarialHost, adversarial_host
from bundle_fix.loader.libc import belongs_to_libc
from bundle_fix.loader.process import Need, Process, map_opened, map_process
from bundle_fix.loader.search import BUNDLE
from bundle_fix.tree import File


@dataclass(frozen=True, slots=True)
class Ignore:
    """Findings of ``rule`` at paths like ``path`` that the user accepts, and why."""

    rule: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the user says of the pack and its target.

    Attributes:
        host: patterns of names that the target provides besides the C library's.
        dlopen: names that the pack's programs open at run time.
        glibc: the newest glibc version that may be wanted, such as ``2.17``.
        allocators: the sonames that may provide ``malloc``; empty when any may.
        fail_on: the mildest severity that fails a check.
        ignore: what is accepted.
    """

    host: tuple[str, ...] = ()
    dlopen: tuple[str, ...] = ()
    glibc: str | None = None
    allocators: tuple[str, ...] = ()
    fail_on: str = ERROR
    ignore: tuple[Ignore, ...] = ()


@dataclass(frozen=True)
class Context:
    """A bundle on a host, with all processes that can come of it."""

    bundle: Bundle
    expectations: Expectations

    @cached_property
    def host(self) -> AdversarialHost:
        """The host that the pack is checked against."""
        return adversarial_host(self.expectations.host)

    @cached_property
    def programs(self) -> Mapping[str, Process]:
        """The process of every program."""
        paths = self.bundle.programs()
        return {path: map_process(self.bundle, self.host, path) for path in paths}

    @cached_property
    def mapped(self) -> frozenset[str]:
        """The files of the pack that some program maps when it starts."""
        return frozenset(o.path or "" for p in self.programs.values() for o in p.bundled())

    @cached_property
    def plugins(self) -> Mapping[str, tuple[Process, ...]]:
        """For every library that has to be opened at run time to be mapped: what it maps.

        First those that no other library needs, then those that not even these lead to; in the
        context of each program that could open it, and alone where there is no program.
        """
        needed = {name for image in self.bundle.images.values() for name in image.needed}
        found: dict[str, tuple[Process, ...]] = {}
        reached = set(self.mapped)
        libraries = self.bundle.libraries()
        libraries.sort(key=lambda path: bool(self._names(path) & needed))
        for path in libraries:
            if path not in reached:
                found[path] = tuple(self._opened(path))
                reached |= {o.path or "" for p in found[path] for o in p.bundled()}
        return found

    @cached_property
    def allocator_files(self) -> frozenset[str]:
        """The files of the pack that define both ``malloc`` and ``free`` for others.

        One that defines a single one of them wraps an allocator rather than being one.
        """
        found = set()
        for path, image in self.bundle.images.items():
            node = self.bundle.tree.nodes.get(path)
            if not image.is_dynamic or not isinstance(node, File):
                continue
            if belongs_to_libc(posixpath.basename(path)) or belongs_to_libc(image.soname or ""):
                continue
            with node.content.open() as reader:
                if all(defines(reader, image, name) for name in (b"malloc", b"free")):
                    found.add(path)
        return frozenset(found)

    @cached_property
    def _names_by_path(self) -> Mapping[str, set[str]]:
        names: dict[str, set[str]] = {}
        for name, paths in self.bundle.named.items():
            for path in paths:
                names.setdefault(path, set()).add(name)
        return names

    def _names(self, path: str) -> set[str]:
        return self._names_by_path.get(path, set())

    def _opened(self, path: str) -> Iterator[Process]:
        like = self.bundle.images[path].architecture
        hosts = [p for p in self.programs.values() if self._architecture(p) == like]
        for process in hosts:
            yield map_opened(self.bundle, self.host, process, path)
        if not hosts:
            yield map_process(self.bundle, self.host, path)

    def _architecture(self, process: Process) -> tuple[int, str, int]:
        return self.bundle.images[process.entry].architecture

    @property
    def consequence(self) -> str:
        """How bad it is when a plugin fails: worst where the pack has nothing but libraries."""
        return WARNING if self.programs else ERROR

    def needs(self) -> Iterator[tuple[str, Process, Need]]:
        """Every need of every process with its severity: programs first, then plugins.

        A plugin's need counts only where it fails in every program that could open it.
        """
        for process in self.programs.values():
            yield from ((ERROR, process, need) for need in process.needs)
        for processes in self.plugins.values():
            for need in processes[0].needs:
                same = [_same_need(p, need) for p in processes]
                if all(n is not None and n.result.origin != BUNDLE for n in same):
                    yield self.consequence, processes[0], need


def _same_need(process: Process, need: Need) -> Need | None:
    wanted = (need.requester.path, need.name)
    return next((n for n in process.needs if (n.requester.path, n.name) == wanted), None)
