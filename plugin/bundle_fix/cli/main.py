"""The entry point: finds the command, and turns what goes wrong into one line and a status."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

from bundle_fix import __version__

BAD_REQUEST = 2
INTERRUPTED = 130


def run() -> NoReturn:
    """Run the command line of this process and exit."""
    # --version must cost next to nothing: build systems ask it at every configure.
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"bundle-fix {__version__}\n")
        sys.exit(0)
    # A command makes many small objects, hardly a circle of them, and is soon over: to look for
    # circles every 700 objects costs a tenth of a check.
    gc.set_threshold(100_000)
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Carry out a command line.

    Args:
        arguments: what follows the program's name.

    Returns:
        The exit status: 0 all well, 1 findings, 2 a request that cannot be carried out, 130
        interrupted.
    """
    import click

    from bundle_fix.cli.commands import group
    from bundle_fix.errors import BundleFixError

    try:
        status = group.main(arguments, prog_name="bundle-fix", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_REQUEST
    except click.ClickException as error:
        return _refused(error.format_message())
    except BundleFixError as error:
        return _refused(str(error))
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("bundle-fix: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _refused(f"{place}{error.strerror or error}")
    except MemoryError:
        return _refused("there is not enough memory")
    return status if isinstance(status, int) else 0


def _refused(message: str) -> int:
    from bundle_fix.report.printable import printable

    for line in message.splitlines():
        sys.stderr.write(f"bundle-fix: error: {printable(line)}\n")
    return BAD_REQUEST
