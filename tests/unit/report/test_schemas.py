"""The JSON Schemas that are shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.run import bundle_fix
from bundle_fix.report.schemas import SCHEMAS

DOCS = Path(__file__).parents[3] / "docs/schemas"


@pytest.mark.parametrize("command", SCHEMAS)
def test_the_shipped_schema_is_the_one_that_the_models_make(command: str) -> None:
    made = json.loads(bundle_fix(command, "--schema").stdout)
    assert made == SCHEMAS[command]()
    shipped = json.loads((DOCS / f"{command}-1.json").read_text())
    assert shipped == made, "make it anew: `make docs`"
    assert made["title"] == f"bundle-fix {command}, schema 1"
