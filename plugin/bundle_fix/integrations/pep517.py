"""PEP 517 build backend: scikit-build-core's, with a check of each wheel.

    [build-system]
    requires = ["scikit-build-core", "bundle-fix"]
    build-backend = "bundle_fix.integrations.pep517"

The check is configured in ``[tool.bundle-fix]`` of pyproject.toml; see
`bundle_fix.policy.from_pyproject`. A wheel that fails the check is removed, and the build fails
with the report. Editable wheels are not checked. All other hooks are scikit-build-core's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scikit_build_core import build as backend

from bundle_fix.model.errors import BundleFixError
from bundle_fix.policy.from_pyproject import build_wheel_policy, read_wheel_settings

if TYPE_CHECKING:
    from bundle_fix.policy.policy import CheckPolicy

PYPROJECT = Path("pyproject.toml")
"""Relative, because frontends run a backend in the project's directory (PEP 517)."""


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, list[str] | str] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel and check it; the arguments are those of the hook in PEP 517.

    Returns:
        The name of the wheel in ``wheel_directory``.

    Raises:
        SystemExit: The wheel cannot be built, or fails the check.
    """
    try:
        policy = build_wheel_policy(read_wheel_settings(PYPROJECT), PYPROJECT)
    except BundleFixError as error:
        raise _report_failure(f"bundle-fix: error: {error}\n") from None
    name = backend.build_wheel(wheel_directory, config_settings, metadata_directory)
    wheel = Path(wheel_directory, name)
    try:
        report = check_wheel(wheel, policy)
    except BundleFixError as error:
        report = f"bundle-fix: error: {error}\n"
    if report:
        wheel.unlink()
        raise _report_failure(f"{report}bundle-fix: {name} failed the check and was removed\n")

    return name


def __getattr__(name: str) -> Callable[..., Any]:
    """Return a hook of scikit-build-core, if it has that hook for this project."""
    hook: Callable[..., Any] = getattr(backend, name)
    return hook


def check_wheel(wheel: Path, policy: CheckPolicy) -> str:
    """Return the report on a wheel that fails the check, or an empty text.

    Raises:
        BundleFixError: The wheel cannot be read.
    """
    from bundle_fix.archive.reading import open_artifact
    from bundle_fix.check.checker import check_bundle
    from bundle_fix.check.registry import CHECK_RULES
    from bundle_fix.loader.bundle import read_bundle
    from bundle_fix.report.check_report import describe_rules, forget_fix, make_check_report
    from bundle_fix.report.render.text import render_text

    with open_artifact(wheel) as artifact:
        verdict = check_bundle(read_bundle(artifact.tree, wheel.name), policy)
    if not verdict.failed:
        return ""
    # The wheel is removed, so `fix` has nothing to repair.
    report = forget_fix(make_check_report(wheel.name, verdict))
    return render_text(report, describe_rules(CHECK_RULES), lambda text, _: text, verbose=False)


def _report_failure(text: str) -> SystemExit:
    """Print ``text`` to stderr and return the exception that ends the build."""
    sys.stdout.flush()
    sys.stderr.write(text)
    return SystemExit(1)
