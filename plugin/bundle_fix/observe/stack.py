"""The environment of a process as the kernel put it on its stack at the start.

Source: Linux's fs/binfmt_elf.c, create_elf_tables. From low to high addresses: argc, the pointers
of the arguments, NULL, those of the environment, NULL, the auxiliary vector, 16 random bytes
(AT_RANDOM), the arguments, the environment, the path of the program (AT_EXECFN).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from bundle_fix.elf.read.structs import Format
from bundle_fix.model.content import Reader
from bundle_fix.observe.snapshot import Aux

MAX_POINTERS = 1 << 18
"""Bytes below the random bytes in which the pointers are looked for."""
MAX_ENVIRONMENT = 8 << 20
"""Limit of the environment in bytes; the kernel's own is 6 MiB (exec.c, bprm_stack_limits)."""


def parse_environment(data: bytes) -> Mapping[str, str] | None:
    """Return the variables that begin with ``LD_``, which the loader reads.

    None if the process has overwritten its environment, as servers do that change their title.
    """
    texts = [os.fsdecode(text) for text in data.split(b"\0") if text]
    if any("=" not in text for text in texts) or (data and not texts):
        return None
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name.startswith("LD_"):
            found.setdefault(name, value)
    return found


def read_environment(
    memory: Reader, layout: Format, vector: Mapping[int, int], raw_vector: bytes
) -> Mapping[str, str] | None:
    """Return the variables for the loader, or None if the stack cannot be read.

    Args:
        memory: the memory of the process.
        layout: its class and byte order.
        vector: its auxiliary vector.
        raw_vector: the same as it is in memory.
    """
    end, top = vector.get(Aux.RANDOM), vector.get(Aux.EXECFN)
    if end is None or top is None or len(raw_vector) < 2 * layout.dynamic.size:
        return None
    start = max(end - MAX_POINTERS, 0)
    data = _read_before(memory, start, end)
    at = data.rfind(raw_vector[: 2 * layout.dynamic.size])
    word = layout.word.size
    if at < 2 * word:
        return None
    first = None
    for index in range(at - 2 * word, -1, -word):
        (pointer,) = layout.word.unpack_from(data, index)
        if pointer == 0:
            break
        first = pointer
    if first is None:
        return {}
    if not first < top <= first + MAX_ENVIRONMENT:
        return None
    return parse_environment(memory.pread(first, top - first))


def _read_before(memory: Reader, start: int, end: int) -> bytes:
    """Return the bytes from ``start`` to ``end``, or fewer if the stack begins after ``start``."""
    while start < end:
        data = memory.pread(start, end - start)
        if len(data) == end - start:
            return data
        start = end - (end - start) // 2
    return b""
