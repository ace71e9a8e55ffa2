"""JSON Schemas of the machine-readable reports (draft 2020-12), made from their models."""

from __future__ import annotations

from typing import Any

import msgspec

from bundle_fix.manifest.model import SCHEMA as MANIFEST_SCHEMA
from bundle_fix.manifest.model import Manifest
from bundle_fix.report.model import SCHEMA, CheckReport


def check_schema() -> dict[str, Any]:
    """The schema of ``check --format json``: a report, or a list of them; jsonl has one a line."""
    (definition,), components = msgspec.json.schema_components(
        (CheckReport,), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"bundle-fix check, schema {SCHEMA}",
        "oneOf": [definition, {"type": "array", "items": definition}],
        "$defs": components,
    }


def manifest_schema() -> dict[str, Any]:
    """The schema of a pack's ``bundle-manifest.json``."""
    (definition,), components = msgspec.json.schema_components(
        (Manifest,), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"bundle-fix manifest, schema {MANIFEST_SCHEMA}",
        **definition,
        "$defs": components,
    }
