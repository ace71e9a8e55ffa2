"""The record of strace."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.run.record.strace import parse_strace_record, read_strace_record

RECORD = """\
7     openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3
7     openat(AT_FDCWD, "/etc/missing", O_RDONLY) = -1 ENOENT (No such file or directory)
8     open("/usr/share/x", O_RDONLY <unfinished ...>
7     execve("/bin/sh", ["sh", "-c", "a = 1"], 0x7ffc /* 3 vars */) = 0
8     <... open resumed>)               = 4
9     openat(3, "relative", O_RDONLY) = 5
10    <... open resumed>) = 4
"""


def test_calls_that_succeed_are_found_also_if_they_are_split() -> None:
    found = list(parse_strace_record(RECORD.splitlines()))
    assert found == ["/etc/hosts", "/bin/sh", "/usr/share/x", "relative"]


def test_files_of_the_kernel_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "strace").write_text(RECORD.replace("/etc/hosts", "/proc/self/maps"))
    assert read_strace_record(tmp_path) == ["/bin/sh", "/usr/share/x"]
    assert read_strace_record(tmp_path / "missing") == []
