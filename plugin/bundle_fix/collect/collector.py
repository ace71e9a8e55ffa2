"""Collects what a spec names into a tree: files, libraries with their links, and the closure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path

from bundle_fix.collect.collection import Collected, Collection
from bundle_fix.collect.files import add_files
from bundle_fix.collect.libraries.closure import close
from bundle_fix.collect.libraries.link_names import add_library, library_sources
from bundle_fix.collect.libraries.packages import owners
from bundle_fix.collect.libraries.stale import leftovers
from bundle_fix.collect.licenses import add_licenses
from bundle_fix.collect.patterns import Where
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.epoch import resolve_epoch
from bundle_fix.spec.model import LibrariesEntry, Spec
from bundle_fix.spec.names import resolve_pack_name, resolve_pack_path
from bundle_fix.spec.parsing.positions import find_position
from bundle_fix.spec.parsing.problems import raise_all
from bundle_fix.spec.variables import Values, evaluate_when


def collect(spec: Spec, values: Values, root: Path, host: Sequence[str] = ()) -> Collected:
    """Collect everything that ``spec`` names and what its closure bundles.

    Args:
        spec: the spec.
        values: its variables and options.
        root: the folder that its paths are relative to.
        host: patterns of names that the target has besides those of the spec.

    Raises:
        BundleFixError: something is not there, cannot be read, or lands where something else is.
    """
    collection = Collection(root)
    pinned: list[str] = []
    problems: list[tuple[tuple[int, int], BundleFixError]] = []
    for number, entry in enumerate(spec.files):
        with _kept(problems, spec, "files", number) as where:
            if evaluate_when(entry.when, values):
                add_files(collection, entry, values, where)
    for number, library in enumerate(spec.libraries):
        with _kept(problems, spec, "libraries", number) as where:
            if evaluate_when(library.when, values):
                pinned += _add_libraries(collection, spec, library, values, where)
    raise_all([error for _, error in sorted(problems, key=itemgetter(0))])
    remarks = [*close(collection, spec, values, host), *leftovers(collection, spec, values)]
    packages = owners(_from_outside(collection))
    if spec.bundle.licenses:
        at = spec.locate_key("bundle", "licenses")
        remarks += add_licenses(collection, packages.values(), at)
    return Collected(
        collection.bundle(resolve_pack_name(spec, values), resolve_epoch(spec, values)),
        collection.origins,
        tuple(dict.fromkeys(pinned)),
        tuple(remarks),
        packages,
    )


def _add_libraries(
    collection: Collection, spec: Spec, entry: LibrariesEntry, values: Values, where: Where
) -> list[str]:
    """Add the libraries of an entry; returns the sonames of those that it pins."""
    place = where("to") if entry.to else spec.locate_key("layout", "lib")
    folder = resolve_pack_path(entry.to or spec.layout.lib, values, place)
    at = where("name" if entry.source is None else "from")
    sources = library_sources(collection, entry, values, where)
    sonames = [
        add_library(collection, source, folder, at, copies=copies) for source, copies in sources
    ]
    return sonames if entry.pin else []


@contextmanager
def _kept(
    problems: list[tuple[tuple[int, int], BundleFixError]], spec: Spec, table: str, number: int
) -> Iterator[Where]:
    """Keep what is wrong with an entry, so that all such errors are told together.

    Gives what tells where a key of the entry stands. An error that names a file of the disk only
    is told at the entry's source.
    """
    try:
        yield partial(spec.locate_key, table, number)
    except BundleFixError as error:
        told = error
        if not error.where.startswith(f"{spec.path}:"):
            entry = (spec.files if table == "files" else spec.libraries)[number]
            key = "name" if entry.source is None else "from"
            message = f"{error.where}: {error.message}" if error.where else error.message
            told = BundleFixError(message, where=spec.locate_key(table, number, key), hint=error.hint)
        problems.append((find_position(spec.toml, (table, number)), told))


def _from_outside(collection: Collection) -> Iterator[Path]:
    """The ELF files that come from outside the root: only there are packages installed."""
    root = collection.root.resolve()
    for path in collection.images:
        source = collection.origins[path].source
        if source is not None and not source.is_relative_to(root):
            yield source
