"""The symbols that a shared object exports, and those that another one lacks."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.symbols.definitions import DefinedSymbol, read_defined_symbols
from bundle_fix.model.errors import BundleFixError, DamagedElfError


def read_exported_symbols(snapshot: Snapshot, path: str) -> Sequence[DefinedSymbol]:
    """Return the symbols that a shared object exports; none if the file is not one.

    Raises:
        BundleFixError: the symbol tables cannot be read.
    """
    image = snapshot.bundle.images.get(path)
    if image is None or not image.is_dynamic:
        return ()
    try:
        with snapshot.contents[path].open() as reader:
            return read_defined_symbols(reader, image)
    except DamagedElfError as error:
        raise BundleFixError(error.message, where=f"{snapshot.name}: {path}") from error


def compute_removed_symbols(
    before: Sequence[DefinedSymbol], after: Sequence[DefinedSymbol]
) -> list[DefinedSymbol]:
    """Return the symbols in ``before`` that a lookup no longer finds in ``after``.

    A reference without a version also binds to the default version of the name. A reference with a
    version also binds to a library without any versions (glibc's dl-lookup.c, check_match).
    """
    versioned = any(s.version is not None for s in after)
    exact = {(s.name, s.version) for s in after}
    names = {s.name for s in after if not s.hidden}
    return sorted(
        (
            s
            for s in before
            if (s.name, s.version) not in exact
            and not ((s.version is None or not versioned) and s.name in names)
        ),
        key=lambda s: s.label,
    )
