"""The objects to which references bind, in a scope of symbol lookup.

Source: glibc's elf/dl-lookup.c: the first object in the scope that defines the name in a version
that matches; of a name without a version, any default definition matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.elf.symbols.relocations import is_bound_to_itself, read_relocated_names
from bundle_fix.loader.objects import LoadedObject


def find_provider(
    facts: FileFacts, scope: Sequence[LoadedObject], name: bytes, version: str | None
) -> LoadedObject | None:
    """Return the object of ``scope`` to which a reference binds, or None.

    Objects whose files are unknown are skipped.
    """
    known = (loaded for loaded in scope if loaded.image is not None and loaded.image.is_dynamic)
    providers = (o for o in known if facts.read_exports(o).provides_symbol(name, version))
    return next(providers, None)


def find_names_bound_to(
    facts: FileFacts,
    scope: Sequence[LoadedObject],
    user: LoadedObject,
    provider: LoadedObject,
    names: AbstractSet[bytes],
) -> list[bytes]:
    """Return those of ``names`` whose references in ``user`` bind to ``provider``, sorted."""
    if user.image is None or not user.image.is_dynamic:
        return []
    return sorted(
        {
            name
            for name, version in _iter_references(facts, user)
            if name in names and _binds_to(facts, scope, name, version, provider)
        }
    )


def _binds_to(
    facts: FileFacts, scope: Sequence[LoadedObject], name: bytes, version: str | None,
    provider: LoadedObject,
) -> bool:  # fmt: skip
    found = find_provider(facts, scope, name, version)
    return found is not None and found.label == provider.label


def _iter_references(facts: FileFacts, user: LoadedObject) -> Iterator[tuple[bytes, str | None]]:
    """Yield name and version of the references of an object, also to its own symbols."""
    undefined = facts.read_undefined_symbols(user)
    yield from ((symbol.name, symbol.version) for symbol in undefined)
    if user.image is None or is_bound_to_itself(user.image):
        return
    exports = facts.read_exports(user)
    for name in facts.read_fact(user, read_relocated_names) & exports.names:
        versions = (exports.versions or {}).get(name, ())
        yield name, versions[-1] if versions else None
