"""The schema of a spec (`bundle.toml`) as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from bundle_fix.spec.parsing.positions import find_position
from bundle_fix.spec.table_types import (
    BundleTable,
    CheckTable,
    ClosureTable,
    DebugTable,
    FilesEntry,
    LayoutTable,
    LibrariesEntry,
    Option,
    RunpathTable,
    SpecTable,
    Variable,
)
from bundle_fix.spec.value_types import Name


class Tables(SpecTable, kw_only=True, frozen=True):
    """The tables of a spec."""

    bundle: Annotated[BundleTable, Meta(description="Name and format of the pack.")] = BundleTable()
    variables: Annotated[dict[Name, Variable], Meta(description="Values, used as `{name}`.")] = (
        field(default_factory=dict)
    )
    options: Annotated[
        dict[Name, Option], Meta(description="Choices, made with `-D name=value`.")
    ] = field(default_factory=dict)
    files: Annotated[tuple[FilesEntry, ...], Meta(description="Files of any kind.")] = ()
    libraries: Annotated[tuple[LibrariesEntry, ...], Meta(description="Shared libraries.")] = ()
    closure: Annotated[
        ClosureTable, Meta(description="Libraries from this machine or the target.")
    ] = ClosureTable()
    layout: Annotated[LayoutTable, Meta(description="Directories of the pack.")] = LayoutTable()
    runpath: Annotated[RunpathTable, Meta(description="Settings for writing RUNPATHs.")] = (
        RunpathTable()
    )
    debug: Annotated[DebugTable, Meta(description="Treatment of debug information.")] = DebugTable()
    check: Annotated[CheckTable, Meta(description="Requirements on the finished pack.")] = (
        CheckTable()
    )


class Spec(Tables, kw_only=True, frozen=True):
    """The tables of a spec, with its path and text, so that later errors can name a position."""

    path: Path
    toml: str

    def locate_key(self, *key: str | int) -> str:
        """Return the position of a value, as ``path:line:column``.

        Args:
            key: the path to the value in the TOML: ``"files", 2, "from"``. If there is no such
                key, the position is that of the innermost table on the way to it.
        """
        line, column = find_position(self.toml, key)
        return f"{self.path}:{line}:{column}"
