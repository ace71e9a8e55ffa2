"""Completion, as each shell asks for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from builders.shells import SHARE, complete_in_terminal, find_programs, require_debian_program
from bundle_fix.cli.commands import COMMANDS, group
from bundle_fix.cli.completion import VARIABLE


def complete(*words: str) -> list[str]:
    """Return what completes the last word, each as ``type,value``."""
    completer = ShellComplete(group, {}, "bundle-fix", VARIABLE)
    items = completer.get_completions([*words[:-1]], words[-1])
    return [f"{item.type},{item.value}" for item in items]


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (("che",), ["plain,check"]),
        (("build/ins",), ["file,build/ins"]),
        (("server-2",), ["file,server-2"]),
        (("check", "pack.t"), ["file,pack.t"]),
        (("pack", "--root", "src"), ["dir,src"]),
        (("inspect", "co"), ["file,co"]),
        (("rules", "bf10"), [f"plain,BF10{number}" for number in "126345789"]),
        (("check", "--ignore", "BF102"), ["plain,BF102"]),
        (("check", "--format", "js"), ["plain,jsonl", "plain,json"]),
        (("check", "--also", "sar"), ["plain,sarif="]),
        (("elf", "--editor", "s"), ["plain,slot", "plain,segment"]),
        (("schema", "man"), ["plain,manifest"]),
        (("completion", "f"), ["plain,fish"]),
        (("run", "--hos"), ["plain,--host", "plain,--host-provides", "plain,--host-like-this"]),
        (("run", "pack", "--deco"), ["plain,--decoy"]),
        (("patchelf", "--set-r"), ["plain,--set-rpath"]),
        (("patchelf", "bin/s"), ["file,bin/s"]),
        (("server-2.5.tar.gz", "--dry"), ["plain,--dry-run"]),
    ],
)
def test_values_are_completed(words: tuple[str, ...], completions: list[str]) -> None:
    assert sorted(complete(*words)) == sorted(completions)


def test_all_commands_are_completed() -> None:
    assert complete("") == [f"plain,{name}" for name in COMMANDS]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_with_the_installed_script_completes_a_command(tmp_path: Path, shell: str) -> None:
    require_debian_program(shell, shell)
    line = complete_in_terminal(shell, "bundle-fix compl", tmp_path)
    assert line.rstrip() == "bundle-fix completion"


def test_fish_with_the_installed_script_completes_a_rule_with_its_name(tmp_path: Path) -> None:
    require_debian_program("fish", "fish")
    script = f"source {SHARE}/fish/vendor_completions.d/bundle-fix.fish"
    ran = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}; complete -C 'bundle-fix rules BF102'"],
        env={"PATH": find_programs(), "HOME": str(tmp_path)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert ran.stdout == "BF102\thost-wins\n"
