from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest

from builders.fake_lief import TOO_NEW, replace_lief
from builders.pack import make_incident_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix import __version__
from bundle_fix.cli.commands import group
from bundle_fix.cli.main import main

BUNDLE_FIX = f"{shlex.quote(sys.executable)} -m bundle_fix"


@pytest.mark.parametrize("arguments", [["--version"], ["--color", "--version"][1:]])
def test_the_version_is_printed(arguments: list[str]) -> None:
    assert run_bundle_fix(*arguments).stdout == f"bundle-fix {__version__}\n"


def test_help_lists_every_command() -> None:
    ran = run_bundle_fix("--help")
    assert ran.returncode == 0
    for command in ("pack", "fix", "check"):
        assert f"  {command} " in ran.stdout


@pytest.mark.parametrize("command", ["pack", "fix", "check"])
def test_every_command_explains_itself(command: str) -> None:
    ran = run_bundle_fix(command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: bundle-fix {command} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc"], "No such command 'chekc'. Did you mean 'check'?"),
        (["chekc", "x.tar.gz"], "No such command 'chekc'. Did you mean 'check'?"),
        (["fix_tree", "./x", "-q"], "No such command 'fix_tree'. Did you mean 'fix-tree'?"),
        (["zzz", "x.toml"], "No such command 'zzz'."),
        (["check"], "Missing argument 'ARTIFACT...'"),
        (["check", "--formt", "json", "x"], "No such option '--formt'. Did you mean '--format'?"),
        (["--versoin"], "No such option '--versoin'. Did you mean '--version'?"),
        (["check", "--ignore", "BF2O3=why", "x"], "did you mean `BF203`?"),
        (["check", "--ignore", "host-win=why", "x"], "did you mean `host-wins`?"),
        (["rules", "BF2O3"], "did you mean `BF203`?"),
        (["pack", "misspelled.toml"], "did you mean `name`?"),
        (["fix", "x.tar", "--in-place", "-o", "y"], "--in-place and -o exclude each other"),
        (["pack", "x.toml", "-D", "version"], "expected NAME=VALUE"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "misspelled.toml").write_text('[bundle]\nnmae = "p"\n')
    (tmp_path / "x.toml").write_text('[bundle]\nname = "p"\n')
    ran = run_bundle_fix(*arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert message in ran.stderr


def test_reaching_the_limit_of_processes_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def at_the_limit(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(group, "main", at_the_limit)
    assert main([]) == 2
    line = capsys.readouterr().err
    assert line.startswith("bundle-fix: error: cannot start a thread: the limit of ")
    assert line.endswith("processes and threads is reached (raise it with 'ulimit -u')\n")


@pytest.mark.parametrize("options", [[], ["-q"], ["--dry-run", "--color", "never"]])
def test_a_path_without_a_command_means_fix(tmp_path: Path, options: list[str]) -> None:
    ran = run_bundle_fix(*options, tmp_path / "gone.tar.gz")
    assert ran.stderr == (f"bundle-fix: error: {tmp_path}/gone.tar.gz: no such file or directory\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_printed_is_never_written_into_a_pack(tmp_path: Path, closed: str) -> None:
    """If stdout is closed, the next file that is opened gets its number."""
    make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "p.tar.gz")
    command = f"{BUNDLE_FIX} fix p.tar.gz {closed}"
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 0
    assert b"Traceback" not in ran.stderr
    assert run_bundle_fix("check", "p.fixed.tar.gz", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("arguments", ["fix p.tar.gz", "check p.tar.gz", "rules", "tree p.tar.gz"])
def test_a_result_that_cannot_be_printed_is_reported_in_one_line(
    tmp_path: Path, arguments: str
) -> None:
    make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "p.tar.gz")
    command = f"{BUNDLE_FIX} {arguments} -q >/dev/full"
    if arguments == "rules":
        command = command.replace(" -q", "")
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.decode().count("\n") == 1
    assert ran.stderr.endswith(b"No space left on device\n")


def test_a_closed_pipe_does_not_change_the_exit_code(tmp_path: Path) -> None:
    make_incident_pack(tmp_path / "p")
    command = f"{BUNDLE_FIX} check p p p p p p | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert ran.stdout == b"1\n"
    assert ran.stderr == b""


WHILE_IMPORTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "click":
            os.kill(os.getpid(), {number})

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
sys.argv = ["bundle-fix", "rules"]
from bundle_fix.cli.main import run
run()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_imports_is_reported_in_one_line(number: int) -> None:
    command = [sys.executable, "-c", WHILE_IMPORTING.format(number=int(number))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 128 + number
    assert (ran.stdout, ran.stderr.count("\n")) == ("", 1)
    assert ran.stderr.startswith("bundle-fix: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fix", "--in-place", ""], ["fix", ".", "-o", ""], ["fix", ".", "--move-libraries", ""],
        ["check", ""], ["check", ".", ""], ["check", ".", "--host", ""],
        ["check", ".", "--spec", ""], ["check", ".", "--baseline", ""], ["check", ".", "-o", ""],
        ["check", ".", "--also", "json="], ["tree", ""], ["tree", ".", ""], ["why", "", "x"],
        ["why", ".", ""], ["diff", "", "."], ["diff", ".", ""], ["init", ""],
        ["init", ".", "-o", ""], ["elf", ""], ["elf", "x", "-o", ""], ["pack", ""],
        ["pack", "x.toml", "-C", ""], ["pack", "x.toml", "--stamp", ""],
        ["pack", "x.toml", "--sbom", ""], ["fix-tree", ""], ["fix-tree", ".", "--members", ""],
        ["fix-tree", ".", "--libdir", ""], [""],
    ],
)  # fmt: skip
def test_an_empty_path_is_an_invalid_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_bundle_fix(*arguments)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_no_option_takes_an_empty_path() -> None:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        assert not [p.name for p in command.params if isinstance(p.type, click.Path)]


def test_the_verbose_version_lists_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = {"unsquashfs": "[ $1 = -version ] && echo unsquashfs version 4.5.1; exit 1",
                "strace": "echo secret"}  # fmt: skip
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--version", "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"bundle-fix {__version__}"
    assert lines[1].endswith(f" ({sys.executable})")
    assert f"unsquashfs 4.5.1 ({tmp_path}/unsquashfs)" in lines
    assert f"strace of an unknown version ({tmp_path}/strace)" in lines
    assert "bwrap is not installed: no 'run' where user namespaces are restricted" in lines
    assert {"glibc", "LIEF", "msgspec", "isal"} <= {line.partition(" ")[0] for line in lines}


def test_the_verbose_version_gives_the_reason_for_a_missing_lief(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_lief(monkeypatch, tmp_path, f"raise ImportError({TOO_NEW!r})")
    assert main(["-v", "--version"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("LIEF"))
    reason = "LIEF needs GLIBC_2.99, which /lib64/libc.so.6 lacks"
    assert line == f"{reason}: no second opinion on edited files, and no editor lief"
