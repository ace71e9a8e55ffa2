"""LIEF, which is imported only where it is used, because a machine may not be able to load it.

Its wheels need glibc 2.25 and the libstdc++ of GCC 7; bundle-fix itself runs with glibc 2.17 alone.
"""

from __future__ import annotations

import re

from bundle_fix.model.errors import BundleFixError

MISSING_VERSION = re.compile(r"(\S+): version [`'](\S+)' not found")
"""The message of the dynamic loader about a library that is too old (glibc's dl-version.c)."""


def load_lief() -> str:
    """Import LIEF; return why it cannot be used on this machine, or an empty text if it can."""
    try:
        import lief

        # A directory named lief without a module is a package too (PEP 420).
        return "" if hasattr(lief, "ELF") else "LIEF is not installed completely"
    except ModuleNotFoundError as error:
        if error.name == "lief":
            return "LIEF is not installed"
        reason = str(error)
    except Exception as error:  # an import runs the code of the package, which may be damaged
        reason = str(error) or type(error).__name__
    if found := MISSING_VERSION.search(reason):
        return f"LIEF needs {found[2]}, which {found[1]} lacks"
    return f"LIEF cannot be loaded: {reason.splitlines()[0]}"


def require_editor(editor: str | None) -> None:
    """Ensure that the ELF editor which the user selected can be used on this machine.

    Raises:
        BundleFixError: The editor is ``lief``, and LIEF cannot be used.
    """
    if editor == "lief" and (problem := load_lief()):
        raise BundleFixError(
            f"the ELF editor lief cannot be used: {problem}", hint="use the editor auto"
        )
