"""Programs that run in a sandbox."""

from __future__ import annotations

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.run.sandbox.program import choose_isolation


def require_sandbox() -> None:
    """Skip the test if this machine permits no namespaces."""
    try:
        choose_isolation(network=False)
    except BundleFixError as error:
        pytest.skip(str(error))
