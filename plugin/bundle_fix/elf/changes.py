"""The changes that a user or a plan asks for in one ELF file, as data."""

from __future__ import annotations

import re

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError

CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class Changes(Struct, frozen=True):
    """The changes to one file. A field that is None stays as it is; an empty string removes it.

    Setting ``runpath`` removes DT_RPATH, which the loader would ignore beside it, and setting
    ``rpath`` removes DT_RUNPATH, which would disable it (glibc's dl-load.c, decompose_rpath).

    Raises:
        BundleFixError: the changes contradict each other, or a name is invalid.
    """

    runpath: str | None = None
    rpath: str | None = None
    soname: str | None = None
    replace_needed: tuple[tuple[str, str], ...] = ()
    insert_needed: tuple[tuple[str, str], ...] = ()
    """Needed names, each with a name to be needed directly before it, unless it already is."""
    add_needed: tuple[str, ...] = ()
    """Names to be needed before all others, in this order, unless they already are needed."""
    remove_needed: tuple[str, ...] = ()
    interpreter: str | None = None
    """The path in PT_INTERP; it cannot be removed."""
    executable_stack: bool | None = None
    """Whether PT_GNU_STACK asks for an executable stack."""
    os_abi: int | None = None
    """The value of e_ident[EI_OSABI]."""
    no_default_lib: bool = False
    """Whether to set DF_1_NODEFLIB: the loader does not search the default directories."""
    debug_tag: bool = False
    """Whether to add DT_DEBUG, unless it is present."""
    clear_versions: tuple[str, ...] = ()
    """The dynamic symbols that lose their version: their index becomes VER_NDX_GLOBAL."""
    rename_symbols: tuple[tuple[str, str], ...] = ()
    """The dynamic symbols to rename, each with its new name; all of a name's versions follow."""

    def __post_init__(self) -> None:
        if self.runpath is not None and self.rpath is not None:
            raise BundleFixError(
                "RPATH and RUNPATH cannot both be set in one file; set one of them"
            )
        _reject_contradictions(self)
        if self.interpreter == "":
            raise BundleFixError("an interpreter cannot be empty")
        names = (*self.clear_versions, *(name for pair in self.rename_symbols for name in pair))
        if "" in names:
            raise BundleFixError("a symbol name cannot be empty")
        texts = (self.runpath, self.rpath, self.soname, self.interpreter)
        for text in (*_list_new_names(self), *texts, *names):
            if text is not None and CONTROL_CHARACTER.search(text):
                raise BundleFixError(
                    f"invalid name for an ELF file: {text!r} contains a NUL or another control"
                    " character"
                )

    @property
    def only_header(self) -> bool:
        """Return whether only the ELF header and the program headers change."""
        header = Changes(executable_stack=self.executable_stack, os_abi=self.os_abi)
        return self == header != Changes()

    @property
    def only_dynamic(self) -> bool:
        """Return whether only the dynamic section and its strings change."""
        return not (
            self.interpreter is not None
            or self.executable_stack is not None
            or self.os_abi is not None
            or self.clear_versions
            or self.rename_symbols
        )


def _list_new_names(changes: Changes) -> tuple[str, ...]:
    pairs = (*changes.replace_needed, *changes.insert_needed)
    return (*(new for _, new in pairs), *changes.add_needed)


def _reject_contradictions(changes: Changes) -> None:
    """Check that every needed name is changed in one way only.

    Raises:
        BundleFixError: a name is changed in two ways.
    """
    new = _list_new_names(changes)
    if "" in new:
        raise BundleFixError("a needed name cannot be empty")
    old = [name for name, _ in (*changes.replace_needed, *changes.insert_needed)]
    for name in old:
        if old.count(name) > 1:
            raise BundleFixError(f"DT_NEEDED {name} is replaced by two names")
        if name in changes.remove_needed:
            raise BundleFixError(f"DT_NEEDED {name} is both replaced and removed")
        if name in new and (name, name) not in changes.replace_needed:
            raise BundleFixError(f"DT_NEEDED {name} is both replaced and added")
    for name in changes.remove_needed:
        if name in new:
            raise BundleFixError(f"DT_NEEDED {name} is both added and removed")
