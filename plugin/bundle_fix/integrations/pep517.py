"""A PEP 517 build backend: scikit-build-core's, whose wheels are checked before they are given.

    [build-system]
    requires = ["scikit-build-core", "bundle-fix"]
    build-backend = "bundle_fix.integrations.pep517"

What a wheel is checked for is configured in ``[tool.bundle-fix]``: see
`bundle_fix.policy.from_pyproject`.
A wheel that does not pass is removed, and the build fails with the report. Editable wheels are not
checked. All other hooks are scikit-build-core's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scikit_build_core import build as backend

from bundle_fix.model.errors import BundleFixError
from bundle_fix.policy.from_pyproject import make_wheel_policy, read_wheel_settings

if TYPE_CHECKING:
    from bundle_fix.policy.policy import CheckPolicy

PYPROJECT = Path("pyproject.toml")
"""Frontends run a backend in the project's folder (PEP 517)."""


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, list[str] | str] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel and check it, as PEP 517 has it.

    Returns:
        The name of its file in ``wheel_directory``.

    Raises:
        SystemExit: it cannot be built, or does not pass.
    """
    try:
        policy = make_wheel_policy(read_wheel_settings(PYPROJECT), PYPROJECT)
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
        raise _report_failure(
            f"{report}bundle-fix: {name} would not run everywhere, and was removed\n"
        )
    return name


def __getattr__(name: str) -> Callable[..., Any]:
    """The hooks that are scikit-build-core's own, as far as it has them for this project."""
    hook: Callable[..., Any] = getattr(backend, name)
    return hook


def check_wheel(wheel: Path, policy: CheckPolicy) -> str:
    """The report on a wheel that does not pass; empty where it passes.

    Raises:
        BundleFixError: it cannot be read.
    """
    from bundle_fix.archive.reading import open_artifact
    from bundle_fix.check.checker import check_bundle
    from bundle_fix.check.registry import CHECK_RULES
    from bundle_fix.loader.bundle import read_bundle
    from bundle_fix.report.check_report import describe_rules, make_check_report
    from bundle_fix.report.render.text import render_text

    with open_artifact(wheel) as artifact:
        verdict = check_bundle(read_bundle(artifact.tree, wheel.name), policy)
    if not verdict.failed:
        return ""
    report = make_check_report(wheel.name, verdict)
    return render_text(report, describe_rules(CHECK_RULES), lambda text, _: text, verbose=False)


def _report_failure(text: str) -> SystemExit:
    sys.stdout.flush()
    sys.stderr.write(text)
    return SystemExit(1)
