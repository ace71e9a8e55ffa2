"""Programs that run in a sandbox."""

from __future__ import annotations

import os
import shutil

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.run.sandbox.program import choose_isolation


def find_obstacle() -> str:
    """Return the reason why this machine permits no sandbox; empty if it permits one."""
    try:
        choose_isolation(network=False)
    except BundleFixError as error:
        return str(error)
    return ""


def require_sandbox() -> None:
    """Skip the test if this machine permits no namespaces."""
    if obstacle := find_obstacle():
        pytest.skip(obstacle)


def require_strace() -> None:
    """Skip the test if strace is missing; fail if all programs must be there, as in CI."""
    if shutil.which("strace") is not None:
        return
    if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
        pytest.fail("strace is not installed; BUNDLE_FIX_TOOLCHAINS=all needs it")
    pytest.skip("strace is not installed")
