"""Collects what a spec names into a tree: files, libraries with their links, and the closure."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.collect.closure import close
from bundle_fix.collect.collection import Collected, Collection
from bundle_fix.collect.files import add_files
from bundle_fix.collect.libraries import add_library, library_sources
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import pack_name, pack_path
from bundle_fix.spec.variables import Values, evaluate_when


def collect(spec: Spec, values: Values, root: Path) -> Collected:
    """Collect everything that ``spec`` names and what its closure bundles.

    Args:
        spec: the spec.
        values: its variables and options.
        root: the folder that its paths are relative to.

    Raises:
        BundleFixError: something is not there, cannot be read, or lands where something else is.
    """
    collection = Collection(root)
    pinned: list[str] = []
    for number, entry in enumerate(spec.files):
        if evaluate_when(entry.when, values):
            add_files(collection, entry, values, spec.where("files", number))
    for number, library in enumerate(spec.libraries):
        if evaluate_when(library.when, values):
            where = spec.where("libraries", number)
            folder = pack_path(library.to or spec.layout.lib, values, where)
            for source in library_sources(collection, library, values, where):
                soname = add_library(collection, source, folder, where)
                pinned += [soname] if library.pin else []
    close(collection, spec, values)
    return Collected(
        collection.bundle(pack_name(spec, values)),
        collection.origins,
        tuple(dict.fromkeys(pinned)),
    )
