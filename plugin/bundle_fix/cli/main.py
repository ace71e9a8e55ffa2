"""The entry point: finds the command, and turns what goes wrong into one line and a status."""

from __future__ import annotations

import gc
import os
import sys

from bundle_fix import __version__

BAD_REQUEST = 2
INTERRUPTED = 130


def run() -> None:
    """Run the command line of this process and exit.

    Until signals are answered, as little as can be is imported.
    """
    # --version must cost next to nothing: build systems ask it at every configure.
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"bundle-fix {__version__}\n")
        sys.exit(0)
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        # Archives have names in UTF-8, whatever this machine's locale has (PEP 540).
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
    from bundle_fix.cli.signals import answer_signals, open_standard_streams

    open_standard_streams()
    answer_signals()
    # A command makes many small objects, hardly a circle of them, and is soon over: to look for
    # circles every 700 objects costs a tenth of a check.
    gc.set_threshold(100_000)
    status = main(sys.argv[1:])
    # Nor are there any to be found at the end. LIEF says on stderr what is left of it there.
    if "lief" not in sys.modules:
        gc.freeze()
    sys.exit(status)


def main(arguments: list[str]) -> int:
    """Carry out a command line.

    Args:
        arguments: what follows the program's name.

    Returns:
        The exit status: 0 all well, 1 findings, 2 a request that cannot be carried out, 130
        interrupted, or 128 and the number of the signal that ended it.
    """
    from bundle_fix.cli.signals import StoppedError

    try:
        # With what it imports: that takes longer than some commands, and may be interrupted too.
        return _carried_out(arguments)
    except KeyboardInterrupt:
        return _ended("interrupted", INTERRUPTED)
    except StoppedError as error:
        return _ended(f"ended by signal {error.number}", 128 + error.number)


def _carried_out(arguments: list[str]) -> int:
    import click

    from bundle_fix.cli.commands import group
    from bundle_fix.cli.signals import flushed
    from bundle_fix.model.errors import BundleFixError

    try:
        status = group.main(arguments, prog_name="bundle-fix", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_REQUEST
    except click.ClickException as error:
        return _refused(error.format_message())
    except BundleFixError as error:
        return _refused(str(error))
    except click.Abort:
        return _ended("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        flushed()
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _refused(f"{place}{error.strerror or error}")
    except RuntimeError as error:
        # What Python makes of the limit of processes.
        if str(error) != "can't start new thread":
            raise
        return _refused("no more threads can be started (ulimit -u)")
    except MemoryError:
        return _refused("there is not enough memory")
    if reason := flushed():
        return _refused(f"cannot print the result: {reason}")
    return status if isinstance(status, int) else 0


def _ended(how: str, status: int) -> int:
    from contextlib import suppress

    from bundle_fix.cli.signals import flushed

    # The terminal may be what is gone.
    with suppress(OSError):
        sys.stderr.write(f"bundle-fix: {how}\n")
    flushed()
    return status


def _refused(message: str) -> int:
    from bundle_fix.model.printable import escape_unprintable

    for line in message.splitlines():
        sys.stderr.write(f"bundle-fix: error: {escape_unprintable(line)}\n")
    return BAD_REQUEST
