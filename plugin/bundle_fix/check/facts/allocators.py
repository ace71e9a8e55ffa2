"""The memory allocators of a process: the malloc family and ``operator new``, in lookup order.

A *provider* of a name is an object that defines it; the first one in lookup order is called. The
*heap* of a name is the object whose blocks it allocates or frees. This may be another object: a
wrapper forwards calls, and ``operator new`` of libstdc++ calls whichever ``malloc`` comes first. A
block must be freed by the heap that allocated it.

Sources: the glibc manual, "Replacing malloc"; [new.delete] of the C++ standard; the Itanium C++ ABI
for the mangled names.
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

ALLOCATOR_PREFIXES = (
    "libtcmalloc", "libjemalloc", "libmimalloc", "libhoard", "libtbbmalloc_proxy", "libumem",
)  # fmt: skip
"""File names of allocators, for copies on a host whose files cannot be read."""
CPP_RUNTIME = re.compile(r"lib(stdc\+\+|c\+\+|c\+\+abi)\.so(\.\d+)*")
"""Libraries whose ``operator new`` calls ``malloc``, and whose ``operator delete`` ``free``."""

ALLOCATION_FUNCTIONS = (
    b"malloc", b"calloc", b"realloc", b"memalign", b"posix_memalign", b"aligned_alloc", b"valloc",
    b"pvalloc",
)  # fmt: skip
MALLOC_FAMILY = (*ALLOCATION_FUNCTIONS, b"free", b"malloc_usable_size")
_ALIGN, _NOTHROW = b"St11align_val_t", b"RKSt9nothrow_t"
NEW_AND_DELETE: Mapping[bytes, tuple[bytes, ...]] = {
    new + size + align + nothrow: (
        delete + align, delete + size + align, *([delete + align + nothrow] if nothrow else []),
    )
    for new, delete in ((b"_Znw", b"_ZdlPv"), (b"_Zna", b"_ZdaPv"))
    for size in (b"m", b"j")
    for align in (b"", _ALIGN)
    for nothrow in (b"", _NOTHROW)
}  # fmt: skip
"""For each ``operator new``, the operators that free its blocks.

