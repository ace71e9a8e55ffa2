"""Completion of a pack's closure: each needed library is bundled, left to the host or an error."""

from __future__ import annotations

from collections.abc import Container, Sequence
from glob import has_magic
from pathlib import Path

from msgspec import Struct

from bundle_fix.collect.libraries.build_machine import (
    BuildMachine,
    LibrarySources,
    create_build_machine,
)
from bundle_fix.collect.libraries.link_names import add_library
from bundle_fix.collect.libraries.resolve import resolve_library
from bundle_fix.collect.libraries.unresolved import (
    UnresolvedNeed,
    find_unresolved,
    format_chains,
)
from bundle_fix.collect.pack_builder import PackBuilder
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.loader.hosts.libc import (
    GLIBC_LIBRARIES,
    is_in_glibc,
    is_installed_with_libc,
    is_part_of_libc,
)
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.search.order import search_paths, search_system
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.tree import Tree
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_path
from bundle_fix.spec.parsing.problems import raise_all
from bundle_fix.spec.variables import Values, substitute_variables


class ClosureRules(Struct, frozen=True):
    """Values of ``[closure]`` with variables substituted, and its position in the spec.

    ``directory`` is the directory of the added libraries in the pack.
    """

    bundle: tuple[str, ...]
    search: tuple[Path, ...]
    host: tuple[str, ...]
    dlopen: tuple[str, ...]
    directory: str
    where: str
    glibc: str | None

    def is_provided_by_host(self, need: UnresolvedNeed) -> bool:
        """Return whether the target provides the library: with its C library, or as ``host``."""
        # The oldest target of [check] may not have a library that came with a later glibc.
        if self.glibc is not None and not is_in_glibc(need.name, self.glibc):
            return matches_any(need.name, self.host)
        own = is_part_of_libc(need.name, need.libc) or matches_any(need.name, self.host)
        return own or (
            is_installed_with_libc(need.name, need.libc) and not matches_any(need.name, self.bundle)
        )

    def is_requested(self, name: str) -> bool:
        """Return whether the spec bundles the library; the C library itself is never bundled."""
        return matches_any(name, self.bundle) and not is_part_of_libc(name)


def complete_closure(
    builder: PackBuilder,
    spec: Spec,
    values: Values,
    host: Sequence[str] = (),
    removed: frozenset[str] = frozenset(),
    own: Container[str] | None = None,
    sources: LibrarySources = LibrarySources(),  # noqa: B008 (frozen)
) -> list[str]:
    """Add the needed libraries that ``[closure] bundle`` names, until no new need is found.

    Args:
        builder: the pack so far.
        spec: the spec.
        values: its variables and options.
        host: patterns of libraries that the target provides, in addition to those of the spec.
        removed: absolute paths of files on this machine to ignore.
        own: paths of the pack: only libraries that these objects load can be errors; None for all.
        sources: where the build finds libraries.

    Returns:
        Remarks on libraries that ``bundle`` names and no object needs.

    Raises:
        BundleFixError: a library is not in the pack, not in ``bundle`` and not provided by the
            host; or it is not found on this machine; or different files are found. Each such
            library has a line.
    """
    closure = _resolve_rules(spec, values, builder.root, host)
    machine = create_build_machine(builder.root, removed, sources)
    bundle = add_needed_libraries(builder, closure, machine, own)
    return _report_unused_names(bundle, closure)


