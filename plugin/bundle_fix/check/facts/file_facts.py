"""Facts about ELF files, such as their symbols and versions, each read once and on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import Struct, field

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.definitions import Exports, read_exports
from bundle_fix.elf.symbols.symbol_table import UndefinedSymbol, read_undefined_symbols
from bundle_fix.elf.symbols.versions import (
    read_defined_versions,
    read_needed_versions,
    read_weak_versions,
)
from bundle_fix.loader.hosts.view import View
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.model.content import Content, Reader
from bundle_fix.model.errors import BundleFixError, DamagedElfError

T = TypeVar("T")


FactCache = dict[tuple[Content, object], Any]
"""Facts by the content of a file and the function that reads them."""


class FileFacts(Struct, frozen=True, eq=False):
    """A cache of facts about the files of a view.

    A file of the pack is given by its path, any other one by an object of a process whose image is
    known. Every method raises `BundleFixError` if the tables of the file are damaged.

    ``shared`` are the facts of contents in earlier checks of the same artifact, which `fix` checks
    several times: before its plan, with the planned changes, and as written.
    """

    view: View
    shared: FactCache = field(default_factory=dict)
    _facts: dict[tuple[str, object], Any] = field(default_factory=dict)

    def read_exports(self, file: LoadedObject | str) -> Exports:
        """Return the symbols that a file defines for others, with their versions."""
        return self.read_fact(file, read_exports)

    def read_undefined_symbols(self, file: LoadedObject | str) -> tuple[UndefinedSymbol, ...]:
        """Return the symbols that a file uses of other objects."""
        return self.read_fact(file, read_undefined_symbols)

    def read_needed_versions(self, file: LoadedObject | str) -> Mapping[str, tuple[str, ...]]:
        """Return the symbol versions that a file requires of each library (DT_VERNEED)."""
        return self.read_fact(file, read_needed_versions)

    def read_weak_versions(self, file: LoadedObject | str) -> frozenset[tuple[str, str]]:
        """Return the libraries and versions that a file requires weakly (VER_FLG_WEAK)."""
        return self.read_fact(file, read_weak_versions)

    def read_defined_versions(self, file: LoadedObject | str) -> frozenset[str] | None:
        """Return the versions that a file defines (DT_VERDEF), or None if it has no versions."""
        return self.read_fact(file, read_defined_versions)

    def read_fact(self, file: LoadedObject | str, read: Callable[[Reader, Image], T]) -> T:
        """Return the result of ``read`` for a file; it is called once for each file."""
        if isinstance(file, str):
            real_path, label = self.view.get_absolute_path(file), file
            image: Image | None = self.view.bundle.images[file]
        else:
            real_path, label, image = file.real_path or "", file.label, file.image
        # One file may belong to several objects: the same library in several processes.
        key = (real_path, read)
        if key not in self._facts:
            content = self.view.find_content(real_path)
            assert content is not None  # noqa: S101 (a file with an image has content)
            assert image is not None  # noqa: S101 (callers pass files with a known image)
            try:
                self._facts[key] = self._read_content(content, image, read)
            except DamagedElfError as error:
                raise BundleFixError(error.message, where=label) from error
        fact: T = self._facts[key]
        return fact

    def _read_content(
        self, content: Content, image: Image, read: Callable[[Reader, Image], T]
    ) -> T:
        key = (content, read)
        if key not in self.shared:
            with content.open() as reader:
                self.shared[key] = read(reader, image)
        fact: T = self.shared[key]
        return fact
