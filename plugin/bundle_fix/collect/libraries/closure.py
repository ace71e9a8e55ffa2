"""Closes a pack: what its objects still need is put into it, left to the host, or an error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from msgspec import Struct

from bundle_fix.collect.collection import Collection
from bundle_fix.collect.libraries.link_names import add_library
from bundle_fix.collect.libraries.resolve import find
from bundle_fix.collect.libraries.unresolved import BuildMachine, Want, build_machine, chains, unmet
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.loader.hosts.libc import (
    GLIBC_LIBRARIES,
    is_in_glibc,
    is_installed_with_libc,
    is_part_of_libc,
)
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.search.order import search_paths, search_system
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Tree
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_path
from bundle_fix.spec.parsing.problems import raise_all
from bundle_fix.spec.variables import Values, substitute


class _Closure(Struct, frozen=True):
    """What ``[closure]`` says, its variables replaced, and where it stands."""

    bundle: tuple[str, ...]
    search: tuple[Path, ...]
    host: tuple[str, ...]
    dlopen: tuple[str, ...]
    folder: str
    where: str
    glibc: str | None

    def is_hosts(self, want: Want) -> bool:
        """Whether the target has the name: its C library's, or what the spec leaves to it."""
        if self.glibc is not None and not is_in_glibc(want.name, self.glibc):
            return matching(want.name, self.host)
        own = is_part_of_libc(want.name) or want.is_musls or matching(want.name, self.host)
        return own or (is_installed_with_libc(want.name) and not matching(want.name, self.bundle))

    def asks_for(self, name: str) -> bool:
        """Whether the name is to be put into the pack; the C library's own never are."""
        return matching(name, self.bundle) and not is_part_of_libc(name)


def matching(name: str, patterns: Iterable[str]) -> bool:
    """Whether ``name`` is one of ``patterns``."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def close(
    collection: Collection,
    spec: Spec,
    values: Values,
    host: Sequence[str] = (),
    gone: frozenset[str] = frozenset(),
) -> list[str]:
    """Add what the objects still need and ``[closure] bundle`` asks for, until nothing is new.

    Args:
        collection: the pack so far.
        spec: the spec.
        values: its variables and options.
        host: patterns of names that the target has besides those of the spec.
        gone: files of this machine that do not count, by absolute paths.

    Returns:
        Remarks: on names that nothing needs.

    Raises:
        BundleFixError: a name is neither in the pack, nor asked for, nor the host's; or it is
            nowhere on this machine, or leads to several files. Where there are several such names
            each has a line.
    """
    closure = _read(spec, values, collection.root, host)
    machine = build_machine(collection.root, gone)
    errors: dict[tuple[str, object], BundleFixError] = {}
    while True:
        bundle = make_bundle(Tree(collection.nodes), collection.images)
        groups = _by_name(bundle, collection, machine, closure)
        new = {
            key: wants
            for key, wants in groups.items()
            if key not in errors and closure.asks_for(wants[0].name)
        }
        if not new:
            break
        for key, wants in new.items():
            try:
                source = find(wants, closure.search, closure.where)
                add_library(collection, source, closure.folder, closure.where, wants[0].path)
            except BundleFixError as error:
                errors[key] = error
    errors |= {key: _unasked(w, closure.where) for key, w in groups.items() if key not in errors}
    raise_all(list(errors.values()))
    return _unmatched(bundle, closure)


def _read(spec: Spec, values: Values, root: Path, host: Sequence[str]) -> _Closure:
    where = spec.locate_key("closure", "bundle")
    told = spec.closure
    patterns = tuple(substitute(text, values) for text in told.bundle)
    for pattern in patterns:
        if is_part_of_libc(pattern):
            raise BundleFixError(
                f"{pattern} belongs to the target's own dynamic loader and cannot be bundled",
                where=where,
                hint="leave it out: every target has it",
            )
    return _Closure(
        bundle=patterns,
        search=tuple(root / substitute(text, values) for text in told.search),
        host=(*(substitute(text, values) for text in told.host), *host),
        dlopen=tuple(n for text in told.dlopen if "/" not in (n := substitute(text, values))),
        folder=resolve_pack_path(spec.layout.lib, values, where),
        where=where,
        glibc=spec.check.glibc,
    )


def _by_name(
    bundle: Bundle, collection: Collection, machine: BuildMachine, closure: _Closure
) -> dict[tuple[str, object], list[Want]]:
    """The wants that the host does not meet, by name and machine."""
    groups: dict[tuple[str, object], list[Want]] = {}
    for want in unmet(bundle, collection.origins, machine, closure.dlopen):
        if not closure.is_hosts(want):
            like = want.requester.image
            groups.setdefault((want.name, like and like.architecture), []).append(want)
    return groups


def _unasked(wants: Sequence[Want], where: str) -> BundleFixError:
    """The error that a name is needed, and nobody said where it is to come from."""
    first = wants[0]
    found = _here(first)
    if first.name in GLIBC_LIBRARIES:
        hint = f"it came with glibc {GLIBC_LIBRARIES[first.name]}, and `glibc` of [check] is older"
    elif found.path:
        hint = f"this machine has it at {found.path}: name it in `bundle` to ship it, or in `host`"
    else:
        hint = "add it by an entry in [[libraries]], or leave it to the host with `host`"
    return BundleFixError(
        f"{first.name} is needed, but is neither in the pack nor on the host's list:"
        f" {chains(wants)}",
        where=where,
        hint=hint,
    )


def _here(want: Want) -> LoadedObject:
    found = search_paths(want.setting, want.asked, want.requester)
    return found if found.path else search_system(want.setting, want.name, want.requester)


def _unmatched(bundle: Bundle, closure: _Closure) -> list[str]:
    """What is to be said of names that nothing needs; a pattern takes what there is of it."""
    needed = {name.rpartition("/")[2] for i in bundle.images.values() for name in i.needed}
    idle = [n for n in closure.bundle if not has_magic(n) and n not in needed | set(closure.dlopen)]
    return [f"{closure.where}: nothing needs {', '.join(idle)}, which `bundle` names"] * bool(idle)
