"""The objects of a process that define a symbol, in the order of symbol lookup.

Source: the gABI, "Shared Object Dependencies": the global scope is the program and then all objects
in load order; the first definition wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from bundle_fix.elf.symbols.hashes import find_definitions
from bundle_fix.elf.symbols.versions import read_symbol_version
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.process import Process
from bundle_fix.model.errors import BundleFixError, DamagedElfError

CXX_SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "operator new": ("_Znwm", "_Znwj"),
    "operator new[]": ("_Znam", "_Znaj"),
    "operator delete": ("_ZdlPv",),
    "operator delete[]": ("_ZdaPv",),
}
"""The mangled names of C++ operators (Itanium ABI): size_t is ``m`` on 64 and ``j`` on 32 bits."""


class SymbolProvider(Struct, frozen=True):
    """An object that defines a symbol, with the versions that it defines.

    ``is_certain`` is False for the C library of a host with unknown files.
    """

    loaded_object: LoadedObject
    symbol: str
    versions: tuple[str, ...]
    is_certain: bool = True


LIBC_SYMBOLS = frozenset({"malloc", "free", "calloc", "realloc", "memalign", "posix_memalign"})
"""Symbols that every C library defines, for hosts with unknown files."""


def find_symbol_providers(
    deployment: Deployment, process: Process, symbol: str
) -> list[SymbolProvider]:
    """Return the objects of ``process`` that define ``symbol``, in the order of symbol lookup.

    The first one's definition is used.

    Args:
        deployment: the pack and the host of the process.
        process: objects whose files are unknown are skipped.
        symbol: the name in the symbol table, or one of `CXX_SYMBOLS`.

    Raises:
        BundleFixError: the symbol table of an object is damaged.
    """
    found: list[SymbolProvider] = []
    for name in CXX_SYMBOLS.get(symbol, (symbol,)):
        for loaded in process.objects:
            found += _find_definition(deployment, loaded, name)
    return found


def _find_definition(
    deployment: Deployment, loaded: LoadedObject, name: str
) -> Iterator[SymbolProvider]:
    if loaded.image is None:
        is_libc = loaded.name.startswith("libc.") and is_part_of_libc(loaded.name)
        if is_libc and name in LIBC_SYMBOLS:
            yield SymbolProvider(loaded, name, (), is_certain=False)
        return
    content = deployment.view.find_content(loaded.real_path or "")
    if content is None or not loaded.image.is_dynamic:
        return
    try:
        with content.open() as reader:
            indices = list(find_definitions(reader, loaded.image, name.encode()))
            versions = [read_symbol_version(reader, loaded.image, index) for index in indices]
    except DamagedElfError as error:
        raise BundleFixError(error.message, where=loaded.label) from error
    if indices:
        yield SymbolProvider(loaded, name, tuple(v for v in versions if v is not None))
