"""Processor levels: the subdirectories of ``glibc-hwcaps`` that the loader searches.

Sources: glibc's sysdeps/x86_64/dl-hwcaps_subdirs.c and its siblings for powerpc64le and s390x; the
x86-64 psABI, "Micro-Architecture Levels".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError

LEVELS: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("x86-64-v4", "x86-64-v3", "x86-64-v2"),
    "powerpc64": ("power10", "power9"),
    "s390": ("z17", "z16", "z15", "z14", "z13"),
}
"""The levels of each machine that has any, the best first, which is the order of the search."""

_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_X86 = {"x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": _V4}
"""The flags of /proc/cpuinfo that each level requires, in the kernel's words (``pni`` is SSE3)."""
_S390 = {"z13": "vx", "z14": "vxe", "z15": "vxe2", "z16": "nnpa", "z17": "vxp2"}
"""The feature of /proc/cpuinfo that came with each machine."""

# glibc 2.26 to 2.36 has further directories for these (sysdeps/x86/cpu-features.c).
_HASWELL = frozenset({"avx2", "bmi1", "bmi2", "abm", "movbe", "popcnt", "fma"})
_AVX512_1 = frozenset({"avx512cd", "avx512bw", "avx512dq", "avx512vl"})
PLATFORMS = {"x86_64": "x86_64", "i386": "i686", "aarch64": "aarch64"}
"""The value of AT_PLATFORM for every processor of a machine."""
HWCAP_X86_64, HWCAP_AVX512_1, PLATFORM_HASWELL = 1 << 1, 1 << 2, 1 << 50
"""Bits of an entry's hwcap in ld.so.cache (sysdeps/x86/dl-hwcap.h)."""

BASELINE = "baseline"
"""The name of a processor without any level."""


class Cpu(Struct, frozen=True):
    """The properties of a processor on which the loader's search depends.

    Attributes:
        levels: its levels, the best first.
        platform: the value of AT_PLATFORM and of ``$PLATFORM``; None if unknown.
        legacy: the names of its subdirectories up to glibc 2.36, the first part of a path first.
        hwcap: its bits in cache entries of the old format.
    """

    levels: tuple[str, ...] = ()
    platform: str | None = None
    legacy: tuple[str, ...] = ("tls",)
    hwcap: int = 0


def get_cpu_of_level(level: str | None, machine: str) -> Cpu:
    """Return a processor that has ``level`` (None: the oldest one) and no other known feature.

    Raises:
        BundleFixError: no machine has such a level.
    """
    return _build_cpu(list_levels_up_to(level, machine), machine, haswell=False, avx512=False)


@cache
def detect_cpu() -> Cpu:
    """Return this machine's processor."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return get_cpu_of_level(None, get_machine_name())
    return parse_cpuinfo(text, get_machine_name())


def parse_cpuinfo(cpuinfo: str, machine: str) -> Cpu:
    """Return the processor that a /proc/cpuinfo describes."""
    # glibc sets the platform "haswell" for Intel's processors only (sysdeps/x86/cpu-features.c).
    intel = "GenuineIntel" in cpuinfo
    features = set(_find_line(cpuinfo, "flags").split()) if intel else set()
    return _build_cpu(
        find_levels(cpuinfo, machine), machine,
        haswell=features >= _HASWELL, avx512=features >= _AVX512_1,
    )  # fmt: skip


def _build_cpu(levels: tuple[str, ...], machine: str, *, haswell: bool, avx512: bool) -> Cpu:
    if machine != "x86_64":
        platform = PLATFORMS.get(machine)
        return Cpu(levels, platform, ("tls", *([platform] if platform else [])))
    platform = "haswell" if haswell else "x86_64"
    legacy = ("tls", platform, *(["avx512_1"] if avx512 else []), "x86_64")
    hwcap = HWCAP_X86_64 | (HWCAP_AVX512_1 if avx512 else 0)
    return Cpu(levels, platform, legacy, hwcap | (PLATFORM_HASWELL if haswell else 0))


def list_levels_up_to(level: str | None, machine: str) -> tuple[str, ...]:
    """Return ``level`` and all lower levels of a machine, the best first.

    The result is empty for None and for a level of another machine.

    Raises:
        BundleFixError: no machine has such a level.
    """
    every = LEVELS.get(machine, ())
    if level in (None, BASELINE) or level not in every:
        known = [name for names in LEVELS.values() for name in names]
        if level not in (None, BASELINE, *known):
            raise BundleFixError(
                f"unknown processor level {level!r}",
                hint=f"use one of {', '.join([BASELINE, *known])}",
            )
        return ()
    return every[every.index(level) :]


@cache
def get_machine_name() -> str:
    """Return the name of this machine as `bundle_fix.elf.read.constants` spells it."""
    name = os.uname().machine
    if re.fullmatch(r"i[3-6]86", name):
        return "i386"
    known = {
        "ppc64le": "powerpc64",
        "s390x": "s390",
        "riscv64": "riscv",
        "loongarch64": "loongarch",
    }
    return known.get(name, "arm" if name.startswith("arm") else name)


def find_levels(cpuinfo: str, machine: str) -> tuple[str, ...]:
    """Return the levels of the processor that a /proc/cpuinfo describes, the best first."""
    every: Sequence[str] = LEVELS.get(machine, ())
    features = set(_find_line(cpuinfo, "flags" if machine == "x86_64" else "features").split())
    if machine == "x86_64":
        return tuple(level for level in every if _X86[level] <= features)
    if machine == "s390":
        return tuple(level for level in every if _S390[level] in features)
    power = re.search(r"power(\d+)", _find_line(cpuinfo, "cpu").lower())
    return tuple(level for level in every if power and int(level[5:]) <= int(power[1]))


def _find_line(cpuinfo: str, key: str) -> str:
    found = re.search(rf"^{key}\s*:(.*)$", cpuinfo, re.MULTILINE)
    return found[1] if found else ""
