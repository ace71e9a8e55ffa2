"""Interactive shells on a pseudo-terminal, into which a test types."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SHARE = PROJECT / "share"
PROMPT = b"READY>"
HANGS = 300
"""Seconds without output after which a shell hangs."""
DUMP = b"\x18"
"""Ctrl-X, which START_FILES binds to a command that writes the line to the file `line`."""
START_FILES = {
    "bash": """
PS1='READY>'
. {share}/bash-completion/completions/bundle-fix
dump() {{ printf '%s' "$READLINE_LINE" >line; exit; }}
bind -x '"\\C-x": dump'
""",
    "zsh": """
PS1='READY>'
fpath=({share}/zsh/site-functions $fpath)
autoload -Uz compinit
compinit -D -u
dump() {{ print -rn -- $BUFFER >line; exit }}
zle -N dump
bindkey '^X' dump
""",
}
COMMANDS = {"bash": ["bash", "--noprofile", "--rcfile", ".zshrc", "-i"], "zsh": ["zsh", "-i"]}


def require_debian_program(name: str, package: str) -> None:
    """Skip a test if a program is missing; fail if the environment requires all programs."""
    if shutil.which(name) is None:
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
            pytest.fail(f"{name} is not installed; BUNDLE_FIX_TOOLCHAINS=all needs {package}")
        pytest.skip(f"{name} is not installed")


def find_programs() -> str:
    """Return PATH, beginning with the directory of the installed command."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def complete_in_terminal(shell: str, typed: str, directory: Path) -> str:
    """Return the command line after a user has typed a text and the tab key into a shell."""
    (directory / ".zshrc").write_text(START_FILES[shell].format(share=SHARE))
    environ = {
        **os.environ, "PATH": find_programs(), "ZDOTDIR": str(directory), "HOME": str(directory),
        "TERM": "dumb", "INPUTRC": "/dev/null",
    }  # fmt: skip
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        COMMANDS[shell], cwd=directory, env=environ, stdin=terminal, stdout=terminal,
        stderr=terminal, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        try:
            _type_after_prompt(controller, typed.encode() + b"\t" + DUMP)
        finally:
            process.kill()
    os.close(controller)
    return (directory / "line").read_text()


def _type_after_prompt(controller: int, keys: bytes) -> None:
    """Wait for the prompt, type the keys, and read what the shell prints until it ends."""
    printed = b""
    is_typed = False
    while True:
        assert select.select([controller], [], [], HANGS)[0], printed
        try:
            part = os.read(controller, 4096)
        except OSError:  # EIO: the last process has closed the terminal
            return
        printed += part
        if not is_typed and PROMPT in printed:
            os.write(controller, keys)
            is_typed = True
        if not part:
            return
