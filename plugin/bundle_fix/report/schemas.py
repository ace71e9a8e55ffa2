"""JSON Schemas (draft 2020-12) of the spec and of what is printed as JSON, from their models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import cleandoc
from typing import Any

import msgspec

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def build_check_schema() -> dict[str, Any]:
    """The schema of ``check --format json``: a report, or a list of them; jsonl has one a line."""
    from bundle_fix.report.check_report import SCHEMA, CheckReport

    schema = _schema(CheckReport, f"bundle-fix check, schema {SCHEMA}")
    definition = {"$ref": schema.pop("$ref")}
    return {**schema, "oneOf": [definition, {"type": "array", "items": definition}]}


def build_diff_schema() -> dict[str, Any]:
    """The schema of ``diff --format json`` and ``jsonl``."""
    from bundle_fix.report.diff import SCHEMA, DiffReport

    return _schema(DiffReport, f"bundle-fix diff, schema {SCHEMA}")


def build_tree_schema() -> dict[str, Any]:
    """The schema of ``tree --format json``."""
    from bundle_fix.report.render.process import ProcessRecord

    return _schema(tuple[ProcessRecord, ...], "bundle-fix tree")


def build_why_schema() -> dict[str, Any]:
    """The schema of ``why --format json``, without ``--symbol``."""
    from bundle_fix.report.render.why import ExplanationRecord

    return _schema(tuple[ExplanationRecord, ...], "bundle-fix why")


def build_elf_schema() -> dict[str, Any]:
    """The schema of ``elf --format json``: of files that were read, or that were edited."""
    from bundle_fix.report.render.elf import EditedRecord, ElfRecord

    schema = _schema(tuple[ElfRecord, ...], "bundle-fix elf")
    edited = _schema(tuple[EditedRecord, ...], "")
    either = {"anyOf": [schema.pop("items"), edited["items"]]}
    return {**schema, "items": either, "$defs": schema["$defs"] | edited["$defs"]}


def build_rules_schema() -> dict[str, Any]:
    """The schema of ``rules --format json``."""
    from bundle_fix.report.check_report import RuleText

    return _schema(tuple[RuleText, ...], "bundle-fix rules")


def build_manifest_schema() -> dict[str, Any]:
    """The schema of a pack's ``bundle-manifest.json``."""
    from bundle_fix.manifest.model import SCHEMA, Manifest

    return _schema(Manifest, f"bundle-fix manifest, schema {SCHEMA}")


def build_spec_schema() -> dict[str, Any]:
    """The schema of a ``bundle.toml``, for editors: what `bundle_fix.spec` checks itself."""
    from bundle_fix.spec.model import Tables

    schema: dict[str, Any] = _without_null(_schema(Tables, "bundle.toml, a spec of bundle-fix"))
    for name, conditions in _CONDITIONS.items():
        schema["$defs"][name].update(conditions)
    return schema


_CONDITIONS: Mapping[str, dict[str, Any]] = {
    "Variable": {
        "oneOf": [
            {"required": [source]} for source in ("env", "file", "cmake-cache", "builtin", "value")
        ],
        "dependentRequired": {"file": ["pattern"], "in": ["cmake-cache"]},
    },
    "Files": {"oneOf": [{"required": ["from"]}, {"required": ["text"]}]},
    "Libraries": {
        "oneOf": [{"required": ["from"]}, {"required": ["name"]}],
        "dependentRequired": {"name": ["search"], "search": ["name"], "exclude": ["from"]},
    },
}
"""How the keys of a table go together, which the model's types do not say."""

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "spec": build_spec_schema,
    "check": build_check_schema,
    "diff": build_diff_schema,
    "tree": build_tree_schema,
    "why": build_why_schema,
    "elf": build_elf_schema,
    "rules": build_rules_schema,
    "manifest": build_manifest_schema,
}
"""The schemas by name."""


def _schema(kind: object, title: str) -> dict[str, Any]:
    (definition,), components = msgspec.json.schema_components(
        (kind,), ref_template="#/$defs/{name}"
    )
    for component in components.values():
        component["description"] = cleandoc(component.get("description", ""))
    return {"$schema": DRAFT, "title": title, **definition, "$defs": components}


def _without_null(value: Any) -> Any:
    """A schema without the nulls that the model has and TOML has not, its texts on one line."""
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    clean = {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(clean.get("description"), str):
        clean["description"] = " ".join(clean["description"].split())
    choices = clean.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        kept = [choice for choice in choices if choice != {"type": "null"}]
        del clean["anyOf"]
        clean.update(kept[0] if len(kept) == 1 else {"anyOf": kept})
    return clean
