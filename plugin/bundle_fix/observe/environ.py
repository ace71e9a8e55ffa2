"""The present environment of a process: the variable ``environ`` of its C library (environ(7)).

It may differ from the one that the loader saw. It is the only one left in servers that write their
title over the environment on their stack; they copy it first (PostgreSQL's ps_status.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.symbols.hashes import find_definitions
from bundle_fix.model.errors import BundleFixError
from bundle_fix.observe.loaded_image import LoadedImage
from bundle_fix.observe.memory import read_text, read_words
from bundle_fix.observe.objects import ObservedObject
from bundle_fix.observe.snapshot import ProcessSnapshot

MAX_VARIABLES = 4096
VALUE_OFFSETS = {32: 4, 64: 8}
"""The offset of st_value in a symbol, by class."""


def read_present_environment(
    snapshot: ProcessSnapshot, objects: Iterable[ObservedObject]
) -> Mapping[str, str] | None:
    """Return the variables that begin with ``LD_``; None if ``environ`` cannot be read.

    The first object that defines ``environ`` has it: the program, if it uses the variable by a
    copy relocation, or else the C library.
    """
    for observed in objects:
        if observed.namespace == 0 and observed.loaded is not None:
            address = _find_variable(observed.loaded, b"environ")
            if address is not None:
                return _read_variables(snapshot, address)
    return None


def _find_variable(loaded: LoadedImage, name: bytes) -> int | None:
    """Return the address of a variable that an object defines, or None."""
    image, layout = loaded.image, loaded.image.format
    try:
        index = next(find_definitions(loaded.reader, image, name), None)
    except BundleFixError:
        return None
    table = image.find_value(c.DT_SYMTAB)
    start = None if table is None else image.find_offset(table)
    if index is None or start is None:
        return None
    place = start + index * layout.symbol_size + VALUE_OFFSETS[layout.bits]
    values = read_words(loaded.reader, layout, place, 1)
    return None if values is None else loaded.bias + values[0]


def _read_variables(snapshot: ProcessSnapshot, address: int) -> Mapping[str, str] | None:
    memory, layout = snapshot.memory, snapshot.layout
    start = read_words(memory, layout, address, 1)
    if start is None:
        return None
    found: dict[str, str] = {}
    for index in range(MAX_VARIABLES):
        pointer = read_words(memory, layout, start[0] + index * layout.word.size, 1)
        if pointer is None or not pointer[0]:
            break
        name, _, value = (read_text(memory, pointer[0]) or "").partition("=")
        if name.startswith("LD_"):
            found.setdefault(name, value)
    return found
