"""A process: what the loader maps for one program, in load order.

Source: glibc's elf/dl-deps.c: needed names are taken breadth first, each object once.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bundle_fix.bundle import Bundle
from bundle_fix.loader.host import AdversarialHost
from bundle_fix.loader.search import BUNDLE, HOST, MISSING, Mapped, search
from bundle_fix.tree import Lost, walk


@dataclass(frozen=True, slots=True)
class Need:
    """One needed name of one object and what the loader made of it."""

    requester: Mapped
    name: str
    result: Mapped
    already: bool
    """Whether the object was loaded already, for another's sake."""


@dataclass(frozen=True, slots=True)
class Process:
    """The objects that the loader maps for ``entry``, in load order, and every need it met."""

    entry: str
    objects: tuple[Mapped, ...]
    needs: tuple[Need, ...]

    def bundled(self) -> tuple[Mapped, ...]:
        """The objects that come from the pack."""
        return tuple(o for o in self.objects if o.origin == BUNDLE)


def map_process(bundle: Bundle, host: AdversarialHost, entry: str) -> Process:
    """What the loader maps for the program or library at ``entry``.

    Args:
        bundle: the pack.
        host: what the target offers.
        entry: the path of an ELF file of the pack.
    """
    return _close(bundle, host, entry, [_entry(bundle, entry)])


def map_opened(bundle: Bundle, host: AdversarialHost, program: Process, plugin: str) -> Process:
    """What dlopen(3) of the library ``plugin`` maps into ``program``; only what it adds is listed.

    Its objects come behind the program's own; the program is what loads it (RPATH is inherited).
    """
    opened = replace(_entry(bundle, plugin), loader=program.objects[0])
    whole = _close(bundle, host, plugin, [*program.objects, opened])
    count = len(program.objects)
    return Process(plugin, whole.objects[count:], whole.needs)


def _entry(bundle: Bundle, path: str) -> Mapped:
    real = walk(bundle.tree, path)
    if isinstance(real, Lost):
        real = path
    return Mapped(
        real, real, BUNDLE, "direct", home=posixpath.dirname(real), image=bundle.images[real]
    )


def _close(bundle: Bundle, host: AdversarialHost, entry: str, start: Sequence[Mapped]) -> Process:
    objects = list(start)
    by_name: dict[str, Mapped] = {}
    by_file: dict[str, Mapped] = {}
    for mapped in objects:
        _remember(mapped, by_name, by_file)
    queue = deque(objects[-1:])
    needs: list[Need] = []
    while queue:
        requester = queue.popleft()
        for name in requester.image.needed if requester.image else ():
            known = by_name.get(name)
            if known is not None:
                needs.append(Need(requester, name, known, already=True))
                continue
            found = _judged(host, bundle, search(bundle, host, name, requester))
            # The same file under another name is one object: the loader compares inodes.
            same = by_file.get(found.path) if found.path else None
            if same is not None and found.origin == BUNDLE:
                by_name[name] = same
                needs.append(Need(requester, name, same, already=True))
                continue
            needs.append(Need(requester, name, found, already=False))
            objects.append(found)
            queue.append(found)
            _remember(found, by_name, by_file)
    return Process(entry, tuple(objects), tuple(needs))


def _remember(mapped: Mapped, by_name: dict[str, Mapped], by_file: dict[str, Mapped]) -> None:
    by_name.setdefault(mapped.name, mapped)
    if mapped.path is not None and mapped.origin == BUNDLE:
        by_file[mapped.path] = mapped
    if mapped.image is not None and mapped.image.soname:
        by_name.setdefault(mapped.image.soname, mapped)


def _judged(host: AdversarialHost, bundle: Bundle, found: Mapped) -> Mapped:
    """A name that only the host could have: missing, where nobody may count on it there."""
    if found.origin != HOST or found.image is not None:
        return found
    like = found.loader.image if found.loader else None
    provided = like is not None and bundle.providers(posixpath.basename(found.name), like)
    if provided or host.expected(found.name) or host.usual(found.name):
        return found
    if found.via == "direct":
        return found
    *before, last = found.trace
    trace = (*before, replace(last, verdict="no host is expected to have it"))
    return replace(found, path=None, origin=MISSING, trace=trace)
