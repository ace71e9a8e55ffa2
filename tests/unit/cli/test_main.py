from __future__ import annotations

from pathlib import Path

import pytest

from builders.run import bundle_fix
from bundle_fix import __version__


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


@pytest.mark.parametrize("options", [[], ["-q"], ["--dry-run", "--color", "never"]])
def test_a_lone_artifact_means_fix(tmp_path: Path, options: list[str]) -> None:
    ran = bundle_fix(*options, tmp_path / "gone.tar.gz")
    assert ran.stderr == (
        f"bundle-fix: error: {tmp_path}/gone.tar.gz: there is no such file or folder\n"
    )
