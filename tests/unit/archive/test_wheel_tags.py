"""Names of wheels, and the platform tags that pip reads from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.wheel import build_wheel
from bundle_fix.archive.reading import open_artifact
from bundle_fix.archive.wheel import parse_platform_tags, parse_wheel_name, read_platform_tags
from bundle_fix.model.errors import BundleFixError


@pytest.mark.parametrize(
    "name", ["demo-1.0-py3-none-any.whl", "a_b-1.0-1-cp311.py3-abi3-linux_x86_64.whl"]
)
def test_the_parts_of_a_name_make_the_same_name(name: str) -> None:
    assert str(parse_wheel_name(name)) == name


@pytest.mark.parametrize("name", ["demo.whl", "demo-py3-none-any.whl", "demo-1-py3-none-any.zip"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BundleFixError, match="invalid file name"):
        parse_wheel_name(name)


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("x-1.0-py3-none-any.whl", ("any",)),
        ("x-1.0-2-cp311-abi3-manylinux_2_17_x86_64.whl", ("manylinux_2_17_x86_64",)),
        ("x-1.0-py3-none-manylinux_2_5_x86_64.manylinux1_x86_64.whl",
         ("manylinux_2_5_x86_64", "manylinux1_x86_64")),
        ("x.whl", ()),
        ("x-1.0-py3-none-any.zip", ()),
    ],
)  # fmt: skip
def test_the_tags_of_a_file_name(name: str, tags: tuple[str, ...]) -> None:
    assert parse_platform_tags(name) == tags


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("demo-1.0-py3-none-manylinux_2_28_x86_64.whl", ("manylinux_2_28_x86_64",)),
        ("demo.whl", ("manylinux_2_17_x86_64",)),
    ],
)
def test_a_renamed_wheel_has_the_tags_of_its_name(
    tmp_path: Path, name: str, tags: tuple[str, ...]
) -> None:
    (tmp_path / "tree").mkdir()
    metadata = "Wheel-Version: 1.0\nTag: py3-none-manylinux_2_17_x86_64\n"
    with open_artifact(build_wheel(tmp_path / "tree", tmp_path / name, WHEEL=metadata)) as artifact:
        assert read_platform_tags(artifact.tree) == tags
