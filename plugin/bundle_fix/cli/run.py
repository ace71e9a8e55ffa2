"""``bundle-fix run``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.check.rules import observed
from bundle_fix.cli.check_options import add_gate_options, read_gate_policy
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    PATH,
    add_message_options,
    choose_painter,
    define_option,
    host_like_this_option,
    host_option,
    parse_text,
    print_message,
    spec_option,
)
from bundle_fix.cli.renderers import (
    Style,
    convert_for_file,
    render_observation,
    render_step_summary,
)
from bundle_fix.cli.report_file import append_summary, write_report
from bundle_fix.cli.status import compute_exit_code
from bundle_fix.cli.target_options import HOSTILE
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.pipelines.run.execute import run_program
from bundle_fix.pipelines.run.learn import Proposals, learn_spec
from bundle_fix.pipelines.run.request import RunOptions
from bundle_fix.report.check_report import describe_rules
from bundle_fix.report.run import convert_to_check_report, make_run_report
from bundle_fix.spec.parsing.load import load_spec

DEFAULT_TIMEOUT = 60.0
STDERR = 2
LIBRARIES = "lib/"
"""The directory in which --learn puts libraries."""
SECONDS = click.FloatRange(min=0, min_open=True)


def _parse_place(_ctx: click.Context, _option: click.Parameter, text: str) -> str:
    """Return the value of ``--at``; raise click.BadParameter if it is no absolute path."""
    path = text.rstrip("/")
    if not path.startswith("/") or ".." in path.split("/"):
        raise click.BadParameter("expected an absolute path below /, such as /opt/pack")
    return path


class RunCommand(CommandWithExamples):
    """A command whose options end at the second positional argument, the program to run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the options between PACK and PROGRAM before PACK."""
        before, rest = self._split_options(ctx, args)
        between, command = self._split_options(ctx, rest[1:])
        return super().parse_args(ctx, [*before, *between, "--", *rest[:1], *command])

    def _split_options(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        """Return the options at the start of ``args``, and what comes after them and ``--``."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        parser = click.Command("options", params=[*options]).make_parser(ctx)
        parser.allow_interspersed_args = False
        _, rest, _ = parser.parse_args(list(args))
        start = args[: len(args) - len(rest)]
        return start[:-1] if start[-1:] == ["--"] else start, rest


