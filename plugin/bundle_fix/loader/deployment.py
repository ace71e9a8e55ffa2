"""A pack on a host: the processes of its programs and libraries."""

from __future__ import annotations

import posixpath
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment, Host
from bundle_fix.loader.hosts.view import View
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin, ProcessContext
from bundle_fix.loader.process import Process, ProcessBuilder, Resolution
from bundle_fix.loader.search.order import search_library
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.model.symlinks import Unresolved


class Deployment(Struct, frozen=True, eq=False, dict=True):
    """A pack on a host in an environment, which all its processes share."""

    bundle: Bundle
    host: Host
    environment: Environment = EMPTY_ENVIRONMENT

    @cached_property
    def view(self) -> View:
        """The files that its processes see."""
        return View(self.bundle, self.host.pack_path, self.host.files)

    def map_process(self, entry: str) -> Process:
        """Return the process of the program or library at the path ``entry`` of the pack."""
        main = self._build_entry_object(entry)
        builder = ProcessBuilder(self._build_context(main))
        builder.start_with([main])
        builder.preload_libraries()
        builder.load_dependencies()
        return builder.build_process(entry, main)

    def dlopen_process(
        self, program: Process, plugin: str, caller: LoadedObject | None = None
    ) -> Process:
        """Return the objects that dlopen(3) of the library ``plugin`` adds to ``program``.

        Symbol lookup finds the program's own objects first. The RPATH of ``caller``, by default
        the program, is inherited.
        """
        main = program.main
        opened = replace(self._build_entry_object(plugin), loaded_by=caller or main)
        builder = ProcessBuilder(self._build_context(main))
        builder.start_with([*program.objects, opened])
        builder.load_dependencies()
        process = builder.build_process(plugin, opened)
        return replace(process, objects=process.objects[len(program.objects) :])

    def dlopen(self, program: Process, name: str, requester: LoadedObject) -> Resolution:
        """Return the result if ``requester`` loads ``name`` at run time in ``program``."""
        builder = ProcessBuilder(self._build_context(program.main))
        builder.start_with(program.objects)
        return builder.resolve_name(name, requester)

    def dlopen_host_file(self, program: Process, path: str, requester: LoadedObject) -> Process:
        """Return the objects that dlopen(3) of the host's file ``path`` adds to ``program``."""
        builder = ProcessBuilder(self._build_context(program.main))
        builder.start_with(program.objects)
        builder.open_library(path, requester)
        builder.load_dependencies()
        process = builder.build_process(path, program.main)
        return replace(process, objects=process.objects[len(program.objects) :])

    def repeat_search(self, resolution: Resolution) -> LoadedObject:
        """Search for the name of ``resolution`` as if no object were loaded under it."""
        *_, main = resolution.requester.walk_load_chain()
        return search_library(self._build_context(main), resolution.name, resolution.requester)

    def _build_entry_object(self, path: str) -> LoadedObject:
        # $ORIGIN of a program is the directory of the file itself: the loader asks the kernel for
        # its path (elf/dl-origin.c, _dl_get_origin).
        absolute = self.view.get_absolute_path(path)
        real = self.view.resolve_path(absolute)
        real = absolute if isinstance(real, Unresolved) else real
        member = self.view.find_member(real) or path
        return LoadedObject(
            member, member, ObjectOrigin.BUNDLE, SearchRule.DIRECT,
            directory=posixpath.dirname(real), image=self.bundle.images[member], real_path=real,
        )  # fmt: skip

    def _build_context(self, main: LoadedObject) -> ProcessContext:
        assert main.image is not None  # noqa: S101 (an entry is an ELF file of the pack)
        # AT_SECURE; the model assumes that the user is neither root nor the owner of the file.
        secure = bool(self.bundle.find_privileges(main.path or ""))
        loader = self.host.find_loader(self.view, main.image)
        return ProcessContext(self.view, self.host, loader, self.environment, main, secure)
