"""Processor levels, compared with those that this machine's loader reports."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bundle_fix.loader.hosts.cpu import (
    LEVELS,
    detect_cpu,
    find_levels,
    get_cpu_of_level,
    list_levels_up_to,
    parse_cpuinfo,
)
from bundle_fix.model.errors import BundleFixError

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
V2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"


def read_diagnostics() -> dict[str, str]:
    """Return the output of ``ld.so --list-diagnostics`` as keys and values."""
    if not LOADER.exists():
        pytest.skip("this machine has no glibc for x86-64")
    done = subprocess.run(
        [LOADER, "--list-diagnostics"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine's glibc is older than 2.33")
    return dict(re.findall(r'^(\w[\w.\[\]]*)="?(.*?)"?$', done.stdout, re.MULTILINE))


def test_the_levels_of_this_processor_match_the_loader() -> None:
    diagnostics = read_diagnostics()
    levels = diagnostics["dl_hwcaps_subdirs"].split(":")
    active = int(diagnostics["dl_hwcaps_subdirs_active"], 16)
    # The lowest bit stands for the first level, which is the best.
    found = tuple(level for n, level in enumerate(levels) if active >> n & 1)
    assert detect_cpu().levels == found


def test_the_platform_of_this_processor_matches_the_loader() -> None:
    diagnostics = read_diagnostics()
    assert detect_cpu().platform == diagnostics["dl_platform"]
    assert detect_cpu().hwcap & 0xFFFF == int(diagnostics["dl_hwcap"], 16)


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ("fpu sse2", ()),
        (V2, ("x86-64-v2",)),
        (V3, ("x86-64-v3", "x86-64-v2")),
        (V3.replace("movbe", ""), ("x86-64-v2",)),
        (f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl", LEVELS["x86_64"]),
    ],
)
def test_x86_64_levels_follow_from_the_flags(flags: str, levels: tuple[str, ...]) -> None:
    assert find_levels(f"flags\t\t: {flags}\n", "x86_64") == levels


def test_levels_of_other_machines_follow_from_cpuinfo() -> None:
    assert find_levels("features\t: esan3 vx vxd vxe\n", "s390") == ("z14", "z13")
    assert find_levels("cpu\t\t: POWER9 (raw), altivec\n", "powerpc64") == ("power9",)
    assert find_levels("cpu\t\t: POWER8\n", "powerpc64") == ()
    assert find_levels("Features\t: fp asimd\n", "aarch64") == ()


def test_only_intel_processors_have_the_platform_haswell() -> None:
    intel = parse_cpuinfo(f"vendor_id\t: GenuineIntel\nflags\t\t: {V3}\n", "x86_64")
    assert (intel.platform, intel.legacy) == ("haswell", ("tls", "haswell", "x86_64"))
    other = parse_cpuinfo(f"vendor_id\t: AuthenticAMD\nflags\t\t: {V3}\n", "x86_64")
    assert (other.platform, other.legacy) == ("x86_64", ("tls", "x86_64", "x86_64"))


def test_a_level_includes_all_lower_levels() -> None:
    assert list_levels_up_to("x86-64-v3", "x86_64") == ("x86-64-v3", "x86-64-v2")
    assert list_levels_up_to("x86-64-v3", "aarch64") == ()
    assert get_cpu_of_level("baseline", "x86_64").levels == ()
    with pytest.raises(BundleFixError, match="unknown processor level 'x86-64-v7'"):
        list_levels_up_to("x86-64-v7", "x86_64")
