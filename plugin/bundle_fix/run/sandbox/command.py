"""A sandbox, a command to run in it, and how it ended.

Nothing that the program writes is kept: the root is read-only, and /tmp, /run and /var/tmp are in
memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from msgspec import Struct

INSIDE_USER = 1000
"""The user and the group of the program: many servers refuse to run as root."""
MEMORY_DIRECTORIES = ("tmp", "run", "var/tmp")
"""Directories in memory that the program can write to."""
MOUNT_POINTS = (*MEMORY_DIRECTORIES, "dev", "proc")
"""Directories that every root of a sandbox contains."""


class Isolation(Enum):
    """The means by which a program is separated from this machine."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    CHROOT = "chroot"


class Mount(Struct, frozen=True):
    """Files of this machine at an absolute path of the sandbox."""

    source: Path
    target: str
    writable: bool = False


class Sandbox(Struct, frozen=True):
    """The world of a program.

    Attributes:
        isolation: how it is separated from this machine.
        root: the directory that becomes its root; it contains all mount points.
        mounts: what is mounted there.
        network: whether it uses this machine's network.
    """

    isolation: Isolation
    root: Path
    mounts: tuple[Mount, ...] = ()
    network: bool = False


class Command(Struct, frozen=True):
    """A program with its surroundings.

    Attributes:
        arguments: the absolute path in the sandbox comes first.
        environment: all its variables.
        directory: its working directory.
        seconds: the time after which it gets SIGTERM.
        output: the descriptor for its stdout and stderr.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    seconds: float
    output: int


class ProgramEnd(Struct, frozen=True):
    """How a program ended.

    Attributes:
        status: the exit code, or minus the number of the signal.
        stopped: whether its time was over.
        error: why it could not be started, otherwise empty.
    """

    status: int = 0
    stopped: bool = False
    error: str = ""
