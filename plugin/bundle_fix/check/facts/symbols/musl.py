"""The symbols that the objects of a process find with musl, which ignores versions.

Source: musl's ldso/dynlink.c, find_sym2 and get_lfs64: some names are only known to the loader.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.elf.symbols.symbol_table import UndefinedSymbol
from bundle_fix.loader.hosts.libc import Libc, is_part_of_libc, read_musl_exports
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.process import Process

LOADER_SUFFIXES = (b"64", b"64_r")
"""Ends of the names that get_lfs64 knows and the symbol table of musl lacks since 1.2.4."""


def is_musl(loaded: LoadedObject) -> bool:
    """Return whether an object of a musl process is musl itself."""
    return is_part_of_libc(posixpath.basename(loaded.name), Libc.MUSL)


def find_musl_symbols(
    facts: FileFacts, process: Process, symbols: Iterable[UndefinedSymbol]
) -> set[bytes]:
    """Return the names of ``symbols`` that musl, or another object of its process, defines."""
    is_read = any(is_musl(loaded) and loaded.image is not None for loaded in process.objects)
    wanted = {symbol.name for symbol in symbols}
    found = wanted & read_musl_exports()
    if is_read:
        found = {name for name in found if name.endswith(LOADER_SUFFIXES)}
    for loaded in process.objects:
        if loaded.image is not None and loaded.image.is_dynamic:
            exports = facts.read_exports(loaded)
            found |= {name for name in wanted - found if exports.provides_symbol(name, None)}
    return found
