"""Examples of each command: its help, its man page and its usage errors show them."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

OPTION = re.compile(r"--?[A-Za-z][\w-]*")


class Example(NamedTuple):
    """A command line, and what it is for (an imperative clause)."""

    purpose: str
    line: str


SHOWN_EXAMPLES = 2
"""Examples at the end of a command's help; the manual has all."""
EXAMPLES = {
    "bundle-fix": (
        Example("check a pack against a host with an older copy of each library",
                "bundle-fix check pack.tar.gz"),
        Example("repair it, and write pack.fixed.tar.gz", "bundle-fix fix pack.tar.gz"),
    ),
    "pack": (
        Example("make a pack in the existing directory dist/",
                "bundle-fix pack bundle.toml -o dist/"),
        Example("set a variable of the spec", "bundle-fix pack bundle.toml -D version=2.6"),
        Example("do nothing if no input has changed",
                "bundle-fix pack bundle.toml -o dist/ --if-changed"),
        Example("use the libraries of another root file system",
                "bundle-fix pack bundle.toml --sysroot rootfs/"),
    ),
    "init": (
        Example("write bundle.toml for an installed build", "bundle-fix init build/install"),
        Example("print the spec of an old pack", "bundle-fix init pack.tar.gz -o -"),
    ),
    "fix": (
        Example("write the repaired pack to pack.fixed.tar.gz", "bundle-fix fix pack.tar.gz"),
        Example("print the changes only", "bundle-fix fix pack.tar.gz --dry-run"),
        Example("write the repaired pack into the existing directory dist/",
                "bundle-fix fix pack.tar.gz -o dist/"),
        Example("repair a directory in place", "bundle-fix fix build/install --in-place"),
        Example("bundle what a wheel needs, and give it a manylinux tag",
                "bundle-fix fix --repair-wheel app-1.0-py3-none-linux_x86_64.whl -o wheelhouse/"),
    ),
    "check": (
        Example("check a pack against a host with an older copy of each library",
                "bundle-fix check pack.tar.gz"),
        Example("gate a pipeline for hosts with glibc 2.28 or newer",
                "bundle-fix check pack.tar.gz --glibc 2.28 --fail-on warning"),
        Example("check it against an unpacked root file system",
                "bundle-fix check pack.tar.gz --host rootfs/"),
        Example("write a report for a browser",
                "bundle-fix check pack.tar.gz --format html -o report.html"),
        Example("write a report for a code scanner, too",
                "bundle-fix check pack.tar.gz --also sarif=report.sarif"),
        Example("accept the findings of a rule in one file, for a reason",
                "bundle-fix check pack.tar.gz --ignore 'BF202:bin/old=until 2.6'"),
        Example("print one JSON line for each wheel",
                "bundle-fix check dist/*.whl --format jsonl --jobs 4"),
        Example("assume that the target sets LD_LIBRARY_PATH",
                "bundle-fix check pack.tar.gz --env LD_LIBRARY_PATH=/usr/local/lib"),
    ),
    "tree": (
        Example("print what each program loads", "bundle-fix tree pack.tar.gz"),
        Example("print what one program loads on this machine",
                "bundle-fix tree pack.tar.gz bin/server --host /"),
        Example("draw a graph", "bundle-fix tree pack.tar.gz --format dot"),
    ),
    "why": (
        Example("print each directory that is searched for a library",
                "bundle-fix why pack.tar.gz libssl.so.3"),
        Example("print whose malloc is used", "bundle-fix why pack.tar.gz --symbol malloc"),
    ),
    "run": (
        Example("run a program on a host full of decoys",
                "bundle-fix run pack.tar.gz bin/server --version"),
        Example("stop a server after ten seconds",
                "bundle-fix run pack.tar.gz --stop-after 10 bin/server"),
        Example("use an older release of a library as its decoy",
                "bundle-fix run pack.tar.gz --decoy old/libtcmalloc.so.4 bin/server"),
    ),
    "diff": (
        Example("report the regressions of a release",
                "bundle-fix diff server-2.5.tar.gz server-2.6.tar.gz"),
        Example("fail on warnings as well",
                "bundle-fix diff server-2.5.tar.gz server-2.6.tar.gz --fail-on warning"),
    ),
    "inspect": (
        Example("print what a process has loaded", "bundle-fix inspect 4242"),
        Example("compare a core file with its pack",
                "bundle-fix inspect ./core --against pack.tar.gz"),
        Example("find all processes that have loaded another copy", "bundle-fix inspect --all"),
    ),
    "rules": (
        Example("list all rules", "bundle-fix rules"),
        Example("explain one rule", "bundle-fix rules BF102"),
    ),
    "elf": (
        Example("print the dynamic section of a program", "bundle-fix elf bin/server"),
        Example("set its RUNPATH",
                "bundle-fix elf --set-runpath '$ORIGIN/../lib' --in-place bin/server"),
        Example("write a copy with another soname",
                "bundle-fix elf --set-soname libx.so.2 -o libx.so.2 libx.so.1"),
    ),
    "patchelf": (
        Example("set the RUNPATH of a program",
                "bundle-fix patchelf --set-rpath '$ORIGIN/../lib' bin/server"),
    ),
    "schema": (
        Example("write the schema of specs for an editor", "bundle-fix schema >bundle.schema.json"),
        Example("print the schema of the report of 'check'", "bundle-fix schema check"),
        Example("print the reference of spec keys", "bundle-fix schema spec --format markdown"),
    ),
    "fix-tree": (
        Example("repair an installation that has a directory of its own",
                "bundle-fix fix-tree --all build/install"),
        Example("repair the listed files of a shared directory",
                "bundle-fix fix-tree --members build/install_manifest.txt /usr/local"),
    ),
    "cmake-dir": (
        Example("configure a project that calls find_package(BundleFix)",
                'cmake -S . -B build -DBundleFix_DIR="$(bundle-fix cmake-dir)"'),
    ),
    "completion": (
        Example("print the script of a shell", "bundle-fix completion bash"),
        Example("load it in bash, from ~/.bashrc", 'eval "$(bundle-fix completion bash)"'),
        Example("load it in zsh, from ~/.zshrc after compinit",
                'eval "$(bundle-fix completion zsh)"'),
        Example("install it for fish",
                "bundle-fix completion fish >~/.config/fish/completions/bundle-fix.fish"),
    ),
}  # fmt: skip
"""The examples of each command by its name, the most common use first."""


class CommandWithExamples(click.Command):
    """A command whose help ends with examples, and whose usage errors name the command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:  # fmt: skip
        """Parse the arguments; each error has a context, which click adds to most errors only."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            error.ctx = error.ctx or click.Context(self, parent, info_name)
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first examples; a command line is not wrapped, so that it can be copied."""
        with formatter.section("Examples"):
            for example in EXAMPLES[ctx.command.name or ""][:SHOWN_EXAMPLES]:
                formatter.write(f"  # {example.purpose}\n  {example.line}\n")


def format_usage_error(message: str, error: click.UsageError) -> str:
    """Return the message of an error in one line, with an example of the command and its option."""
    # click lists the values of a missing argument in lines of their own.
    message = re.sub(r"\s*\n\s*", " ", message)
    examples = EXAMPLES.get(error.ctx.command.name or "", ()) if error.ctx else ()
    if not examples:
        return message
    options = {*OPTION.findall(message)}
    with_option = (example for example in examples if options & {*example.line.split()})
    line = next(with_option, examples[0]).line
    if error.ctx and isinstance(error.ctx.command, click.Group):
        # The list of all commands helps more than the example of one.
        line = "bundle-fix --help"
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} Try: {line}"
