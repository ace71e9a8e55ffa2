"""BF407, BF408 and BF410: files for another machine, processor or operating system."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import find_isa_levels
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.policy.severity import Severity

X86_64_LEVEL = re.compile(r"x86-64-v([2-4])")
"""The name of a level, in the options of the target and as a directory in ``glibc-hwcaps``."""


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
        "BF410", "other-system", Severity.NOTE,
        "An ELF file is for another operating system than Linux.",
        "Programs on Linux cannot load the file. No other rule checks it.",
        "Remove the file, unless the pack is for several systems.",
        "A package contains a codec.node for each system, such as"
        " prebuilds/android-arm64/codec.node.",
        find_other_systems,
    ),
)  # fmt: skip
