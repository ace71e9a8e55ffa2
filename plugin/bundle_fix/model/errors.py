"""The exceptions for requests that cannot be carried out, and the causes of system errors."""

from __future__ import annotations

import errno
import os
import resource

AGAIN = "copy or download it again"
"""The hint for a damaged archive."""
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the file in question."""
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


def build_os_error(
    problem: str, error: OSError, *, where: str = "", hint: str = ""
) -> BundleFixError:
    """Return ``problem`` with the cause of ``error``.

    Args:
        problem: the beginning of the message.
        error: the cause.
        where: the file.
        hint: the remedy, if the cause is not a limit of the process or the machine.
    """
    cause, own_hint = _explain(error)
    return BundleFixError(f"{problem}: {cause}", where=where, hint=own_hint or hint)


def describe_os_error(error: OSError) -> str:
    """Return the cause of ``error`` with a remedy, if there is one."""
    cause, hint = _explain(error)
    return f"{cause} ({hint})" if hint else cause


def raise_if_exhausted(error: OSError) -> None:
    """Raise ``error`` again if descriptors or memory are used up: the file may well exist."""
    if error.errno in EXHAUSTED:
        raise error


def describe_process_limit() -> str:
    """Return the text for a process or thread that cannot be started (EAGAIN of clone(2))."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    number = "" if limit == resource.RLIM_INFINITY else f"{limit} "
    return f"the limit of {number}processes and threads is reached (raise it with 'ulimit -u')"


def _explain(error: OSError) -> tuple[str, str]:
    """Return the cause of ``error``, and a remedy or an empty text."""
    if error.errno == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"the limit of {limit} open files is reached", "raise it with 'ulimit -n'"
    if error.errno == errno.ENFILE:
        return "the machine's limit of open files is reached", "raise it with 'sysctl fs.file-max'"
    if error.errno == errno.ENOMEM:
        return "not enough memory", "free some, or raise the limit with 'ulimit -v'"
    if isinstance(error, FileNotFoundError) and error.filename is None:
        # tempfile finds no usable directory; without a free descriptor none is usable.
        try:
            os.close(os.dup(2))
        except OSError as cause:
            return _explain(cause)
    return error.strerror or str(error), ""
