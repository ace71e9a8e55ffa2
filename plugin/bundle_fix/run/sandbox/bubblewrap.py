"""The command line of bubblewrap, which makes a sandbox where user namespaces are restricted."""

from __future__ import annotations

from bundle_fix.run.sandbox.command import INSIDE_USER, MEMORY_DIRECTORIES, Command, Sandbox

PROBE = ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "true")
"""A command that succeeds if bubblewrap works here."""


def build_bubblewrap_command(sandbox: Sandbox, command: Command) -> list[str]:
    """Return the command line of bwrap(1) for a command."""
    arguments = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
    arguments += ["--share-net"] if sandbox.network else []
    arguments += ["--uid", str(INSIDE_USER), "--gid", str(INSIDE_USER)]
    arguments += ["--ro-bind", str(sandbox.root), "/", "--dev", "/dev", "--proc", "/proc"]
    for name in MEMORY_DIRECTORIES:
        arguments += ["--tmpfs", f"/{name}"]
    for mount in sandbox.mounts:
        kind = "--bind" if mount.writable else "--ro-bind"
        arguments += [kind, str(mount.source), mount.target]
    for name, value in command.environment.items():
        arguments += ["--setenv", name, value]
    return [*arguments, "--chdir", command.directory, "--", *command.arguments]
