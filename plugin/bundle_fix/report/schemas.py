"""JSON Schemas of the machine-readable reports (draft 2020-12), made from their models."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from bundle_fix.manifest.model import SCHEMA as MANIFEST_SCHEMA
from bundle_fix.manifest.model import Manifest
from bundle_fix.report import diff
from bundle_fix.report.model import SCHEMA, CheckReport

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def check_schema() -> dict[str, Any]:
    """The schema of ``check --format json``: a report, or a list of them; jsonl has one a line."""
    definition, components = _definition(CheckReport)
    return {
        "$schema": DRAFT,
        "title": f"bundle-fix check, schema {SCHEMA}",
        "oneOf": [definition, {"type": "array", "items": definition}],
        "$defs": components,
    }


def manifest_schema() -> dict[str, Any]:
    """The schema of a pack's ``bundle-manifest.json``."""
    definition, components = _definition(Manifest)
    return {
        "$schema": DRAFT,
        "title": f"bundle-fix manifest, schema {MANIFEST_SCHEMA}",
        **definition,
        "$defs": components,
    }


def diff_schema() -> dict[str, Any]:
    """The schema of ``diff --format json`` and ``jsonl``."""
    definition, components = _definition(diff.DiffReport)
    return {
        "$schema": DRAFT,
        "title": f"bundle-fix diff, schema {diff.SCHEMA}",
        **definition,
        "$defs": components,
    }


def _definition(model: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reference to a model, and all that it and its parts are defined by."""
    (definition,), components = msgspec.json.schema_components(
        (model,), ref_template="#/$defs/{name}"
    )
    for component in components.values():
        component["description"] = cleandoc(component.get("description", ""))
    return definition, components


SCHEMAS = {"check": check_schema, "diff": diff_schema}
"""What makes the schema of each command's report."""
