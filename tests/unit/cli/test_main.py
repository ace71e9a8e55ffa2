from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from builders.pack import incident, tarball
from builders.run import bundle_fix
from bundle_fix import __version__
from bundle_fix.cli.commands import group
from bundle_fix.cli.main import main

BUNDLE_FIX = f"{shlex.quote(sys.executable)} -m bundle_fix"


@pytest.mark.parametrize("arguments", [["--version"], ["--color", "--version"][1:]])
def test_the_version_is_told(arguments: list[str]) -> None:
    assert bundle_fix(*arguments).stdout == f"bundle-fix {__version__}\n"


def test_help_lists_every_command() -> None:
    ran = bundle_fix("--help")
    assert ran.returncode == 0
    for command in ("pack", "fix", "check"):
        assert f"  {command} " in ran.stdout


@pytest.mark.parametrize("command", ["pack", "fix", "check"])
def test_every_command_explains_itself(command: str) -> None:
    ran = bundle_fix(command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: bundle-fix {command} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], "No such command 'chek'"),
        (["check"], "Missing argument 'ARTIFACT...'"),
        (["check", "--formt", "json", "x"], "No such option '--formt'"),
        (["fix", "x.tar", "--in-place", "-o", "y"], "--in-place and -o exclude each other"),
        (["pack", "x.toml", "-D", "version"], "a definition is NAME=VALUE"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "x.toml").write_text('[bundle]\nname = "p"\n')
    ran = bundle_fix(*arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert message in ran.stderr


def test_no_thread_more_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def at_the_limit(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(group, "main", at_the_limit)
    assert main([]) == 2
    told = "bundle-fix: error: no more threads can be started (ulimit -u)\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("options", [[], ["-q"], ["--dry-run", "--color", "never"]])
def test_a_lone_artifact_means_fix(tmp_path: Path, options: list[str]) -> None:
    ran = bundle_fix(*options, tmp_path / "gone.tar.gz")
    assert ran.stderr == (
        f"bundle-fix: error: {tmp_path}/gone.tar.gz: there is no such file or folder\n"
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_printed_is_never_written_into_a_pack(tmp_path: Path, closed: str) -> None:
    """Where stdout is closed, the next file that is opened has its number."""
    tarball(incident(tmp_path / "p"), tmp_path / "p.tar.gz")
    command = f"{BUNDLE_FIX} fix p.tar.gz {closed}"
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 0
    assert b"Traceback" not in ran.stderr
    assert bundle_fix("check", "p.fixed.tar.gz", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("arguments", ["fix p.tar.gz", "check p.tar.gz", "rules", "tree p.tar.gz"])
def test_a_result_that_cannot_be_printed_is_told_in_one_line(
    tmp_path: Path, arguments: str
) -> None:
    tarball(incident(tmp_path / "p"), tmp_path / "p.tar.gz")
    command = f"{BUNDLE_FIX} {arguments} -q >/dev/full"
    if arguments == "rules":
        command = command.replace(" -q", "")
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.decode().count("\n") == 1
    assert ran.stderr.endswith(b"No space left on device\n")


def test_a_reader_that_has_seen_enough_does_not_hide_what_was_found(tmp_path: Path) -> None:
    incident(tmp_path / "p")
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
def test_who_is_told_to_end_while_it_imports_ends_in_one_line(number: int) -> None:
    command = [sys.executable, "-c", WHILE_IMPORTING.format(number=int(number))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 128 + number
    assert (ran.stdout, ran.stderr.count("\n")) == ("", 1)
    assert ran.stderr.startswith("bundle-fix: ")
