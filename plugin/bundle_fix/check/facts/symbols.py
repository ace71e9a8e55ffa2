"""Symbols and versions of the objects of processes, each read once and only when asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct, field

from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.symbols.symbol_table import SymbolTable, read_symbols
from bundle_fix.elf.symbols.versions import (
    read_defined_versions,
    read_needed_versions,
    read_weak_versions,
)
from bundle_fix.loader.hosts.files import View
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import BundleFixError

T = TypeVar("T")
Read = Callable[..., Any]
"""Makes something of a file: of its `Reader` and its `Image`."""
Told = Callable[[], Mapping[tuple[str, Read], Any]]
"""Gives what was made of files, by their paths in the pack and by what made it."""


class Symbols(Struct, frozen=True, eq=False):
    """What the objects in one view of files define and want.

    An object of a process is asked about by itself (its file must be known), a file of the pack
    by its path. Every method raises `BundleFixError` where a file's tables are damaged.
    """

    view: View
    _known: dict[tuple[str, object], Any] = field(default_factory=dict)
    _expected: dict[Read, Told] = field(default_factory=dict)

    def table(self, of: LoadedObject | str) -> SymbolTable:
        """The dynamic symbols of a file."""
        return self.read(of, read_symbols)

    def wanted_versions(self, of: LoadedObject | str) -> Mapping[str, tuple[str, ...]]:
        """The versions that a file wants of each library."""
        return self.read(of, read_needed_versions)

    def weakly_wanted(self, of: LoadedObject | str) -> frozenset[tuple[str, str]]:
        """The libraries and versions that a file can do without."""
        return self.read(of, read_weak_versions)

    def offered_versions(self, of: LoadedObject | str) -> frozenset[str] | None:
        """The versions that a file defines, or None where it has no versions."""
        return self.read(of, read_defined_versions)

    def expect(self, reads: Sequence[Read], told: Told) -> None:
        """Take what ``told`` gives, once one of ``reads`` is asked for, instead of reading it.

        Args:
            reads: what is read elsewhere.
            told: gives, when it is there, what each makes of each file of the pack, by its path.
        """
        self._expected.clear()
        self._expected.update(dict.fromkeys(reads, told))

    def read(self, of: LoadedObject | str, read: Callable[[Reader, Image], T]) -> T:
        """What ``read`` makes of a file, made once."""
        if isinstance(of, str):
            real, label = self.view.absolute(of), of
            image: Image | None = self.view.bundle.images[of]
        else:
            real, label, image = of.real_path or "", of.label, of.image
        key = (real, read)
        if key not in self._known and read in self._expected:
            told = self._expected[read]
            self._expected.clear()
            self._known.update(
                ((self.view.absolute(path), of_file), fact)
                for (path, of_file), fact in told().items()
            )
        if key not in self._known:
            content = self.view.find_content(real)
            assert content is not None  # noqa: S101 (what has an image has content)
            assert image is not None  # noqa: S101 (the caller asks of known files)
            try:
                with content.open() as reader:
                    self._known[key] = read(reader, image)
            except DamagedElfError as error:
                raise BundleFixError(error.message, where=label) from error
        value: T = self._known[key]
        return value
