"""What a spec says of a pack that exists: what to expect of its target, and what is pinned."""

from __future__ import annotations

import posixpath

from bundle_fix.policy.policy import CheckPolicy, Ignore
from bundle_fix.policy.severity import Severity
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values, evaluate_when, substitute


def make_policy(spec: Spec, values: Values) -> CheckPolicy:
    """What ``[closure]`` and ``[check]`` say of the pack and its target."""
    return CheckPolicy(
        host=tuple(substitute(text, values) for text in spec.closure.host),
        dlopen=tuple(substitute(text, values) for text in spec.closure.dlopen),
        glibc=spec.check.glibc,
        allocators=tuple(substitute(text, values) for text in spec.check.allocators),
        fail_on=Severity(spec.check.fail_on),
        ignore=tuple(
            Ignore(i.rule, substitute(i.path, values), i.reason) for i in spec.check.ignore
        ),
    )


def find_pinned_names(spec: Spec, values: Values) -> tuple[str, ...]:
    """Patterns of the names that a spec pins: sonames, or the last part of what ``from`` names."""
    return tuple(
        substitute(entry.name, values)
        if entry.name is not None
        else posixpath.basename(substitute(entry.source or "", values))
        for entry in spec.libraries
        if entry.pin and evaluate_when(entry.when, values)
    )
