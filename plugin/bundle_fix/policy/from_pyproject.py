"""``[tool.bundle-fix]`` of a pyproject.toml: what the wheels of a project are checked for.

[tool.bundle-fix]            # every key may be left out
spec    = "bundle.toml"      # its [closure] host and [check] say what is expected
host    = ["libcuda.so.1"]   # what the target has besides
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
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.policy import Ignore as Accepted
from bundle_fix.policy.severity import Severity
from bundle_fix.spec.model import IgnoreEntry, SpecTable
from bundle_fix.spec.value_types import SeverityName

TABLE = "[tool.bundle-fix]"


class WheelSettings(SpecTable, kw_only=True, frozen=True):
    """The table; ``spec`` is relative to the folder of pyproject.toml."""

    spec: str | None = None
    host: tuple[str, ...] = ()
    glibc: str | None = None
    fail_on: SeverityName | None = None
    ignore: tuple[IgnoreEntry, ...] = ()


def read_wheel_settings(path: Path) -> WheelSettings:
    """The settings in a pyproject.toml; the defaults where it has none.

    Raises:
        BundleFixError: it cannot be read, or the table has something else in it.
    """
    try:
        data: dict[str, Any] = tomli.loads(path.read_bytes().decode())
    except (OSError, ValueError) as error:
        raise BundleFixError(f"cannot be read: {error}", where=str(path)) from error
    tool = data.get("tool", {})
    table = tool.get("bundle-fix", {}) if isinstance(tool, dict) else {}
    try:
        return msgspec.convert(table, WheelSettings)
    except msgspec.ValidationError as error:
        raise BundleFixError(
            f"{TABLE}: {error}", where=str(path),
            hint="it takes spec, host, glibc, fail-on and ignore",
        ) from error  # fmt: skip


def make_wheel_policy(settings: WheelSettings, path: Path) -> CheckPolicy:
    """What wheels are checked for: what the spec says, if there is one, with what is said here.

    Args:
        settings: the table.
        path: the pyproject.toml that it is from.

    Raises:
        BundleFixError: the spec is wrong.
    """
    found = CheckPolicy()
    if settings.spec is not None:
        from bundle_fix.policy.from_spec import make_policy
        from bundle_fix.spec.parsing.load import load_spec
        from bundle_fix.spec.variables import resolve_variables

        spec = load_spec(path.parent / settings.spec)
        root = spec.path.parent.resolve()
        found = make_policy(spec, resolve_variables(spec, root, {}, os.environ))
    accepted = (Accepted(i.rule, i.path, i.reason) for i in settings.ignore)
    return replace(
        found,
        host=(*found.host, *settings.host),
        glibc=settings.glibc or found.glibc,
        fail_on=Severity(settings.fail_on or found.fail_on),
        ignore=(*found.ignore, *accepted),
    )
