"""Which objects of a process define a symbol, in the order in which they are asked.

Source: the gABI, "Shared Object Dependencies": the global scope is the program and then all objects
in load order; the first definition wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.symbols.hashes import find_definitions
from bundle_fix.elf.symbols.versions import read_symbol_version
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.process import Process
from bundle_fix.model.errors import BundleFixError

CXX_SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "operator new": ("_Znwm", "_Znwj"),
    "operator new[]": ("_Znam", "_Znaj"),
    "operator delete": ("_ZdlPv",),
    "operator delete[]": ("_ZdaPv",),
}
"""Symbols that have a name in C++, by the Itanium ABI's names of them on 64 and on 32 bits."""


class SymbolProvider(Struct, frozen=True):
    """An object that defines a symbol; ``versions`` are empty where it does so without one.

    ``is_certain`` is false for the C library of a host that cannot be looked into.
    """

    mapped: LoadedObject
    symbol: str
    versions: tuple[str, ...]
    is_certain: bool = True


LIBC_SYMBOLS = frozenset({"malloc", "free", "calloc", "realloc", "memalign", "posix_memalign"})
"""What every C library defines, for hosts that cannot be looked into."""


def find_symbol_providers(world: Deployment, process: Process, symbol: str) -> list[SymbolProvider]:
    """The objects of ``process`` that define ``symbol``, the one that wins first.

    Args:
        world: the process's pack and host.
        process: its objects are looked into, where they can be.
        symbol: as it stands in the symbol table, or one of `CXX_SYMBOLS`.
    """
    found: list[SymbolProvider] = []
    for name in CXX_SYMBOLS.get(symbol, (symbol,)):
        for mapped in process.objects:
            found += _find_definition(world, mapped, name)
    return found


def _find_definition(
    world: Deployment, mapped: LoadedObject, name: str
) -> Iterator[SymbolProvider]:
    if mapped.image is None:
        is_libc = mapped.name.startswith("libc.") and is_part_of_libc(mapped.name)
        if is_libc and name in LIBC_SYMBOLS:
            yield SymbolProvider(mapped, name, (), is_certain=False)
        return
    content = world.view.find_content(mapped.real_path or "")
    if content is None or not mapped.image.is_dynamic:
        return
    try:
        with content.open() as reader:
            indices = list(find_definitions(reader, mapped.image, name.encode()))
            versions = [read_symbol_version(reader, mapped.image, index) for index in indices]
    except DamagedElfError as error:
        raise BundleFixError(error.message, where=mapped.label) from error
    if indices:
        yield SymbolProvider(mapped, name, tuple(v for v in versions if v is not None))
