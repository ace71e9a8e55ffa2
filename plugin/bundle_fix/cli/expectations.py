"""What the command line and a spec say of the target, as one `Expectations`."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.check.context import Expectations


def read_expectations(spec: Path | None, host_provides: tuple[str, ...]) -> Expectations:
    """The expectations of a spec, if one is given, with the names of ``--host-provides``.

    Raises:
        BundleFixError: the spec is wrong.
    """
    return Expectations(host=host_provides)


def read_pins(spec: Path | None) -> tuple[str, ...]:
    """The sonames that a spec pins."""
    return ()
