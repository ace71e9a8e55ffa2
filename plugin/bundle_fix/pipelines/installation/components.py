"""The components of a project, of which one is installed: which files belong to which component.

All components are looked at, whichever is installed, so that a library of the closure belongs to
the same component in each installation and in each package.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from msgspec import Struct, field

from bundle_fix.elf.read.parser import MAGIC
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import Symlink, resolve_path
from bundle_fix.pipelines.installation.install_scripts import PlannedFile, read_install_rules


class ComponentPlan(Struct, frozen=True, dict=True):
    """The component that is installed, and the files of all components.

    Attributes:
        name: the component that is installed; empty if the installation has all of them.
        owner: the component that gets all libraries of the closure; empty for the first component
            that needs a library.
        files: the files that the components install, by their path below the installation root.
    """

    name: str = ""
    owner: str = ""
    files: Mapping[str, PlannedFile] = field(default_factory=dict)

    @cached_property
    def others(self) -> dict[str, Path]:
        """The files of other components: path below the root, and current path; each is opened."""
        return {
            path: file.source
            for path, file in self.files.items()
            if file.component != self.name and _may_be_loaded(file.source)
        }

    @property
    def order(self) -> list[str]:
        """The components in the order of their rules; those of plain installations come first."""
        ordered = sorted(self.files.values(), key=lambda file: not file.is_default)
        return list(dict.fromkeys([*(file.component for file in ordered), self.name]))

    def find_component(self, path: str) -> str:
        """Return the component of a path below the root, by default the installed one."""
        file = self.files.get(path)
        return self.name if file is None else file.component


def read_component_plan(path: Path, location: str) -> ComponentPlan:
    """Return the plan that bundle_fix_install() describes in a file of ``key=value`` lines.

    The keys are ``component``, ``owner``, ``prefix`` and ``config`` of the installation, ``script``
    (the top ``cmake_install.cmake``), ``libdir`` and ``private`` (the directory of the private
    libraries, and the names of those that are moved to it).

    Args:
        path: the file.
        location: the path of the installation root on the target.
    """
    values: dict[str, str] = {}
    private = set()
    for line in os.fsdecode(path.read_bytes()).splitlines():
        key, _, value = line.partition("=")
        values[key] = value
        if key == "private":
            private.add(value)
    files: dict[str, PlannedFile] = {}
    for file in read_install_rules(Path(values["script"]), values["prefix"], values["config"]):
        name = posixpath.basename(file.path)
        installed = posixpath.join(values["libdir"], name) if name in private else file.path
        files.setdefault(posixpath.relpath(installed, location), file)
    return ComponentPlan(values["component"], values["owner"], files)


def _may_be_loaded(path: Path) -> bool:
    """Return whether a file is an ELF file, or a symlink with the name of a library."""
    if path.is_symlink() and ".so" in path.name:
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # not built yet


def find_owners(
    bundle: Bundle, components: ComponentPlan, added: Collection[str]
) -> dict[str, str]:
    """Return the component of each path that the closure added.

    A library belongs to the first component with an object that needs it. What a library of the
    closure needs belongs to the component of that library, unless another component comes first.
    """
    owners: dict[str, str] = {}
    for component in components.order:
        queue = deque(
            path
            for path in bundle.images
            if path not in added and components.find_component(path) == component
        )
        while queue:
            for found in list_providers(bundle, queue.popleft()):
                if found in added and found not in owners:
                    owners[found] = component
                    queue.append(found)
    for path in added:
        node = bundle.tree.nodes[path]
        real = resolve_path(bundle.tree, path) if isinstance(node, Symlink) else path
        # Libraries that are only opened by dlopen(3) are needed by no component in particular.
        owners[path] = owners.get(str(real), components.order[0])
    return dict.fromkeys(added, components.owner) if components.owner else owners


def list_providers(bundle: Bundle, path: str) -> Iterator[str]:
    """Yield the files of the bundle that provide the needed names of an object."""
    image = bundle.images[path]
    for name in image.needed:
        yield from bundle.find_providers(posixpath.basename(name), image)
