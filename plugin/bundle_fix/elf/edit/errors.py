"""The errors of the ELF editors."""

from __future__ import annotations

from bundle_fix.model.errors import BundleFixError


class CannotEditError(Exception):
    """An editor cannot make this change to this file; the text gives the reason."""


class EditRefusedError(BundleFixError):
    """No editor can make the change; the file is as it was."""
