"""The tags of a wheel in its file name and in its file WHEEL."""

from __future__ import annotations

import pytest

from bundle_fix.archive.wheel import parse_wheel_name
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Tree
from bundle_fix.plan.wheels.tags import find_metadata_directory, set_tags

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py2-none-any\nBuild: 1\n\n"


def make_tree(*directories: str) -> Tree:
    file = File(BytesContent(WHEEL.encode()), Metadata(0o644))
    return Tree({f"{directory}/WHEEL": file for directory in directories})


def test_the_tags_of_the_name_are_written_to_wheel() -> None:
    name = parse_wheel_name("demo-1.0-py2.py3-none-any.whl")
    name = name.with_platforms(["manylinux_2_17_x86_64", "manylinux2014_x86_64"])
    assert name.platform == "manylinux2014_x86_64.manylinux_2_17_x86_64"
    node = set_tags(make_tree("demo-1.0.dist-info"), name).nodes["demo-1.0.dist-info/WHEEL"]
    assert isinstance(node, File)
    with node.content.open() as reader:
        lines = reader.pread(0, 1000).decode().splitlines()
    assert lines[:3] == ["Wheel-Version: 1.0", "Root-Is-Purelib: false", "Build: 1"]
    assert lines[3:] == [
        f"Tag: {python}-none-{platform}"
        for python in ("py2", "py3")
        for platform in ("manylinux2014_x86_64", "manylinux_2_17_x86_64")
    ]


def test_a_wheel_has_one_metadata_directory() -> None:
    assert find_metadata_directory(make_tree("demo-1.0.dist-info")) == "demo-1.0.dist-info"
    with pytest.raises(BundleFixError, match="2 directories"):
        find_metadata_directory(make_tree("a-1.dist-info", "b-1.dist-info"))