def add_needed_libraries(
    builder: PackBuilder,
    closure: ClosureRules,
    machine: BuildMachine,
    own: Container[str] | None = None,
) -> Bundle:
    """Add the needed libraries that ``closure`` bundles, and return the pack with them.

    Raises:
        BundleFixError: see `complete_closure`.
    """
    errors: dict[tuple[str, object], BundleFixError] = {}
    while True:
        bundle = build_bundle(Tree(builder.nodes), builder.images)
        groups = _group_by_name(bundle, builder, machine, closure)
        new = {
            key: needs
            for key, needs in groups.items()
            if key not in errors and closure.is_requested(needs[0].name)
        }
        if not new:
            break
        for key, needs in new.items():
            try:
                source = resolve_library(needs, closure.search, machine, closure.where)
                add_library(
                    builder, source, closure.directory, closure.where, needs[0].requester_path
                )
            except BundleFixError as error:
                errors[key] = error
    errors |= {
        key: _build_unlisted_error(needs, closure.where)
        for key, needs in groups.items()
        if key not in errors
    }
    raise_all([error for key, error in errors.items() if _concerns(groups.get(key, ()), own)])
    return bundle


def _concerns(needs: Sequence[UnresolvedNeed], own: Container[str] | None) -> bool:
    """Return whether an object of ``own`` loads one of the needed libraries."""
    return own is None or any(path in own for need in needs for path in need.chain)


def _resolve_rules(spec: Spec, values: Values, root: Path, host: Sequence[str]) -> ClosureRules:
    where = spec.locate_key("closure", "bundle")
    table = spec.closure
    patterns = tuple(substitute_variables(text, values) for text in table.bundle)
    for pattern in patterns:
        if is_part_of_libc(pattern):
            raise BundleFixError(
                f"{pattern} is part of the target's C library and cannot be bundled",
                where=where,
                hint="remove it: every target has it",
            )
    return ClosureRules(
        bundle=patterns,
        search=tuple(root / substitute_variables(text, values) for text in table.search),
        host=(*(substitute_variables(text, values) for text in table.host), *host),
        dlopen=tuple(
            n for text in table.dlopen if "/" not in (n := substitute_variables(text, values))
        ),
        directory=resolve_pack_path(spec.layout.lib, values, where),
        where=where,
        glibc=spec.check.glibc,
    )


def _group_by_name(
    bundle: Bundle, builder: PackBuilder, machine: BuildMachine, closure: ClosureRules
) -> dict[tuple[str, object], list[UnresolvedNeed]]:
    """Return the needs that the host does not provide, grouped by name and machine."""
    groups: dict[tuple[str, object], list[UnresolvedNeed]] = {}
    for need in find_unresolved(bundle, builder.origins, machine, closure.dlopen):
        if not closure.is_provided_by_host(need):
            image = need.requester.image
            groups.setdefault((need.name, image and image.architecture), []).append(need)
    return groups


def _build_unlisted_error(needs: Sequence[UnresolvedNeed], where: str) -> BundleFixError:
    """Return the error for a library that the spec neither bundles nor leaves to the host."""
    first = needs[0]
    found = _search_this_machine(first)
    if first.name in GLIBC_LIBRARIES:
        hint = (
            f"it is part of glibc since {GLIBC_LIBRARIES[first.name]}; `glibc` of [check] is older"
        )
    elif found.path:
        hint = f"add it to `bundle` to ship {found.path}, or to `host`"
    else:
        hint = "add it with an entry in [[libraries]], or add it to `host`"
    return BundleFixError(
        f"{first.name} is needed, but not in the pack and not listed in `host`:"
        f" {format_chains(needs)}",
        where=where,
        hint=hint,
    )


def _search_this_machine(need: UnresolvedNeed) -> LoadedObject:
    found = search_paths(need.context, need.search_name, need.requester)
    return found if found.path else search_system(need.system, need.name, need.requester)


def _report_unused_names(bundle: Bundle, closure: ClosureRules) -> list[str]:
    """Return a remark on libraries in ``bundle`` that no object needs; globs may match nothing."""
    needed = {name.rpartition("/")[2] for i in bundle.images.values() for name in i.needed}
    used = needed | set(closure.dlopen)
    unused = [name for name in closure.bundle if not has_magic(name) and name not in used]
    if not unused:
        return []
    return [f"{closure.where}: `bundle` lists {', '.join(unused)}, which no object needs"]
