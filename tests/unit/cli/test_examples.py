"""The examples of commands: each is a valid command line, and help and errors show them."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from builders.run import run_bundle_fix
from bundle_fix.cli.commands import COMMANDS, group
from bundle_fix.cli.examples import EXAMPLES, format_usage_error

LINES = [
    example.line
    for examples in EXAMPLES.values()
    for example in examples
    if example.line.startswith("bundle-fix ")
]


def parse(line: str) -> click.Context:
    """Return the context of a command line that is parsed but not run."""
    words = shlex.split(line.partition(">")[0])[1:]
    root = click.Context(group, info_name="bundle-fix", **group.context_settings)
    command = group.get_command(root, words[0])
    assert command is not None
    return command.make_context(words[0], words[1:], root)


def test_every_command_has_examples() -> None:
    assert [*EXAMPLES] == ["bundle-fix", *COMMANDS]


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_a_valid_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    for directory in ("dist", "wheelhouse"):
        (tmp_path / directory).mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse(line).params


def test_the_help_of_a_command_ends_with_examples() -> None:
    printed = run_bundle_fix("rules", "--help").stdout
    assert printed.endswith(
        "\nExamples:\n  # list all rules\n  bundle-fix rules\n"
        "  # explain one rule\n  bundle-fix rules BF102\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("check", "Missing argument 'ARTIFACT...'. Try: bundle-fix check pack.tar.gz"),
        ("completion", "Choose from: bash, zsh, fish. Try: bundle-fix completion bash"),
        ("elf x -o", "requires an argument. Try: bundle-fix elf --set-soname libx.so.2 -o libx.so.2"
         " libx.so.1"),
        ("check x --ignore BF202", "until 2.6'. Try: bundle-fix check pack.tar.gz --ignore"
         " 'BF202:bin/old=until 2.6'"),
        ("fix_tree x", "Did you mean 'fix-tree'? Try: bundle-fix fix-tree --all build/install"),
        ("zzz x", "No such command 'zzz'. Try: bundle-fix --help"),
    ],
)  # fmt: skip
def test_a_usage_error_shows_an_example_with_its_option(line: str, message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        group.main(line.split(), "bundle-fix", standalone_mode=False)
    assert format_usage_error(caught.value.format_message(), caught.value).endswith(message)