``size_t`` is mangled as ``m`` on 64-bit machines and as ``j`` on 32-bit ones.
"""
CPP_OPERATORS = tuple(
    dict.fromkeys([*NEW_AND_DELETE, *(d for ds in NEW_AND_DELETE.values() for d in ds)])
)
ALLOCATION_NAMES = (*MALLOC_FAMILY, *CPP_OPERATORS)
CORE_NAMES = (b"malloc", b"free", b"calloc", b"memalign", b"_Znwm", b"_Znwj", b"_ZdlPv")
"""Every object that provides memory defines at least one of these."""

SYSTEM_MEMORY_FUNCTIONS = (
    b"mmap", b"mmap64", b"sbrk", b"__sbrk", b"brk", b"syscall", b"madvise",
)  # fmt: skip
"""Functions from which an allocator gets memory; a wrapper uses none of them."""
SANITIZER_MARKER = b"__sanitizer_get_heap_size"
"""Defined by every sanitizer that brings an allocator; they make system calls without libc."""


class MemoryProviders(Struct, frozen=True):
    """The objects of one process that provide memory.

    Attributes:
        process: the process.
        facts: the facts about its files.
        providers: the providers of each of `ALLOCATION_NAMES`, in lookup order.
    """

    process: Process
    facts: FileFacts
    providers: Mapping[bytes, Sequence[LoadedObject]]

    def find_allocators(self) -> list[LoadedObject]:
        """Return the objects that provide both ``malloc`` and ``free``, in lookup order.

        Wrappers do not count, nor does the C library, which every process contains.
        """
        providers = self.providers.get(b"malloc", ())
        return [provider for provider in providers if is_allocator(self.facts, provider)]

    def has_replacement(self) -> bool:
        """Return whether an object other than the C and C++ libraries provides memory."""
        found = (provider for providers in self.providers.values() for provider in providers)
        return any(not is_libc(provider) and not is_cpp_runtime(provider) for provider in found)

    def find_heap(self, name: bytes) -> LoadedObject | None:
        """Return the object whose blocks ``name`` allocates or frees; None if it is unknown."""
        for provider in self.providers.get(name, ()):
            if is_libc(provider) or provider in self.find_allocators():
                return provider
            if name in MALLOC_FAMILY:
                if is_wrapper(self.facts, provider):
                    continue
                return provider
            if is_cpp_runtime(provider):
                return self.find_heap(get_called_function(name))
            # An operator that calls malloc or free has no heap of its own.
            function = get_c_function(name)
            if function in read_undefined_names(self.facts, provider):
                return self.find_heap(function)
            return provider
        return None

    def make_evidence(self) -> dict[str, list[str]]:
        """Return the providers by name for the evidence of a finding.

        Names that only the C library provides are left out.
        """
        return {
            name.decode(): [provider.label for provider in providers]
            for name, providers in self.providers.items()
            if not all(map(is_libc, providers))
        }


def get_c_function(operator: bytes) -> bytes:
    """Return the C function that corresponds to an ``operator new`` or ``delete``."""
    if operator not in NEW_AND_DELETE:
        return b"free"
    return b"aligned_alloc" if _ALIGN in operator else b"malloc"


def get_called_function(operator: bytes) -> bytes:
    """Return the function that the C++ library's own ``operator new`` or ``delete`` calls.

    Only the plain operators call ``malloc`` and ``free``. The array, sized and non-throwing ones
    call the plain operator, which another object may replace ([new.delete]).
    """
    plain = operator.removesuffix(_NOTHROW).replace(b"_Zna", b"_Znw").replace(b"_Zda", b"_Zdl")
    plain = re.sub(rb"^_ZdlPv[mj]", b"_ZdlPv", plain)
    return get_c_function(operator) if plain == operator else plain


def find_memory_providers(facts: FileFacts, process: Process) -> MemoryProviders:
    """Return the objects of ``process`` that provide memory."""
    providers: dict[bytes, list[LoadedObject]] = {}
    for loaded in process.objects:
        names = find_provided_names(facts, loaded)
        for name in sorted(names, key=ALLOCATION_NAMES.index):
            providers.setdefault(name, []).append(loaded)
    return MemoryProviders(process, facts, providers)


def find_provided_names(facts: FileFacts, loaded: LoadedObject) -> frozenset[bytes]:
    """Return those of `ALLOCATION_NAMES` that an object provides.

    If its file cannot be read, they are guessed from its file name.
    """
    if loaded.image is not None and loaded.image.is_dynamic:
        return facts.read_fact(loaded, read_allocation_names)
    name = posixpath.basename(loaded.name)
    if name.startswith(("libc.so", "ld-musl-")) or MUSL_LIBC_NAME.fullmatch(name):
        return frozenset(MALLOC_FAMILY)
    if loaded.path is not None and name.startswith(ALLOCATOR_PREFIXES):
        return frozenset(ALLOCATION_NAMES)
    is_runtime = loaded.path is not None and CPP_RUNTIME.fullmatch(name)
    return frozenset(CPP_OPERATORS) if is_runtime else frozenset()


def read_allocation_names(reader: Reader, image: Image) -> frozenset[bytes]:
    """Return those of `ALLOCATION_NAMES` that a file defines."""
    # Most objects define none of the core names; the full list is looked up only for the others.
    names = ALLOCATION_NAMES if find_provided_symbols(reader, image, CORE_NAMES) else ()
    return find_provided_symbols(reader, image, names)


def is_allocator(facts: FileFacts, loaded: LoadedObject) -> bool:
    """Return whether an object other than the C library has its own ``malloc`` and ``free``."""
    has_both = find_provided_names(facts, loaded) >= {b"malloc", b"free"}
    return has_both and not is_libc(loaded) and not is_wrapper(facts, loaded)


def is_libc(loaded: LoadedObject) -> bool:
    """Return whether an object is part of the C library, whose ``malloc`` is the default."""
    soname = loaded.image.soname if loaded.image else None
    return is_part_of_libc(posixpath.basename(loaded.name)) or is_part_of_libc(soname or "")


def is_cpp_runtime(loaded: LoadedObject) -> bool:
    """Return whether an object is part of the C++ library, judging by its name."""
    return CPP_RUNTIME.fullmatch(posixpath.basename(loaded.name)) is not None


def read_undefined_names(facts: FileFacts, loaded: LoadedObject) -> frozenset[bytes]:
    """Return the names of the symbols that an object uses and does not define."""
    if loaded.image is None:
        return frozenset()
    return frozenset(symbol.name for symbol in facts.read_undefined_symbols(loaded))


def is_wrapper(facts: FileFacts, loaded: LoadedObject) -> bool:
    """Return whether an object forwards calls to the next ``malloc``, as profilers do.

    Such an object looks up the next definition with ``dlsym(RTLD_NEXT, "malloc")``.
    """
    if loaded.image is None:
        return False
    names = read_undefined_names(facts, loaded)
    if b"dlsym" not in names or SANITIZER_MARKER in facts.read_exports(loaded).names:
        return False
    return not names & set(SYSTEM_MEMORY_FUNCTIONS) or facts.read_fact(
        loaded, contains_malloc_names
    )
