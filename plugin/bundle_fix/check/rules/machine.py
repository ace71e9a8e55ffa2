"""BF4xx: the machine, the system, the processor and the C library that a file is for."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import find_isa_levels
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.hosts.libc import MUSL_LIBC_NAME
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.policy.severity import Severity


def find_other_machine(rule: Rule, context: Context) -> Iterator[Finding]:
    """Libraries for a machine that no program of the pack is for."""
    images = context.bundle.images
    programs = {images[path].architecture: path for path in context.programs}
    if not programs:
        return
    names = ", ".join(
        sorted({f"{images[p].format.bits}-bit {images[p].machine}" for p in programs.values()})
    )
    needs = [need for process in context.programs.values() for need in process.resolutions]
    elsewhere = {
        posixpath.basename(n.name) for n in needs if n.result.origin is not ObjectOrigin.BUNDLE
    }
    for path in context.libraries:
        image = images[path]
        if image.architecture in programs:
            continue
        wanted = context.names_by_library.get(path, set()) & elsewhere
        yield rule.make_finding(
            path,
            f"is for {image.format.bits}-bit {image.machine}; the programs are for {names}"
            + (f" and need another {min(wanted)}" if wanted else ""),
            severity=Severity.ERROR if wanted else Severity.NOTE,
            machine=image.machine,
            byte_order=image.format.order,
        )


def find_other_system(rule: Rule, context: Context) -> Iterator[Finding]:
    """ELF files that are not for Linux."""
    for path, system in context.bundle.foreign_systems.items():
        yield rule.make_finding(path, f"is for {system}, and is not looked into", system=system)


def find_level(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files marked for a processor newer than the target's."""
    for path, level in find_isa_levels(context).items():
        loader = context.host.find_loader(context.deployment.view, context.bundle.images[path])
        known = [LEVEL.fullmatch(name) for name in (*loader.hwcaps, *path.split("/"))]
        least = max((int(match[1]) for match in known if match), default=1)
        if level <= least:
            continue
        is_told = context.host.level is not None
        worst = Severity.ERROR if is_told else Severity.WARNING
        target = context.host.level if is_told else "the oldest x86-64, the baseline"
        yield rule.make_finding(
            path,
            f"is marked as needing x86-64-v{level}; the target is {target}",
            severity=worst if path in context.loaded_at_start else Severity.NOTE,
            level=f"x86-64-v{level}",
        )


def find_two_libcs(rule: Rule, context: Context) -> Iterator[Finding]:
    """Processes of one C library that map an object linked with the other."""
    for entry, process in context.programs.items():
        flavour, _ = _linked_with(process.objects[0])
        for mapped in process.list_bundled_objects()[1:]:
            other, needed = _linked_with(mapped)
            if flavour and other and other != flavour:
                yield rule.make_finding(
                    mapped.label,
                    f"was linked with {other} (it needs {needed}), but {entry}, which loads it,"
                    f" with {flavour}",
                    needed=needed,
                    program=entry,
                )


def _linked_with(mapped: LoadedObject) -> tuple[str | None, str]:
    """The C library that an object was linked with, where its needed names tell, and that name."""
    for name in mapped.image.needed if mapped.image else ():
        if MUSL_LIBC_NAME.fullmatch(posixpath.basename(name)):
            return "musl", name
        if posixpath.basename(name).startswith("libc.so.6"):
            return "glibc", name
    return None, ""


LEVEL = re.compile(r"x86-64-v([2-4])")

RULES = (
    Rule(
        "BF407", "other-machine", Severity.NOTE,
        "A library is for a machine that no program of the pack is for.",
        "The loader passes it over, and goes on to the host.",
        "Put the copy for the programs' machine into the pack, or leave it out.",
        "lib/libcrypto.so.3 was found in /usr/lib/i386-linux-gnu.",
        find_other_machine,
    ),
    Rule(
        "BF408", "processor-level", Severity.WARNING,
        "A file is marked as needing a newer processor than the target's.",
        "On an older one the loader refuses it: 'CPU ISA level is lower than required'.",
        "Build it without -march, or say on which processors the pack runs: --cpu x86-64-v3.",
        "lib/libcodec.so was built with -march=haswell -mneeded: it needs x86-64-v3.",
        find_level,
    ),
    Rule(
        "BF409", "two-c-libraries", Severity.ERROR,
        "A library was linked with another C library than the program that loads it.",
        "The loader of the one does not have the other: the program ends before main, or two C"
        " libraries share one process and each spoils what the other keeps.",
        "Put a copy into the pack that was built for the program's C library.",
        "lib/libfast.so.1 came from an Alpine container and needs libc.musl-x86_64.so.1; bin/server"
        " needs libc.so.6.",
        find_two_libcs,
    ),
    Rule(
        "BF410", "other-system", Severity.NOTE,
        "An ELF file is for another system than Linux.",
        "No program of Linux loads it, and nothing else is checked of it.",
        "Leave it out of a pack for Linux, unless the pack is for several systems.",
        "prebuilds/android-arm64/codec.node, in a package that has one for each system.",
        find_other_system,
    ),
)  # fmt: skip
