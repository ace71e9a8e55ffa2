"""What the command line says of the target, with what a spec says of it."""

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
    """The policy of a spec, if one is given, with the names of ``--host-provides``.

    Args:
        spec: the spec's path.
        host_provides: patterns of names that the target has.
        defines: what ``-D`` says of the spec's variables and options.

    Returns:
        The policy, and patterns of the sonames that the spec pins.

    Raises:
        BundleFixError: the spec is wrong.
    """
    if spec is None:
        return CheckPolicy(host=host_provides), ()
    from bundle_fix.check.registry import find_rule
    from bundle_fix.policy.from_spec import find_pinned_names, make_policy
    from bundle_fix.spec.parsing.load import load_spec
    from bundle_fix.spec.variables import resolve_variables

    loaded = load_spec(spec)
    for number, ignore in enumerate(loaded.check.ignore):
        find_rule(ignore.rule, loaded.locate_key("check", "ignore", number, "rule"))
    values = resolve_variables(loaded, spec.parent.resolve(), defines, os.environ)
    found = make_policy(loaded, values)
    return replace(found, host=(*found.host, *host_provides)), find_pinned_names(loaded, values)


def parse_glibc_version(text: str | None) -> str | None:
    """The version of ``--glibc``, which is checked.

    Raises:
        click.UsageError: it is no version.
    """
    if text is not None and not re.fullmatch(r"\d+(\.\d+){1,2}", text):
        raise click.UsageError(f"--glibc {text}: it takes a version, such as 2.17")
    return text
