"""Libraries that the import of a Python package loads before any other file of the package.

Python imports ``a`` before ``a.b``, so whatever opens an extension module or a plugin in ``a/b``
runs after ``a/__init__.py``, which may have imported extension modules itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from bundle_fix.archive.wheel import is_wheel
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.process import Process
from bundle_fix.model.content import read_exactly
from bundle_fix.model.tree import File

MAX_INIT = 1 << 20
"""Bytes of an ``__init__.py`` that are searched."""

LoadedNames = Mapping[str, frozenset[tuple[str, object]]]
"""The names and architectures of loaded libraries, by the directory of the package."""


def find_imported_names(bundle: Bundle, plugins: Mapping[str, Process]) -> LoadedNames:
    """Return the names of the wheel's libraries that the import of each package loads.

    Args:
        bundle: the wheel; other artifacts have no packages.
        plugins: the processes of the libraries that are only opened at run time, by path.
    """
    found: dict[str, set[tuple[str, object]]] = {}
    for path, process in plugins.items() if is_wheel(bundle.tree) else ():
        package, name = posixpath.split(path)
        if _imports(bundle, package, name.partition(".")[0]):
            for loaded in process.list_bundled_objects():
                if loaded.image is not None:
                    names = {loaded.name, loaded.image.soname or loaded.name}
                    pairs = {(name, loaded.image.architecture) for name in names}
                    found.setdefault(package, set()).update(pairs)
    return {package: frozenset(names) for package, names in found.items()}


def _imports(bundle: Bundle, package: str, module: str) -> bool:
    """Return whether the ``__init__.py`` of a package has an import with the name of a module."""
    file = bundle.tree.nodes.get(posixpath.join(package, "__init__.py"))
    if not isinstance(file, File):
        return False
    with file.content.open() as reader:
        data = read_exactly(reader, 0, min(file.content.size, MAX_INIT)) or b""
    name = re.escape(module.encode())
    return re.search(rb"^(from|import)\b[^#\n]*\b%s\b" % name, data, re.MULTILINE) is not None


def is_imported_before(imported: LoadedNames, plugin: str, name: str, architecture: object) -> bool:
    """Return whether a needed name is loaded before anything can open ``plugin``."""
    directory = posixpath.dirname(plugin)
    while directory:
        if (name, architecture) in imported.get(directory, ()):
            return True
        directory = posixpath.dirname(directory)
    return False
