"""Private libraries never go where the loader of a target searches by default."""

from __future__ import annotations

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.installation.private_directory import ensure_private


@pytest.mark.parametrize(
    "directory",
    [
        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
        "/usr/lib/x86_64-linux-gnu", "/usr/local/lib/aarch64-linux-gnu", "/usr/./lib",
    ],
)  # fmt: skip
def test_default_directories_are_refused_with_the_reason(directory: str) -> None:
    with pytest.raises(BundleFixError, match="searches this directory by default") as raised:
        ensure_private(directory)
    assert raised.value.where == directory.replace("./", "")


@pytest.mark.parametrize(
    "directory",
    ["/usr/lib/demo", "/usr/local/lib/demo", "/opt/demo/lib", "/usr/lib/x86_64-linux-gnu/demo"],
)
def test_other_directories_are_private(directory: str) -> None:
    ensure_private(directory)
