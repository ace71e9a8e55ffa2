"""Read the policy of a spec, together with the options that describe the target."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import click
from msgspec.structs import replace

from bundle_fix.policy.policy import CheckPolicy


def read_policy(
    spec: Path | None, host_provides: tuple[str, ...], defines: Mapping[str, str] = {}
) -> tuple[CheckPolicy, tuple[str, ...]]:
    """Return the policy of a spec, or the default policy, extended by ``--host-provides``.

    Args:
        spec: The path of the spec, or None.
        host_provides: Patterns of the library names that the target provides.
        defines: Values of ``-D`` for variables and options of the spec.

    Returns:
        The policy, and patterns of the sonames that the spec pins.

    Raises:
        BundleFixError: The spec is invalid.
    """
    if spec is None:
        return CheckPolicy(host=host_provides), ()
    from bundle_fix.check.registry import find_rule
    from bundle_fix.policy.from_spec import build_policy, find_pinned_names
    from bundle_fix.spec.parsing.load import load_spec
    from bundle_fix.spec.variables import resolve_variables

    loaded = load_spec(spec)
    for number, ignore in enumerate(loaded.check.ignore):
        find_rule(ignore.rule, loaded.locate_key("check", "ignore", number, "rule"))
    values = resolve_variables(loaded, spec.parent.resolve(), defines, os.environ)
    policy = build_policy(loaded, values)
    return replace(policy, host=(*policy.host, *host_provides)), find_pinned_names(loaded, values)


def parse_glibc_version(text: str | None) -> str | None:
    """Return the value of ``--glibc``.

    Raises:
        click.UsageError: The value is not a version.
    """
    if text is not None and not re.fullmatch(r"\d+(\.\d+){1,2}", text):
        raise click.UsageError(f"--glibc {text}: invalid version; expected one such as 2.17")

    return text
