"""Facts that take a pass over the bytes of a file, read by a second process ahead of the rules.

While it reads, this process maps the processes of the pack, which takes about as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from bundle_fix.check.facts.symbols import Read, Symbols
from bundle_fix.elf.scan.build_paths import list_build_paths
from bundle_fix.elf.scan.deepbind import opens_deepbound
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.loader.dlopen import find_library_name_strings, imports_dlopen
from bundle_fix.model.errors import BundleFixError
from bundle_fix.subprocesses.forks import is_worth_forking, run_in_subprocess

OF_OPENERS: tuple[Read, ...] = (find_library_name_strings, opens_deepbound)
OF_ALL: tuple[Read, ...] = (imports_dlopen, list_build_paths, read_needed_versions)


@contextmanager
def read_ahead(symbols: Symbols, paths: Iterable[str]) -> Iterator[None]:
    """Read facts of the files at ``paths`` in a second process, as long as the context lasts.

    Args:
        symbols: what the rules will ask for them.
        paths: ELF files of the pack.
    """
    files = list(paths)
    if not is_worth_forking(sum(symbols.view.bundle.content(path).size for path in files)):
        yield
        return
    with run_in_subprocess(partial(_read, symbols, files)) as told:
        symbols.expect((*OF_ALL, *OF_OPENERS), told)
        try:
            yield
        finally:
            symbols.expect((), dict)


def _read(symbols: Symbols, paths: list[str]) -> dict[tuple[str, Read], Any]:
    return {(path, read): fact for path in paths for read, fact in _facts(symbols, path)}


def _facts(symbols: Symbols, path: str) -> Iterator[tuple[Read, Any]]:
    # Who asks for the facts of a damaged file is told what is wrong with it.
    with suppress(BundleFixError):
        for read in OF_ALL:
            yield read, symbols.read(path, read)
        for read in OF_OPENERS if symbols.read(path, imports_dlopen) else ():
            yield read, symbols.read(path, read)
