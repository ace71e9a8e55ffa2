"""Symbols and versions of the objects of processes, each read once and only when asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bundle_fix.content import Reader
from bundle_fix.elf.image import DamagedElfError, Image
from bundle_fix.elf.symbols import Wanted, defined_symbols, wanted_symbols
from bundle_fix.elf.versions import needed_versions, offered_versions, weakly_wanted
from bundle_fix.errors import BundleFixError
from bundle_fix.loader.files import View
from bundle_fix.loader.objects import Mapped

T = TypeVar("T")


@dataclass(frozen=True)
class Symbols:
    """What the objects in one view of files define and want.

    Every method raises `BundleFixError` where a file's tables are damaged, and takes an object
    whose file is known.
    """

    view: View
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)

    def wanted(self, mapped: Mapped) -> tuple[Wanted, ...]:
        """The symbols that an object uses and does not define."""
        return self._read(mapped, "wanted", wanted_symbols)

    def defined(self, mapped: Mapped) -> frozenset[str]:
        """The symbols that an object defines for others."""
        return self._read(mapped, "defined", defined_symbols)

    def wanted_versions(self, mapped: Mapped) -> Mapping[str, tuple[str, ...]]:
        """The versions that an object wants of each library."""
        return self._read(mapped, "wanted versions", needed_versions)

    def weakly_wanted(self, mapped: Mapped) -> frozenset[tuple[str, str]]:
        """The libraries and versions that an object can do without."""
        return self._read(mapped, "weak versions", weakly_wanted)

    def offered_versions(self, mapped: Mapped) -> frozenset[str] | None:
        """The versions that an object defines, or None where it has no versions."""
        return self._read(mapped, "offered versions", offered_versions)

    def _read(self, mapped: Mapped, what: str, read: Callable[[Reader, Image], T]) -> T:
        key = (mapped.real or mapped.label, what)
        if key not in self._known:
            content = self.view.content(mapped.real or "")
            assert content is not None  # noqa: S101 (what has an image has content)
            assert mapped.image is not None  # noqa: S101 (the caller asks of known files)
            try:
                with content.open() as reader:
                    self._known[key] = read(reader, mapped.image)
            except DamagedElfError as error:
                raise BundleFixError(error.message, where=mapped.label) from error
        value: T = self._known[key]
        return value
