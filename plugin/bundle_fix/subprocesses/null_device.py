"""A place for output that nobody reads."""

from __future__ import annotations

import os


def open_null_device(fd: int) -> None:
    """Let the descriptor ``fd``, open or closed, discard what is written to it.

    In a root file system without /dev it becomes a pipe without a reader, so that writing fails
    (EPIPE), but ``fd`` is not free for the next file.
    """
    try:
        opened = os.open(os.devnull, os.O_RDWR)
    except FileNotFoundError:
        reading, opened = os.pipe()
        os.close(reading)
    if opened != fd:
        os.dup2(opened, fd)
        os.close(opened)
