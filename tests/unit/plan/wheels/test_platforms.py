"""The platforms of wheels are those of auditwheel."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from builders.wheel_platforms import TARGET, convert_policies
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.plan.wheels.platforms import (
    Requirements,
    find_obstacles,
    list_platforms,
    read_source,
)

NOTHING = Requirements({}, {}, {}, {})


def test_the_policies_are_those_that_auditwheel_publishes() -> None:
    if read_source() != f"auditwheel {version('auditwheel')}":
        pytest.skip(f"another auditwheel is installed than {read_source()}")
    assert json.loads(TARGET.read_text()) == convert_policies()


def test_the_platform_of_the_oldest_target_comes_first() -> None:
    names = [platform.name for platform in list_platforms(Libc.GLIBC, "aarch64")]
    assert names[:2] == ["manylinux_2_17_aarch64", "manylinux_2_24_aarch64"]
    assert list_platforms(Libc.GLIBC, "x86_64")[0].tags == (
        "manylinux_2_5_x86_64",
        "manylinux1_x86_64",
    )
    assert list_platforms(Libc.GLIBC, "m68k") == ()


def test_a_platform_includes_the_versions_of_older_ones() -> None:
    by_name = {platform.name: platform for platform in list_platforms(Libc.GLIBC, "x86_64")}
    newer = by_name["manylinux_2_28_x86_64"]
    assert newer.allows_version("GLIBC_2.2.5")
    assert newer.allows_version("GLIBC_2.28")
    assert not newer.allows_version("GLIBC_2.29")
    assert newer.allows_version("OTHER_9")


@pytest.mark.parametrize(
    ("requirements", "obstacle"),
    [
        ({"external": {"libdep.so.1": "x.so"}}, "x.so needs libdep.so.1"),
        ({"external": {"libmvec.so.1": "x.so"}}, "x.so needs libmvec.so.1, a part of"),
        ({"versions": {"GLIBC_PRIVATE": "x.so", "GLIBC_2.5": "y.so"}}, "x.so requires GLIBC_PR"),
        ({"symbols": {"libz.so.1": {"uncompress2": "x.so"}}}, "x.so uses uncompress2 of libz"),
        ({"levels": {"x.so": 3}}, "x.so is marked as needing x86-64-v3"),
    ],
)
def test_a_platform_excludes_what_its_targets_lack(
    requirements: dict[str, object], obstacle: str
) -> None:
    platform = list_platforms(Libc.GLIBC, "x86_64")[2]
    fields = {name: getattr(NOTHING, name) for name in NOTHING.__struct_fields__}
    found = list(find_obstacles(platform, Requirements(**{**fields, **requirements})))
    assert [text[: len(obstacle)] for text in found] == [obstacle]


def test_a_library_that_the_user_expects_on_the_target_is_no_obstacle() -> None:
    platform = list_platforms(Libc.MUSL, "x86_64")[-1]
    needs = Requirements({"libdep.so.1": "x.so", "libc.musl-x86_64.so.1": "x.so"}, {}, {}, {})
    assert not list(find_obstacles(platform, needs, ["libdep.*"]))
