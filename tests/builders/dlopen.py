"""C sources of objects that open libraries at run time, and say so or not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

DLOPEN_SOURCE = """
#include <dlfcn.h>
static const char *const name = "%s";
void *open_it(void) { return dlopen(name, RTLD_NOW); }
"""
"""A library that imports dlopen and carries the name of what it opens."""


def make_dlopen_source(name: str) -> str:
    """The source of a library that opens ``name``."""
    return DLOPEN_SOURCE % name


def make_dlopen_note_source(features: Sequence[Mapping[str, object]] | str) -> str:
    """The source of a library with an ELF dlopen metadata note.

    Args:
        features: what the note says; a string is taken as it stands, for notes that are damaged.
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
    int noted;
    """
