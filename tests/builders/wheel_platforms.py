"""The platform policies of the installed auditwheel, in the form in which bundle-fix stores them.

``cd tests && python -m builders.wheel_platforms`` writes them to plan/wheels/platforms.json.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import bundle_fix.plan.wheels

TARGET = Path(bundle_fix.plan.wheels.__file__).with_name("platforms.json")


def convert_policies() -> dict[str, Any]:
    """Return all policies, each with what it adds to the ones before it."""
    kinds = {kind: _convert_kind(kind) for kind in ("manylinux", "musllinux")}
    return {"source": f"auditwheel {version('auditwheel')}", **kinds}


def _convert_kind(kind: str) -> list[dict[str, Any]]:
    """Return the policies of one C library; the oldest comes first."""
    text = files("auditwheel.policy").joinpath(f"{kind}-policy.json").read_text()
    policies = [policy for policy in json.loads(text) if policy["name"] != "linux"]
    libraries: set[str] = set()
    known: dict[tuple[str, str], set[str]] = {}
    found = []
    for policy in sorted(policies, key=lambda policy: -policy["priority"]):
        versions: dict[str, dict[str, list[str]]] = {}
        for architecture, families in sorted(policy["symbol_versions"].items()):
            versions[architecture] = {}
            for family, names in sorted(families.items()):
                before = known.setdefault((architecture, family), set())
                versions[architecture][family] = sorted(set(names) - before)
                assert before <= set(names)
                before |= set(names)
        assert libraries <= set(policy["lib_whitelist"])
        found.append(
            {
                "name": policy["name"],
                "aliases": policy["aliases"],
                "libraries": sorted(set(policy["lib_whitelist"]) - libraries),
                "forbidden": {k: sorted(v) for k, v in sorted(policy["blacklist"].items())},
                "versions": versions,
            }
        )
        libraries |= set(policy["lib_whitelist"])
    return found


def format_policies(policies: dict[str, Any]) -> str:
    """Return JSON with one policy a line."""
    lines = [f'{{"source": {json.dumps(policies["source"])}']
    for kind in ("manylinux", "musllinux"):
        rows = ",\n".join(json.dumps(policy, separators=(",", ":")) for policy in policies[kind])
        lines.append(f'"{kind}": [\n{rows}\n]')
    return ",\n".join(lines) + "}\n"


if __name__ == "__main__":
    TARGET.write_text(format_policies(convert_policies()))