@click.command(cls=RunCommand)
@click.argument("artifact", type=PATH, metavar="PACK")
@click.argument("program", type=parse_text, required=False, default=None)
@click.argument("arguments", nargs=-1, metavar="[ARG...]", type=click.UNPROCESSED)
@click.option(
    "--at", default="/opt/pack", metavar="DIRECTORY", callback=_parse_place,
    help="Put the pack into DIRECTORY of the host (default: /opt/pack).",
)  # fmt: skip
@click.option(
    "--cwd", "directory", default="", metavar="DIRECTORY",
    help="Start the program in DIRECTORY of the pack (default: its root).",
)  # fmt: skip
@click.option(
    "--env", "variables", multiple=True, metavar="hostile|NAME=VALUE",
    help="Set a variable of the program; 'hostile' adds a directory with a decoy of each library to"
    " LD_LIBRARY_PATH; repeatable.",
)  # fmt: skip
@click.option(
    "--host", "host_root", type=PATH, metavar="ROOT",
    help="Use a root file system (a directory or a tarball) as the host, or / for this machine"
    " (default: a decoy host).",
)  # fmt: skip
@click.option(
    "--decoy", "decoys", multiple=True, type=PATH, metavar="FILE",
    help="Use the library FILE as the decoy of its soname, such as an older release; repeatable.",
)  # fmt: skip
@click.option("--network", is_flag=True, help="Let the program use this machine's network.")
@click.option(
    "--timeout", type=SECONDS, default=DEFAULT_TIMEOUT, metavar="SECONDS",
    help=f"Stop the program after SECONDS and fail (default: {DEFAULT_TIMEOUT:g}).",
)  # fmt: skip
@click.option(
    "--stop-after", type=SECONDS, metavar="SECONDS",
    help="Stop the program after SECONDS, as is normal for a server.",
)  # fmt: skip
@click.option(
    "--open-all", is_flag=True,
    help="First open each library of the pack by itself; PROGRAM is then optional.",
)  # fmt: skip
@click.option(
    "--strace", is_flag=True,
    help="Record all files that the program opens, with strace; --verbose lists them.",
)  # fmt: skip
@click.option(
    "--learn", type=PATH, metavar="SPEC",
    help="Add the libraries that the program opened at run time to SPEC, a bundle.toml file.",
)  # fmt: skip
@spec_option
@define_option
@host_option
@host_like_this_option
@add_limit_options
@add_gate_options
@add_message_options
def run(
    artifact: Path,
    program: str | None,
    arguments: tuple[str, ...],
    at: str,
    directory: str,
    variables: tuple[str, ...],
    host_root: Path | None,
    decoys: tuple[Path, ...],
    network: bool,
    timeout: float,
    stop_after: float | None,
    open_all: bool,
    strace: bool,
    learn: Path | None,
    spec: Path | None,
    defines: tuple[str, ...],
    host_provides: tuple[str, ...],
    host_like_this: bool,
    limits: Limits,
    fail_on: str | None,
    exit_zero: bool,
    ignores: tuple[str, ...],
    kind: str,
    output: Path | None,
    also: tuple[tuple[str, Path], ...],
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Run PROGRAM of PACK on a decoy host and report which libraries it loads.

    Unlike all other commands, this one executes code of the artifact. The decoy host has this
    machine's C library and a decoy of every other library that the pack contains or needs. The
    program can neither change files of this machine nor use its network. Its output goes to stderr.

    Options after PROGRAM are those of the program.

    Exit code: 0 success, 1 a decoy was loaded, the program failed, or there is another error
    ('bundle-fix rules' explains BF8xx), 2 the program cannot be run.
    """
    if program is None and not open_all:
        raise click.UsageError("Missing argument 'PROGRAM'.")
    if decoys and host_root is not None and HOSTILE not in variables:
        raise click.UsageError("--decoy with --host requires --env hostile")
    provides = (*host_provides, "*") if host_like_this else host_provides
    policy = read_gate_policy(spec, provides, fail_on, None, ignores, defines)
    options = RunOptions(
        program or "", arguments, at, directory, _read_variables(variables), HOSTILE in variables,
        host_root, decoys, network, stop_after or timeout, stop_after is not None,
        open_all, strace, limits,
    )  # fmt: skip
    if learn is not None:
        # An invalid spec is reported before the program runs.
        load_spec(learn)
    start = time.monotonic()
    result = run_program(artifact, options, policy, STDERR)
    report = make_run_report(str(artifact), result, policy, time.monotonic() - start)
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    rules = describe_rules(observed.RULES)
    style = Style("run", kind, rules, policy.fail_on, paint, verbose, quiet, exit_zero)
    if output is not None or kind != "text" or report.failed or not quiet:
        write_report([render_observation(report, style)], output, kind)
    for other, file in also:
        write_report([render_observation(report, convert_for_file(style, other))], file, other)
    if learn is not None:
        _print_proposals(learn, learn_spec(learn, result.loads, LIBRARIES), quiet=quiet)
    if kind == "github":
        append_summary(lambda: render_step_summary([convert_to_check_report(report)], style))
    return compute_exit_code([convert_to_check_report(report)], exit_zero=exit_zero)


def _read_variables(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of ``--env`` by name.

    Raises:
        click.UsageError: A text is neither ``hostile`` nor NAME=VALUE.
    """
    variables = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if text != HOSTILE:
            if not equals or not name:
                raise click.UsageError(f"--env {text}: expected 'hostile' or NAME=VALUE")
            variables[name] = value
    return variables


def _print_proposals(spec: Path, proposals: Proposals, *, quiet: bool) -> None:
    for key, values in (("[closure] dlopen", proposals.names), ("[[files]]", proposals.files)):
        if values:
            names = ", ".join(map(escape_unprintable, values))
            print_message(f"{spec}: added to {key}: {names}", quiet=quiet)
    if not proposals.names and not proposals.files:
        print_message(f"{spec}: nothing to add", quiet=quiet)
