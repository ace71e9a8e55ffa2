"""Facts that take a pass over the bytes of a file, read by a second process ahead of the rules.

While it reads, this process maps the processes of the pack, which takes about as long. What it does
not tell, for whatever reason, is read here when a rule asks.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Any

from bundle_fix.check.symbols import Read, Symbols
from bundle_fix.elf.build_paths import build_paths
from bundle_fix.elf.deepbind import opens_deepbound
from bundle_fix.elf.versions import needed_versions
from bundle_fix.errors import BundleFixError
from bundle_fix.forks import Fork, fork, kill
from bundle_fix.loader.dlopen import carried, imports_dlopen
from bundle_fix.processors import cores

WORTH = 16 << 20
"""Bytes of ELF files from which on a second process is done before this one would be."""
OF_OPENERS: tuple[Read, ...] = (carried, opens_deepbound)
OF_ALL: tuple[Read, ...] = (imports_dlopen, build_paths, needed_versions)


@contextmanager
def read_ahead(symbols: Symbols, paths: Iterable[str]) -> Iterator[None]:
    """Read facts of the files at ``paths`` in a second process, as long as the context lasts.

    Args:
        symbols: what the rules will ask for them.
        paths: ELF files of the pack.
    """
    files = list(paths)
    reader = _reader(symbols, files)
    if reader is None:
        yield
        return
    try:
        symbols.expect((*OF_ALL, *OF_OPENERS), partial(_told, reader))
        yield
    finally:
        symbols.expect((), dict)
        kill(reader)


def _reader(symbols: Symbols, paths: list[str]) -> Fork | None:
    bundle = symbols.view.bundle
    if cores() < 2 or sum(bundle.content(path).size for path in paths) < WORTH:
        return None
    try:
        return fork(partial(_read, symbols, paths))
    except OSError:
        return None


def _read(symbols: Symbols, paths: list[str], pipe: IO[bytes]) -> None:
    facts = {(path, read): fact for path in paths for read, fact in _facts(symbols, path)}
    pickle.dump(facts, pipe)


def _facts(symbols: Symbols, path: str) -> Iterator[tuple[Read, Any]]:
    # Who asks for the facts of a damaged file is told what is wrong with it.
    with suppress(BundleFixError):
        for read in OF_ALL:
            yield read, symbols.read(path, read)
        for read in OF_OPENERS if symbols.read(path, imports_dlopen) else ():
            yield read, symbols.read(path, read)


def _told(reader: Fork) -> dict[tuple[str, Read], Any]:
    try:
        told: dict[tuple[str, Read], Any] = pickle.load(reader.pipe)  # noqa: S301
    except (EOFError, pickle.UnpicklingError):
        return {}
    return told
