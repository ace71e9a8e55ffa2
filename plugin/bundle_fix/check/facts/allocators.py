"""Who provides memory in a process: the malloc family and ``operator new``, in lookup order.

A *provider* of a name is an object that defines it; the first one wins. Whose *heap* a name takes
blocks from may be another's: a wrapper passes calls on, and libstdc++'s ``operator new`` asks
``malloc``, whoever that is. What must agree is the heap that a block comes from and the one that it
is given back to.
Sources: the glibc manual, "Replacing malloc"; [new.delete] of the C++ standard; the Itanium C++ ABI
for the names.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.scan.static_allocator import contains_malloc_names
from bundle_fix.elf.symbols.hashes import find_provided_symbols
from bundle_fix.loader.hosts.libc import MUSL_LIBC_NAME, is_part_of_libc
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.process import Process
from bundle_fix.model.content import Reader

KNOWN = ("libtcmalloc", "libjemalloc", "libmimalloc", "libhoard", "libtbbmalloc_proxy", "libumem")
"""Allocators known by name, for copies on a host that cannot be looked into."""
CPP_RUNTIME = re.compile(r"lib(stdc\+\+|c\+\+|c\+\+abi)\.so(\.\d+)*")
"""Libraries whose ``operator new`` asks ``malloc``, and whose ``operator delete`` asks ``free``."""

ALLOCATE = (
    b"malloc", b"calloc", b"realloc", b"memalign", b"posix_memalign", b"aligned_alloc", b"valloc",
    b"pvalloc",
)  # fmt: skip
MALLOC_FAMILY = (*ALLOCATE, b"free", b"malloc_usable_size")
_ALIGN, _QUIET = b"St11align_val_t", b"RKSt9nothrow_t"
NEW_AND_DELETE: Mapping[bytes, tuple[bytes, ...]] = {
    new + size + align + quiet: (
        delete + align, delete + size + align, *([delete + align + quiet] if quiet else []),
    )
    for new, delete in ((b"_Znw", b"_ZdlPv"), (b"_Zna", b"_ZdaPv"))
    for size in (b"m", b"j")
    for align in (b"", _ALIGN)
    for quiet in (b"", _QUIET)
}  # fmt: skip
"""For each ``operator new`` (``m`` on 64 bits, ``j`` on 32), what gives back what it gave."""
OPERATORS = tuple(
    dict.fromkeys([*NEW_AND_DELETE, *(d for ds in NEW_AND_DELETE.values() for d in ds)])
)
NAMES = (*MALLOC_FAMILY, *OPERATORS)
CORE = (b"malloc", b"free", b"calloc", b"memalign", b"_Znwm", b"_Znwj", b"_ZdlPv")

MEMORY = (b"mmap", b"mmap64", b"sbrk", b"__sbrk", b"brk", b"syscall", b"madvise")
"""Where an allocator gets its memory; what only wraps one asks for none of it."""
SANITIZER = b"__sanitizer_get_heap_size"
"""Every sanitizer that brings an allocator defines it; their system calls are their own."""


class MemoryProviders(Struct, frozen=True):
    """The objects of one process that provide memory.

    Attributes:
        process: the process.
        providers: for each name of `NAMES` that anything defines, its providers in lookup order.
    """

    process: Process
    facts: FileFacts
    providers: Mapping[bytes, Sequence[LoadedObject]]

    def find_allocators(self) -> list[LoadedObject]:
        """The objects that provide both ``malloc`` and ``free``, in lookup order.

        The C library, the last resort of every process, does not count; neither does a wrapper.
        """
        asked = self.providers.get(b"malloc", ())
        return [mapped for mapped in asked if is_allocator(self.facts, mapped)]

    def has_replacement(self) -> bool:
        """Whether anything but the C and C++ libraries provides memory."""
        found = (mapped for mapped_by in self.providers.values() for mapped in mapped_by)
        return any(not is_libc(mapped) and not is_cpp_runtime(mapped) for mapped in found)

    def find_heap(self, name: bytes) -> LoadedObject | None:
        """Whose blocks ``name`` gives or takes; None where that cannot be told."""
        for mapped in self.providers.get(name, ()):
            if is_libc(mapped) or mapped in self.find_allocators():
                return mapped
            wanted = read_undefined_names(self.facts, mapped)
            if name in MALLOC_FAMILY:
                if is_wrapper(self.facts, mapped):
                    continue
                return mapped
            if is_cpp_runtime(mapped):
                return self.find_heap(get_called_function(name))
            return self.find_heap(get_backing_function(name)) if get_backing_function(name) in wanted else mapped
        return None

    def make_evidence(self) -> dict[str, list[str]]:
        """The providers by name, as JSON holds them; names that only libc has are left out."""
        return {
            name.decode(): [mapped.label for mapped in mapped_by]
            for name, mapped_by in self.providers.items()
            if not all(map(is_libc, mapped_by))
        }


def get_backing_function(operator: bytes) -> bytes:
    """What an ``operator new`` or ``delete`` that has no heap of its own asks."""
    if operator not in NEW_AND_DELETE:
        return b"free"
    return b"aligned_alloc" if _ALIGN in operator else b"malloc"


def get_called_function(operator: bytes) -> bytes:
    """What the C++ library's own ``operator new`` or ``delete`` calls.

    It has one of each that asks ``malloc`` and ``free``; those of arrays, sized ones and those that
    do not throw call that one, whoever provides it ([new.delete]).
    """
    plain = operator.removesuffix(_QUIET).replace(b"_Zna", b"_Znw").replace(b"_Zda", b"_Zdl")
    plain = re.sub(rb"^_ZdlPv[mj]", b"_ZdlPv", plain)
    return get_backing_function(operator) if plain == operator else plain


def find_memory_providers(symbols: FileFacts, process: Process) -> MemoryProviders:
    """The objects of ``process`` that provide memory."""
    found: dict[bytes, list[LoadedObject]] = {}
    for mapped in process.objects:
        for name in sorted(find_provided_names(symbols, mapped), key=NAMES.index):
            found.setdefault(name, []).append(mapped)
    return MemoryProviders(process, symbols, found)


def find_provided_names(symbols: FileFacts, mapped: LoadedObject) -> frozenset[bytes]:
    """Those of `NAMES` that an object provides; by its name, where it cannot be looked into."""
    if mapped.image is not None and mapped.image.is_dynamic:
        return symbols.read_fact(mapped, read_defined_names)
    name = posixpath.basename(mapped.name)
    if name.startswith(("libc.so", "ld-musl-")) or MUSL_LIBC_NAME.fullmatch(name):
        return frozenset(MALLOC_FAMILY)
    if mapped.path is not None and name.startswith(KNOWN):
        return frozenset(NAMES)
    runtime = mapped.path is not None and CPP_RUNTIME.fullmatch(name)
    return frozenset(OPERATORS) if runtime else frozenset()


def read_defined_names(reader: Reader, image: Image) -> frozenset[bytes]:
    # What provides memory has one of these: most objects have none, and are asked no more.
    names = NAMES if find_provided_symbols(reader, image, CORE) else ()
    return find_provided_symbols(reader, image, names)


def is_allocator(symbols: FileFacts, mapped: LoadedObject) -> bool:
    """Whether an object provides ``malloc`` and ``free`` of its own, and is not the C library."""
    both = find_provided_names(symbols, mapped) >= {b"malloc", b"free"}
    return both and not is_libc(mapped) and not is_wrapper(symbols, mapped)


def is_libc(mapped: LoadedObject) -> bool:
    """Whether an object is of the C library, whose ``malloc`` everybody falls back on."""
    soname = mapped.image.soname if mapped.image else None
    return is_part_of_libc(posixpath.basename(mapped.name)) or is_part_of_libc(soname or "")


def is_cpp_runtime(mapped: LoadedObject) -> bool:
    return CPP_RUNTIME.fullmatch(posixpath.basename(mapped.name)) is not None


def read_undefined_names(symbols: FileFacts, mapped: LoadedObject) -> frozenset[bytes]:
    """The names that an object uses and does not define."""
    if mapped.image is None:
        return frozenset()
    return frozenset(symbol.name for symbol in symbols.read_symbol_table(mapped).undefined)


def is_wrapper(symbols: FileFacts, mapped: LoadedObject) -> bool:
    """Whether an object passes on what it is asked (``dlsym`` with RTLD_NEXT), as profilers do."""
    if mapped.image is None:
        return False
    wanted = read_undefined_names(symbols, mapped)
    if b"dlsym" not in wanted or SANITIZER in symbols.read_symbol_table(mapped).defined:
        return False
    return not wanted & set(MEMORY) or symbols.read_fact(mapped, contains_malloc_names)
