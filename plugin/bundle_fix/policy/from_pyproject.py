"""The check policy of a project's wheels: ``[tool.bundle-fix]`` in its pyproject.toml.

[tool.bundle-fix]            # every key is optional
spec    = "bundle.toml"      # the policy is that of its [closure] and [check], with the keys below
host    = ["libcuda.so.1"]   # more libraries that the target provides
glibc   = "2.28"
fail-on = "error"
ignore  = [{ rule = "BF202", path = "demo/bin/old", reason = "until 2.6" }]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import tomli
from msgspec.structs import replace

from bundle_fix.model.errors import BundleFixError
from bundle_fix.policy.policy import AcceptedFinding, CheckPolicy
from bundle_fix.policy.severity import Severity
from bundle_fix.spec.table_types import IgnoreEntry, SpecTable
from bundle_fix.spec.value_types import SeverityName

TABLE = "[tool.bundle-fix]"


class WheelSettings(SpecTable, kw_only=True, frozen=True):
    """The values of ``[tool.bundle-fix]``; ``spec`` is relative to the directory of the file."""

    spec: str | None = None
    host: tuple[str, ...] = ()
    glibc: str | None = None
    fail_on: SeverityName | None = None
    ignore: tuple[IgnoreEntry, ...] = ()


def read_wheel_settings(path: Path) -> WheelSettings:
    """Return the settings in a pyproject.toml, or the defaults if it has no such table.

    Raises:
        BundleFixError: the file cannot be read, or the table contains an invalid key or value.
    """
    try:
        data: dict[str, Any] = tomli.loads(path.read_bytes().decode())
    except (OSError, ValueError) as error:
        raise BundleFixError(f"cannot read the file: {error}", where=str(path)) from error
    tool = data.get("tool", {})
    table = tool.get("bundle-fix", {}) if isinstance(tool, dict) else {}
    try:
        return msgspec.convert(table, WheelSettings)
    except msgspec.ValidationError as error:
        raise BundleFixError(
            f"invalid {TABLE}: {error}", where=str(path),
            hint="use the keys spec, host, glibc, fail-on and ignore",
        ) from error  # fmt: skip


def build_wheel_policy(settings: WheelSettings, path: Path) -> CheckPolicy:
    """Return the policy for wheels: that of the spec, if any, with the settings added.

    Args:
        settings: the values of the table.
        path: the pyproject.toml that contains the table.

    Raises:
        BundleFixError: the spec cannot be read or is invalid.
    """
    policy = CheckPolicy()
    if settings.spec is not None:
        from bundle_fix.policy.from_spec import build_policy
        from bundle_fix.spec.parsing.load import load_spec
        from bundle_fix.spec.variables import resolve_variables

        spec = load_spec(path.parent / settings.spec)
        root = spec.path.parent.resolve()
        policy = build_policy(spec, resolve_variables(spec, root, {}, os.environ))
    accepted = (AcceptedFinding(i.rule, i.path, i.reason) for i in settings.ignore)
    return replace(
        policy,
        host=(*policy.host, *settings.host),
        glibc=settings.glibc or policy.glibc,
        fail_on=Severity(settings.fail_on or policy.fail_on),
        ignore=(*policy.ignore, *accepted),
    )
