"""The entry point of the command line: runs a command and reports each error in one line."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in: no file is read
import os
import sys

from bundle_fix import __version__

BAD_REQUEST = 2
INTERRUPTED = 130


def run() -> None:
    """Run the command line of this process and exit.

    Imports are kept few until the signal handlers are installed: a signal that arrives earlier
    ends the process without a message.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Python's handler would print a traceback of the next imports.
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    # --version must cost next to nothing: build systems run it at every configure.
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"bundle-fix {__version__}\n")
        sys.exit(0)
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        # Names in archives are UTF-8, whatever the locale of this machine is (PEP 540).
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
    from bundle_fix.cli.signals import install_signal_handlers, open_standard_streams

    open_standard_streams()
    install_signal_handlers()
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run a command line.

    Args:
        arguments: The arguments after the program's name.

    Returns:
        The exit code: 0 success, 1 findings, 2 invalid request, 130 interrupted, or 128 plus the
        number of the signal that ended the command.
    """
    from bundle_fix.cli.signals import StoppedError

    try:
        # Imports are included: they take longer than some commands, and may be interrupted too.
        return _run_command(arguments)
    except KeyboardInterrupt:
        return _report_end("interrupted", INTERRUPTED)
    except StoppedError as error:
        return _report_end(f"ended by signal {error.number}", 128 + error.number)


def _run_command(arguments: list[str]) -> int:
    import click

    from bundle_fix.cli.commands import describe_click_error, group
    from bundle_fix.cli.signals import flush_output
    from bundle_fix.model.errors import BundleFixError, describe_os_error, describe_process_limit

    try:
        status = group.main(arguments, prog_name="bundle-fix", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_REQUEST
    except click.ClickException as error:
        return _report_error(describe_click_error(error))
    except BundleFixError as error:
        return _report_error(str(error))
    except click.Abort:
        return _report_end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does; this is not an error.
        flush_output()
        return 0
    except OSError as error:
        prefix = f"{error.filename}: " if error.filename else ""
        return _report_error(f"{prefix}{describe_os_error(error)}")
    except RuntimeError as error:
        # Python's message when the limit of processes (EAGAIN) is reached.
        if str(error) != "can't start new thread":
            raise
        return _report_error(f"cannot start a thread: {describe_process_limit()}")
    except MemoryError:
        return _report_error("not enough memory")
    if reason := flush_output():
        return _report_error(f"cannot print the result: {reason}")
    return status if isinstance(status, int) else 0


def _report_end(message: str, status: int) -> int:
    from contextlib import suppress

    from bundle_fix.cli.signals import flush_output

    # The terminal may be gone, for example after SIGHUP.
    with suppress(OSError):
        sys.stderr.write(f"bundle-fix: {message}\n")
    flush_output()
    return status


def _report_error(message: str) -> int:
    from bundle_fix.model.printable import escape_unprintable

    for line in message.splitlines():
        sys.stderr.write(f"bundle-fix: error: {escape_unprintable(line)}\n")
    return BAD_REQUEST
