"""The kernel's record of opened files: inotify(7) on the directories of a pack and of decoys.

It also sees processes whose loader writes no record: static and privileged programs, musl, and
children with another environment.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

IN_OPEN, IN_NONBLOCK, IN_CLOEXEC, IN_ISDIR = 0x20, os.O_NONBLOCK, os.O_CLOEXEC, 0x40000000
IN_Q_OVERFLOW = 0x4000
EVENT = struct.Struct("iIII")
"""struct inotify_event without its name."""
BUFFER = 1 << 20


class Watch:
    """Watched directories, and the files in them that were opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._directories: dict[int, Path] = {}
        self.opened: dict[Path, None] = {}
        self.is_complete = True

    def add_directory(self, directory: Path) -> None:
        """Watch the files of ``directory``, but not its subdirectories."""
        libc = ctypes.CDLL(None, use_errno=True)
        number = libc.inotify_add_watch(self._descriptor, os.fsencode(directory), IN_OPEN)
        if number < 0:
            # The limit of watches is reached (fs.inotify.max_user_watches).
            self.is_complete = False
        else:
            self._directories[number] = directory

    def collect_events(self) -> None:
        """Read the events that are pending; to be called often, as the kernel's queue is short."""
        while True:
            try:
                data = os.read(self._descriptor, BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                number, mask, _, length = EVENT.unpack_from(data, at)
                name = data[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0")
                at += EVENT.size + length
                if mask & IN_Q_OVERFLOW:
                    self.is_complete = False
                elif name and not mask & IN_ISDIR:
                    self.opened[self._directories[number] / os.fsdecode(name)] = None


@contextmanager
def watch_directories(directories: Iterable[Path]) -> Iterator[Watch]:
    """Yield a watch of all ``directories``."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"inotify: {os.strerror(number)}")
    try:
        watch = Watch(descriptor)
        for directory in directories:
            watch.add_directory(directory)
        yield watch
    finally:
        os.close(descriptor)
