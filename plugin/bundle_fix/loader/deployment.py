"""A pack on a host: what the loader maps for each of its programs and libraries."""

from __future__ import annotations

import posixpath
import stat
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment, Host
from bundle_fix.loader.hosts.view import View
from bundle_fix.loader.objects import BUNDLE, LoadedObject, ProcessContext
from bundle_fix.loader.process import Process, ProcessBuilder, Resolution
from bundle_fix.loader.search.order import search_library
from bundle_fix.model.tree import File, Unresolved


class Deployment(Struct, frozen=True, eq=False, dict=True):
    """A pack on a host under an environment: what all its processes have in common."""

    bundle: Bundle
    host: Host
    environment: Environment = EMPTY_ENVIRONMENT

    @cached_property
    def view(self) -> View:
        """The files that its processes see."""
        return View(self.bundle, self.host.pack_path, self.host.files)

    def map_process(self, entry: str) -> Process:
        """What the loader maps for the program or library at the path ``entry`` of the pack."""
        main = self._build_entry_object(entry)
        loading = ProcessBuilder(self._build_context(main))
        loading.begin([main])
        loading.preload()
        loading.run()
        return loading.result(entry)

    def dlopen_process(self, program: Process, plugin: str) -> Process:
        """What dlopen(3) of the library ``plugin`` maps into ``program``: only what it adds.

        Its objects come behind the program's own; the program is what loads it (RPATH is
        inherited).
        """
        main = program.objects[0]
        loading = ProcessBuilder(self._build_context(main))
        loading.begin([*program.objects, replace(self._build_entry_object(plugin), loaded_by=main)])
        loading.run()
        whole = loading.result(plugin)
        return replace(whole, objects=whole.objects[len(program.objects) :])

    def dlopen(self, program: Process, name: str, requester: LoadedObject) -> Resolution:
        """What dlopen(3) of ``name`` by ``requester`` finds in a running ``program``."""
        loading = ProcessBuilder(self._build_context(program.objects[0]))
        loading.begin(program.objects)
        return loading.need(name, requester)

    def repeat_search(self, need: Resolution) -> LoadedObject:
        """What the search for ``need`` finds, whatever is loaded already."""
        *_, main = need.requester.walk_load_chain()
        return search_library(self._build_context(main), need.name, need.requester)

    def _build_entry_object(self, path: str) -> LoadedObject:
        # The kernel tells the loader where the program really is; dlopen() gets a path.
        real = self.view.resolve_path(self.view.get_absolute_path(path))
        real = self.view.get_absolute_path(path) if isinstance(real, Unresolved) else real
        inside = self.view.find_member(real) or path
        image = self.bundle.images[inside]
        return LoadedObject(
            inside,
            inside,
            BUNDLE,
            "direct",
            directory=posixpath.dirname(real),
            image=image,
            real_path=real,
        )

    def _build_context(self, main: LoadedObject) -> ProcessContext:
        assert main.image is not None  # noqa: S101 (an entry is an ELF file of the pack)
        node = self.bundle.tree.nodes.get(main.path or "")
        secure = isinstance(node, File) and bool(node.metadata.mode & (stat.S_ISUID | stat.S_ISGID))
        secure = secure and main.image.is_program
        loader = self.host.find_loader(self.view, main.image)
        return ProcessContext(self.view, self.host, loader, self.environment, main, secure)


def map_process(bundle: Bundle, host: Host, entry: str) -> Process:
    """What the loader maps for the program or library at ``entry``, in an empty environment.

    Args:
        bundle: the pack.
        host: what the target offers.
        entry: the path of an ELF file of the pack.
    """
    return Deployment(bundle, host).map_process(entry)
