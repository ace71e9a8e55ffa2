"""The check policy and the pinned libraries of a spec."""

from __future__ import annotations

import posixpath

from bundle_fix.policy.policy import AcceptedFinding, CheckPolicy
from bundle_fix.policy.severity import Severity
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values, evaluate_when, substitute_variables


def build_policy(spec: Spec, values: Values) -> CheckPolicy:
    """Return the policy that ``[closure]`` and ``[check]`` of a spec define."""
    return CheckPolicy(
        host=tuple(substitute_variables(text, values) for text in spec.closure.host),
        dlopen=tuple(substitute_variables(text, values) for text in spec.closure.dlopen),
        glibc=spec.check.glibc,
        allocators=tuple(substitute_variables(text, values) for text in spec.check.allocators),
        fail_on=Severity(spec.check.fail_on),
        ignore=tuple(
            AcceptedFinding(i.rule, substitute_variables(i.path, values), i.reason)
            for i in spec.check.ignore
        ),
    )


def find_pinned_names(spec: Spec, values: Values) -> tuple[str, ...]:
    """Return globs of the names of the libraries that a spec pins.

    A name is a soname, or the last component of ``from``.
    """
    return tuple(
        substitute_variables(entry.name, values)
        if entry.name is not None
        else posixpath.basename(substitute_variables(entry.source or "", values))
        for entry in spec.libraries
        if entry.pin and evaluate_when(entry.when, values)
    )
