"""Collection of all that a spec names: files, libraries with their symlinks, the closure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path

from bundle_fix.collect.files import add_files
from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.collect.libraries.closure import complete_closure
from bundle_fix.collect.libraries.link_names import add_library, find_library_sources
from bundle_fix.collect.libraries.packages import find_owners
from bundle_fix.collect.libraries.stale import report_stale_libraries
from bundle_fix.collect.licenses import add_licenses
from bundle_fix.collect.pack_builder import CollectedPack, PackBuilder
from bundle_fix.collect.patterns import KeyLocator
from bundle_fix.collect.target_machine import verify_target
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.epoch import resolve_epoch
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_name, resolve_pack_path
from bundle_fix.spec.parsing.positions import find_position
from bundle_fix.spec.parsing.problems import raise_all
from bundle_fix.spec.table_types import LibrariesEntry
from bundle_fix.spec.variables import Values, evaluate_when


def collect_pack(
    spec: Spec,
    values: Values,
    root: Path,
    host: Sequence[str] = (),
    sources: LibrarySources = LibrarySources(),  # noqa: B008 (frozen)
) -> CollectedPack:
    """Collect all files that ``spec`` names and all libraries that its closure bundles.

    Args:
        spec: the spec.
        values: its variables and options.
        root: the directory that its paths are relative to.
        host: patterns of libraries that the target provides, in addition to those of the spec.
        sources: where the build finds libraries.

    Raises:
        BundleFixError: a file is missing or unreadable, or two files have the same path.
    """
    builder = PackBuilder(root)
    pinned: list[str] = []
    problems: list[tuple[tuple[int, int], BundleFixError]] = []
    for number, entry in enumerate(spec.files):
        with _collect_errors(problems, spec, "files", number) as locate:
            if evaluate_when(entry.when, values):
                add_files(builder, entry, values, locate)
    for number, library in enumerate(spec.libraries):
        with _collect_errors(problems, spec, "libraries", number) as locate:
            if evaluate_when(library.when, values):
                pinned += _add_libraries(builder, spec, library, values, locate)
    raise_all([error for _, error in sorted(problems, key=itemgetter(0))])
    verify_target(values, builder.images)
    remarks = complete_closure(builder, spec, values, host, sources=sources)
    remarks += report_stale_libraries(builder, spec, values)
    packages = find_owners(_find_system_files(builder))
    if spec.bundle.licenses:
        position = spec.locate_key("bundle", "licenses")
        remarks += add_licenses(builder, packages.values(), position)
    return CollectedPack(
        builder.build_bundle(resolve_pack_name(spec, values), resolve_epoch(spec, values)),
        builder.origins,
        tuple(dict.fromkeys(pinned)),
        tuple(remarks),
        packages,
    )


def _add_libraries(
    builder: PackBuilder, spec: Spec, entry: LibrariesEntry, values: Values, locate: KeyLocator
) -> list[str]:
    """Add the libraries of an entry; return the sonames of those that it pins."""
    position = locate("to") if entry.to else spec.locate_key("layout", "lib")
    directory = resolve_pack_path(entry.to or spec.layout.lib, values, position)
    source_position = locate("name" if entry.source is None else "from")
    sources = find_library_sources(builder, entry, values, locate)
    sonames = [
        add_library(builder, source, directory, source_position, copies=copies)
        for source, copies in sources
    ]
    return sonames if entry.pin else []


@contextmanager
def _collect_errors(
    problems: list[tuple[tuple[int, int], BundleFixError]], spec: Spec, table: str, number: int
) -> Iterator[KeyLocator]:
    """Collect the errors of an entry, so that those of all entries are reported together.

    The value of the context is a function that locates a key of the entry. An error that names
    only a file on the disk is reported at the entry's source.
    """
    try:
        yield partial(spec.locate_key, table, number)
    except BundleFixError as error:
        reported = error
        if not error.where.startswith(f"{spec.path}:"):
            entry = (spec.files if table == "files" else spec.libraries)[number]
            key = "name" if entry.source is None else "from"
            message = f"{error.where}: {error.message}" if error.where else error.message
            position = spec.locate_key(table, number, key)
            reported = BundleFixError(message, where=position, hint=error.hint)
        problems.append((find_position(spec.toml, (table, number)), reported))


def _find_system_files(builder: PackBuilder) -> Iterator[Path]:
    """Yield the ELF files from outside the root: only those can belong to installed packages."""
    root = builder.root.resolve()
    for path in builder.images:
        source = builder.origins[path].source
        if source is not None and not source.is_relative_to(root):
            yield source
