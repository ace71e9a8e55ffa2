"""The machine that the files of a spec are for: the values of `builtin` ``arch`` and ``glibc``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bundle_fix.collect.libraries.build_machine import LibrarySources, create_build_machine
from bundle_fix.collect.libraries.link_names import find_by_soname
from bundle_fix.collect.patterns import find_matches
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.hosts.cpu import get_machine_name
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.search.order import search_system
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.sources import SourceValue
from bundle_fix.spec.table_types import FilesEntry, LibrariesEntry
from bundle_fix.spec.variables import Values, evaluate_when, substitute_variables

BUILTINS = ("arch", "glibc")
"""The values of `builtin` that describe the target."""
GLIBC = "libc.so.6"
MAX_GLIBC_BYTES = 16 << 20
GLIBC_VERSION = re.compile(rb"GNU C Library [^\n]{0,200}release version (\d+\.\d+)")
"""The banner that libc.so.6 prints when it is run (glibc's csu/version.c)."""
UNAME_MACHINES = {
    ("i386", "little"): "i686",
    ("arm", "little"): "armv7l",
    ("powerpc64", "little"): "ppc64le",
    ("powerpc64", "big"): "ppc64",
    ("riscv", "little"): "riscv64",
    ("s390", "big"): "s390x",
    ("loongarch", "little"): "loongarch64",
    ("sparcv9", "big"): "sparc64",
}
"""The words of uname(1) for machines with other names in ELF files, by byte order."""


def resolve_target(values: Values, sources: LibrarySources) -> Values:
    """Return ``values`` with `builtin` ``arch`` and ``glibc`` of the machine of the spec's files.

    The machine is that of the first ELF file of an entry that does not use these two itself.
    """
    if not list_target_variables(values.spec):
        return values
    unknown = replace(values, builtins=dict.fromkeys(BUILTINS), _known={})
    return describe_target(values, sources, _iterate_collected_files(unknown))


def describe_target(values: Values, sources: LibrarySources, files: Iterable[Path]) -> Values:
    """Return ``values`` with the two values of the machine of the first ELF file of ``files``."""
    image = next(_read_images(files), None) if list_target_variables(values.spec) else None
    if image is None or (image.machine == get_machine_name() and sources.sysroot is None):
        return values
    builtins = {
        "arch": SourceValue(name_machine(image)),
        "glibc": _find_glibc_version(image, values.root, sources),
    }
    return replace(values, builtins=builtins, _known={})


def list_target_variables(spec: Spec) -> list[str]:
    """Return the variables of a spec that describe the target."""
    return [name for name, variable in spec.variables.items() if variable.builtin in BUILTINS]


def verify_target(values: Values, images: Mapping[str, Image]) -> None:
    """Check that all collected ELF files are for the machine that `builtin` ``arch`` names.

    Raises:
        BundleFixError: one of them is for another machine.
    """
    names = [name for name in list_target_variables(values.spec) if name not in values.defines]
    expected = (values.builtins.get("arch") or SourceValue(os.uname().machine)).value
    for path, image in images.items() if names else ():
        machine = name_machine(image)
        if image.is_dynamic and machine != expected:
            raise BundleFixError(
                f"{path} is for {machine}, but `{names[0]}` describes {expected}",
                where=values.spec.locate_key("variables", names[0]),
                hint=f"pack the files of one machine, or pass -D {names[0]}=…",
            )


def name_machine(image: Image) -> str:
    """Return the name of a file's machine as uname(1) prints it there."""
    if image.machine == get_machine_name():
        return os.uname().machine
    return UNAME_MACHINES.get((image.machine, image.format.order), image.machine)


def _iterate_collected_files(values: Values) -> Iterator[Path]:
    """Yield the files of the entries whose values are known."""
    entries: tuple[FilesEntry | LibrariesEntry, ...] = (*values.spec.files, *values.spec.libraries)
    for entry in entries:
        with suppress(BundleFixError):
            if evaluate_when(entry.when, values):
                yield from _iterate_entry(entry, values)


def _iterate_entry(entry: FilesEntry | LibrariesEntry, values: Values) -> Iterator[Path]:
    if entry.source is not None:
        exclude = [substitute_variables(text, values) for text in entry.exclude]
        pattern = substitute_variables(entry.source, values)
        for path in find_matches(values.root, pattern, exclude):
            yield path
            yield from (Path(top, name) for top, _, names in os.walk(path) for name in names)
    elif isinstance(entry, LibrariesEntry) and entry.name is not None:
        name = substitute_variables(entry.name, values)
        for text in entry.search:
            directory = values.root / substitute_variables(text, values)
            yield from (path for path, _ in find_by_soname(directory, name))


def _read_images(files: Iterable[Path]) -> Iterator[Image]:
    for path in files:
        with suppress(BundleFixError):
            image = read_image_at(path)
            if image is not None and (image.is_dynamic or image.is_static_program):
                yield image


def _find_glibc_version(image: Image, root: Path, sources: LibrarySources) -> SourceValue:
    """Return the version of the glibc that the build links for the machine of ``image``."""
    machine = create_build_machine(root, sources=sources)
    main = LoadedObject("", None, ObjectOrigin.HOST, SearchRule.LOADED, image=image)
    context = machine.create_system_context(machine.create_context(main))
    found = search_system(context, GLIBC, main)
    candidates = [machine.locate(found)] if found.path else []
    candidates += [directory / GLIBC for directory in sources.directories]
    for path in candidates:
        with suppress(BundleFixError, OSError):
            candidate = read_image_at(path)
            if candidate is not None and candidate.architecture == image.architecture:
                with path.open("rb") as file:
                    match = GLIBC_VERSION.search(file.read(MAX_GLIBC_BYTES))
                if match is not None:
                    return SourceValue(match[1].decode())
    place = sources.sysroot or "this machine"
    return SourceValue("", f"{place} has no {GLIBC} for {name_machine(image)}")
