"""C sources of objects that call dlopen(3), with or without an ELF dlopen metadata note."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

DLOPEN_SOURCE = """
#include <dlfcn.h>
static const char *const name = "%s";
void *open_it(void) { return dlopen(name, RTLD_NOW); }
"""
"""A library that imports dlopen and contains the name of the library that it opens."""


def make_dlopen_source(name: str) -> str:
    """Return the source of a library that opens ``name``."""
    return DLOPEN_SOURCE % name


def make_dlopen_note_source(features: Sequence[Mapping[str, object]] | str) -> str:
    """Return the source of a library with an ELF dlopen metadata note.

    Args:
        features: the entries of the note, or its raw text, for invalid notes.
    """
    text = features if isinstance(features, str) else json.dumps(features)
    quoted = json.dumps(json.dumps(text))[1:-1].replace("%", "%%")
    return f"""
    asm(".pushsection .note.dlopen, \\"a\\", %note\\n"
        ".balign 4\\n"
        ".long 4, 1f - 0f, 0x407c0c0a\\n"
        ".asciz \\"FDO\\"\\n"
        "0: .asciz {quoted}\\n"
        "1: .balign 4\\n"
        ".popsection\\n");
    int has_note;
    """
