"""The lack of threads, processes, descriptors, memory or disk space is named as what it is."""

from __future__ import annotations

import errno
import io
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_tarball
from bundle_fix.archive.compression import codecs
from bundle_fix.cli.main import main
from bundle_fix.loader.hosts.files import DirectoryFiles

DAMAGED = ("damaged", "truncated", "copy or download")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "p.tar.gz")


@pytest.fixture(autouse=True)
def captured_stdout() -> Iterator[None]:
    with redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        yield


def fail(error: BaseException) -> Any:
    """Return a function that raises ``error``."""

    def raise_error(*_arguments: object, **_options: object) -> NoReturn:
        raise error

    return raise_error


def get_error_line(text: str) -> str:
    """Return the only line of an error, which must not blame the artifact."""
    assert text.startswith("bundle-fix: error: "), text
    assert text.count("\n") == 1
    assert not any(word in text for word in DAMAGED)
    return text.strip()


def test_a_gzip_archive_is_read_without_a_second_thread(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", fail(RuntimeError("can't start new thread")))
    assert main(["check", str(archive)]) == 0


def test_the_limit_of_threads_is_named(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading.Thread, "start", fail(RuntimeError("can't start new thread")))
    (archive.parent / "p/bin/x").write_text("one more file")
    output = archive.parent / "o.tar.gz"
    assert main(["fix", "--force", str(archive.parent / "p"), "-o", str(output)]) == 2
    line = get_error_line(capsys.readouterr().err)
    assert "cannot start a thread: the limit of " in line
    assert "processes and threads is reached (raise it with 'ulimit -u')" in line
    assert not output.exists()


def test_the_limit_of_processes_is_named(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    monkeypatch.setattr(os, "fork", fail(reached))
    assert main(["check", str(archive), str(archive.parent / "p")]) == 2
    line = get_error_line(capsys.readouterr().err)
    assert "cannot start a process: the limit of " in line
    assert "(raise it with 'ulimit -u')" in line


def test_the_limit_of_open_files_is_named(archive: Path) -> None:
    """Python itself needs no more than five descriptors to start."""
    command = shlex.join([sys.executable, "-m", "bundle_fix", "fix", "--force", str(archive)])
    line = f"ulimit -n 6; exec {command} -o {archive.parent}/o.tar.gz"
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert "the limit of 6 open files is reached (raise it with 'ulimit -n')" in get_error_line(
        ran.stderr
    )


def test_a_directory_of_the_host_that_cannot_be_opened_is_not_empty(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = [os.dup(2)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used[0] + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            DirectoryFiles(tmp_path).list_names("/")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(used[0])
    assert DirectoryFiles(tmp_path).list_names("/gone") == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), "cannot read it: Input/output error"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("Allocation error : not enough memory"), "not enough memory"),
    ],
)
def test_an_error_while_reading_is_not_a_damaged_archive(
    archive: Path, error: Exception, text: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class FailingStream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    real = codecs.COMPRESSIONS[0]
    failing = codecs.Compression(
        real.suffix, real.signature, lambda _: FailingStream(), real.writer
    )
    monkeypatch.setattr(codecs, "COMPRESSIONS", (failing,))
    assert main(["check", str(archive)]) == 2
    assert text in get_error_line(capsys.readouterr().err)


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_a_full_disk_for_temporary_files_is_named(
    archive: Path, small_disk: Path, suffix: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    pack = archive.parent / "p"
    build_elf(pack / "lib/libbig.so", soname="libbig.so")
    with (pack / "lib/libbig.so").open("ab") as file:
        file.write(os.urandom(2 << 20))
    large = archive.parent / f"large.{suffix}"
    tools = {"tar.gz": ["tar", "-czf"], "zip": ["zip", "-qr"]}
    subprocess.run([*tools[suffix], str(large), "p"], cwd=archive.parent, check=True)
    assert main(["check", str(large)]) == 2
    line = get_error_line(capsys.readouterr().err)
    assert "No space left on device (set TMPDIR to another directory)" in line
