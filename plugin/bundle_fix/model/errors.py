"""The exceptions for requests that cannot be carried out, and for damaged ELF files."""

from __future__ import annotations

AGAIN = "copy or download it again"
"""The hint for a damaged archive."""
UNTRUSTED = "do not trust this archive"
"""The hint for an archive that only an attacker would make, or that tools read differently."""


class BundleFixError(Exception):
    """A request that cannot be carried out; the command line prints it and exits with 2.

    Args:
        message: the problem in one line.
        where: the file (``path``, ``path:line:column`` or ``archive: member``) it stands in.
        hint: a remedy in one line, or empty.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{advice}"


class DamagedElfError(BundleFixError):
    """A file that begins as ELF, but whose headers contradict its size or each other."""
