"""Files that are never edited, and changes that no editor makes."""

from __future__ import annotations

import re

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.hashes import find_provided_symbols
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.model.content import Reader

LOADERS = re.compile(
    r"ld(64|32)?[.-](so|linux|musl|lsb|uclibc|android|elf|kfreebsd)|linker(64)?$|libc\.musl-",
    re.IGNORECASE,
)
"""Sonames of dynamic loaders. They are never edited: they rely on their own layout at start."""
LOADER_SYMBOLS = (
    b"__dls3", b"_dl_debug_state", b"r_debug_state", b"rtld_db_dlactivity", b"__loader_dlopen",
)  # fmt: skip
"""Symbols that only loaders define: musl's start, the breakpoints at which debuggers see new
objects in glibc, uClibc and musl, in FreeBSD, and in bionic, and the entry points of bionic's.

musl's loader is its libc, to which only some distributions give a soname.
"""


def find_refusal(reader: Reader, image: Image) -> str:
    """Return why files of this kind are never edited, or an empty text if they are."""
    if not image.is_dynamic:
        kinds = {"rel": "is an object file", "core": "is a core file"}
        return f"it {kinds.get(image.type, 'is static or contains only debug information')}"
    if image.interpreter is not None or image.needed:
        return ""
    pie = (image.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_PIE
    if pie or image.type == "exec":
        return "it is a static program"
    if LOADERS.match(image.soname or "") or find_provided_symbols(reader, image, LOADER_SYMBOLS):
        return "it is the dynamic loader"
    return ""


def find_lost_versions(reader: Reader, image: Image, changes: Changes) -> str:
    """Return why the loader would not find needed versions after a replacement, or an empty text.

    The loader compares the name in the list of needed versions with the names of loaded objects,
    in which ``$ORIGIN`` is expanded (glibc's dl-version.c, find_needed).
    """
    for old, new in changes.replace_needed:
        if "$" in new and old in read_needed_versions(reader, image):
            return f"it needs symbol versions of {old}, which the loader would not find in {new}"
    return ""
