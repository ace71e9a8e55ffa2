"""BF407 to BF410: files for another machine, processor, C library or operating system."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from enum import Enum

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import find_isa_levels
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.hosts.libc import MUSL_LIBC_NAME
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.policy.severity import Severity

X86_64_LEVEL = re.compile(r"x86-64-v([2-4])")
"""The name of a level, in the options of the target and as a directory in ``glibc-hwcaps``."""


class LinkedLibc(Enum):
    """A C library with which an object was linked."""

    GLIBC = "glibc"
    MUSL = "musl"


def find_other_machines(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries for a machine of which the pack has no program."""
    images = context.bundle.images
    programs = {images[path].architecture: path for path in context.programs}
    if not programs:
        return
    names = ", ".join(
        sorted({f"{images[p].format.bits}-bit {images[p].machine}" for p in programs.values()})
    )
    needs = [need for process in context.programs.values() for need in process.resolutions]
    unbundled = {
        posixpath.basename(n.name) for n in needs if n.result.origin is not ObjectOrigin.BUNDLE
    }
    for path in context.libraries:
        image = images[path]
        if image.architecture in programs:
            continue
        # The pack has a library of this name, but not for the machine of the programs.
        needed = context.names_by_library.get(path, set()) & unbundled
        yield rule.make_finding(
            path,
            f"is for {image.format.bits}-bit {image.machine}; the programs are for {names}"
            + (f" and need {min(needed)}" if needed else ""),
            severity=Severity.ERROR if needed else Severity.NOTE,
            machine=image.machine,
            byte_order=image.format.order,
        )


def find_other_systems(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the ELF files that are not for Linux."""
    for path, system in context.bundle.foreign_systems.items():
        yield rule.make_finding(path, f"is for {system}, so it is not checked", system=system)


def find_newer_levels(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files that are marked as needing a newer processor than the target's.

    A file in a ``glibc-hwcaps`` directory is only loaded on processors of the directory's level.
    """
    for path, level in find_isa_levels(context).items():
        loader = context.host.find_loader(context.deployment.view, context.bundle.images[path])
        known = [X86_64_LEVEL.fullmatch(name) for name in (*loader.hwcaps, *path.split("/"))]
        available = max((int(match[1]) for match in known if match), default=1)
        if level <= available:
            continue
        is_known = context.host.level is not None
        worst = Severity.ERROR if is_known else Severity.WARNING
        target = context.host.level if is_known else "x86-64-v1, the default"
        yield rule.make_finding(
            path,
            f"is marked as needing x86-64-v{level}, but the target is {target}",
            severity=worst if path in context.loaded_at_start else Severity.NOTE,
            level=f"x86-64-v{level}",
        )


def find_mixed_libcs(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects that were linked with another C library than their program."""
    for entry, process in context.programs.items():
        libc, _ = _find_libc(process.main)
        for loaded in process.list_bundled_objects():
            other, needed = _find_libc(loaded)
            if libc and other and other is not libc:
                yield rule.make_finding(
                    loaded.label,
                    f"was linked with {other.value} (it needs {needed}), but {entry}, which loads"
                    f" it, was linked with {libc.value}",
                    needed=needed,
                    program=entry,
                )


def _find_libc(loaded: LoadedObject) -> tuple[LinkedLibc | None, str]:
    """Return the C library with which an object was linked, and its needed name."""
    for name in loaded.image.needed if loaded.image else ():
        if MUSL_LIBC_NAME.fullmatch(posixpath.basename(name)):
            return LinkedLibc.MUSL, name
        if posixpath.basename(name).startswith("libc.so.6"):
            return LinkedLibc.GLIBC, name
    return None, ""


RULES = (
    Rule(
        "BF407", "other-machine", Severity.NOTE,
        "A library is for a machine of which the pack has no program.",
        "The loader skips the library and continues its search on the host.",
        "Replace the library with the copy for the programs' machine, or remove it.",
        "lib/libcrypto.so.3 was copied from /usr/lib/i386-linux-gnu.",
        find_other_machines,
    ),
    Rule(
        "BF408", "processor-level", Severity.WARNING,
        "A file is marked as needing a newer processor than the target's.",
        "On an older processor the loader refuses the file: 'CPU ISA level is lower than"
        " required'.",
        "Build the file without -march, or pass the level of the target's processors:"
        " --cpu x86-64-v3.",
        "lib/libcodec.so was built with -march=haswell -mneeded, so it needs x86-64-v3.",
        find_newer_levels,
    ),
    Rule(
        "BF409", "two-c-libraries", Severity.ERROR,
        "A library was linked with another C library than the program that loads it.",
        "The loader does not find the other C library, and the program fails before main. If it"
        " finds it, two C libraries run in one process and damage each other's data.",
        "Replace the library with a copy that was built for the program's C library.",
        "lib/libfast.so.1 comes from an Alpine container and needs libc.musl-x86_64.so.1, but"
        " bin/server needs libc.so.6.",
        find_mixed_libcs,
    ),
    Rule(
        "BF410", "other-system", Severity.NOTE,
        "An ELF file is for another operating system than Linux.",
        "Programs on Linux cannot load the file. No other rule checks it.",
        "Remove the file, unless the pack is for several systems.",
        "A package contains a codec.node for each system, such as"
        " prebuilds/android-arm64/codec.node.",
        find_other_systems,
    ),
)  # fmt: skip
