from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_temporary_files_left(scratch: Path) -> None:
    """Every test of this package fails if it leaves a temporary file."""
