"""The changes that a user or a plan asks for in the dynamic section of one ELF file, as data."""

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

    def __post_init__(self) -> None:
        if self.runpath is not None and self.rpath is not None:
            raise BundleFixError(
                "RPATH and RUNPATH cannot both be set in one file; set one of them"
            )
        _reject_contradictions(self)
        for text in (*_list_new_names(self), self.runpath, self.rpath, self.soname):
            if text is not None and CONTROL_CHARACTER.search(text):
                raise BundleFixError(
                    f"invalid name for an ELF file: {text!r} contains a NUL or another control"
                    " character"
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
