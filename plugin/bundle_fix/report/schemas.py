"""JSON Schemas (draft 2020-12) of the spec and of all JSON output, made from the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import cleandoc
from typing import Any

import msgspec

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def build_check_schema() -> dict[str, Any]:
    """Return the schema of ``check --format json``: a report or a list; jsonl has one per line."""
    from bundle_fix.report.check_report import SCHEMA, CheckReport

    return _allow_list(_build_schema(CheckReport, f"bundle-fix check, schema {SCHEMA}"))


def build_diff_schema() -> dict[str, Any]:
    """Return the schema of ``diff --format json`` and ``jsonl``."""
    from bundle_fix.report.diff import SCHEMA, DiffReport

    return _build_schema(DiffReport, f"bundle-fix diff, schema {SCHEMA}")


def build_inspect_schema() -> dict[str, Any]:
    """Return the schema of ``inspect --format json``: a report or a list of them."""
    from bundle_fix.report.inspection import SCHEMA, InspectReport

    return _allow_list(_build_schema(InspectReport, f"bundle-fix inspect, schema {SCHEMA}"))


def build_run_schema() -> dict[str, Any]:
    """Return the schema of ``run --format json`` and ``jsonl``."""
    from bundle_fix.report.run import SCHEMA, RunReport

    return _build_schema(RunReport, f"bundle-fix run, schema {SCHEMA}")


def build_tree_schema() -> dict[str, Any]:
    """Return the schema of ``tree --format json``."""
    from bundle_fix.report.render.process import ProcessRecord

    return _build_schema(tuple[ProcessRecord, ...], "bundle-fix tree")


def build_why_schema() -> dict[str, Any]:
    """Return the schema of ``why --format json``, without ``--symbol``."""
    from bundle_fix.report.render.why import ExplanationRecord

    return _build_schema(tuple[ExplanationRecord, ...], "bundle-fix why")


def build_elf_schema() -> dict[str, Any]:
    """Return the schema of ``elf --format json``, for files that were read or edited."""
    from bundle_fix.report.render.elf import EditedFileRecord, ElfFileRecord

    schema = _build_schema(tuple[ElfFileRecord, ...], "bundle-fix elf")
    edited = _build_schema(tuple[EditedFileRecord, ...], "")
    items = {"anyOf": [schema.pop("items"), edited["items"]]}
    return {**schema, "items": items, "$defs": schema["$defs"] | edited["$defs"]}


def build_rules_schema() -> dict[str, Any]:
    """Return the schema of ``rules --format json``."""
    from bundle_fix.report.check_report import RuleText

    return _build_schema(tuple[RuleText, ...], "bundle-fix rules")


def build_manifest_schema() -> dict[str, Any]:
    """Return the schema of a pack's ``bundle-manifest.json``."""
    from bundle_fix.manifest.model import SCHEMA_VERSION, Manifest

    return _build_schema(Manifest, f"bundle-fix manifest, schema {SCHEMA_VERSION}")


def build_spec_schema() -> dict[str, Any]:
    """Return the schema of ``bundle.toml`` for editors; `bundle_fix.spec` does its own checks."""
    from bundle_fix.spec.model import Tables
    from bundle_fix.spec.table_types import FilesEntry, LibrariesEntry, Variable

    schema: dict[str, Any] = _drop_null(_build_schema(Tables, "bundle.toml, a spec of bundle-fix"))
    # Conditions between the keys of one table, which the types of the model do not express.
    definitions = schema["$defs"]
    definitions[Variable.__name__] |= {
        "oneOf": [
            {"required": [source]} for source in ("env", "file", "cmake-cache", "builtin", "value")
        ],
        "dependentRequired": {"file": ["pattern"], "in": ["cmake-cache"]},
    }
    definitions[FilesEntry.__name__]["oneOf"] = [{"required": ["from"]}, {"required": ["text"]}]
    definitions[LibrariesEntry.__name__] |= {
        "oneOf": [{"required": ["from"]}, {"required": ["name"]}],
        "dependentRequired": {"name": ["search"], "search": ["name"], "exclude": ["from"]},
    }
    return schema


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "spec": build_spec_schema,
    "check": build_check_schema,
    "diff": build_diff_schema,
    "inspect": build_inspect_schema,
    "run": build_run_schema,
    "tree": build_tree_schema,
    "why": build_why_schema,
    "elf": build_elf_schema,
    "rules": build_rules_schema,
    "manifest": build_manifest_schema,
}
"""The schemas by name."""


def _build_schema(model: object, title: str) -> dict[str, Any]:
    (definition,), components = msgspec.json.schema_components(
        (model,), ref_template="#/$defs/{name}"
    )
    for component in components.values():
        component["description"] = cleandoc(component.get("description", ""))
    return {"$schema": DRAFT, "title": title, **definition, "$defs": components}


def _allow_list(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for one value, or a list of such values."""
    definition = {"$ref": schema.pop("$ref")}
    return {**schema, "oneOf": [definition, {"type": "array", "items": definition}]}


def _drop_null(value: Any) -> Any:
    """Return a schema without null, which TOML does not have, and each description on one line."""
    if isinstance(value, list):
        return [_drop_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    clean = {key: _drop_null(item) for key, item in value.items() if item is not None}
    if isinstance(clean.get("description"), str):
        clean["description"] = " ".join(clean["description"].split())
    choices = clean.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices = [choice for choice in choices if choice != {"type": "null"}]
        del clean["anyOf"]
        clean.update(choices[0] if len(choices) == 1 else {"anyOf": choices})
    return clean
