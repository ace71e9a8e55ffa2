"""Workers of `check`: signals, crashes, limits and the order of reports."""

from __future__ import annotations

import bz2
import ctypes
import faulthandler
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.pack import make_healthy_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix.cli import parallel
from bundle_fix.cli.parallel import check_many
from bundle_fix.model.progress import no_step_progress
from bundle_fix.report.check_report import CheckReport, make_error_report

ZEROS = bz2.compress(bytes(10 << 20))


def write_slow_tarball(path: Path) -> Path:
    """Write a small tarball whose 3.9 GB of zeros take many seconds to decompress."""
    member = tarfile.TarInfo("zeros")
    member.size = 390 * (10 << 20)
    header = bz2.compress(member.tobuf(tarfile.GNU_FORMAT))
    path.write_bytes(header + ZEROS * 390)
    return path


def write_greedy_tarball(source: Path, path: Path) -> Path:
    """Write the tarball ``source`` as xz whose decompression requires 3 GB of memory."""
    data = bytearray(lzma.compress(source.read_bytes(), lzma.FORMAT_XZ, lzma.CHECK_CRC64, 0))
    header = slice(12, 12 + (data[12] + 1) * 4)
    block = data[header]
    # The .xz file format, 5.3.1: the only property of LZMA2 is the size of its dictionary.
    block[block.index(b"\x21\x01") + 2] = 39
    block[-4:] = zlib.crc32(block[:-4]).to_bytes(4, "little")
    data[header] = block
    path.write_bytes(data)
    return path


def list_children(process: int) -> list[int]:
    """Return the running child processes of ``process``."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


def has_ended(process: int) -> bool:
    """Return whether a process has ended: it does not exist, or is a zombie of another parent."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(done: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait until ``done`` is true, and return whether it was in time."""
    limit = time.monotonic() + seconds
    while not done() and time.monotonic() < limit:
        time.sleep(0.02)
    return done()


@contextmanager
def start_slow_check(directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a check of three slow artifacts; yield its process and its two workers."""
    paths = [str(write_slow_tarball(directory / f"{name}.tar.bz2")) for name in "abc"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bundle_fix", "check", "-j", "2", *paths],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert wait_until(lambda: len(list_children(process.pid)) == 2)
        # Give the workers time to reset the signal handlers that they inherited.
        time.sleep(0.3)
        yield process, list_children(process.pid)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "group", "status"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, True, 129),
    ],
)
def test_a_signal_that_ends_the_command_ends_its_workers(
    tmp_path: Path, number: signal.Signals, group: bool, status: int
) -> None:
    with start_slow_check(tmp_path) as (process, workers):
        start = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - start < 5
        assert all(map(has_ended, workers))
    assert (process.returncode, out, err.strip().count("\n")) == (status, "", 0)
    assert "Traceback" not in err


def test_workers_do_not_outlive_a_command_that_is_killed(tmp_path: Path) -> None:
    with start_slow_check(tmp_path) as (process, workers):
        process.kill()
        process.wait()
        assert wait_until(lambda: all(map(has_ended, workers)), 5)


def test_a_killed_worker_affects_only_its_artifact(tmp_path: Path) -> None:
    good = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "good.tar.gz")
    slow = write_slow_tarball(tmp_path / "b.tar.bz2")
    process = subprocess.Popen(
        [sys.executable, "-m", "bundle_fix", "check", "-j1", slow, good],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert wait_until(lambda: len(list_children(process.pid)) == 1)
    time.sleep(0.3)
    os.kill(list_children(process.pid)[0], signal.SIGSEGV)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.endswith("b.tar.bz2: the check ended by SIGSEGV\n")
    assert "good.tar.gz: passed" in out


def test_an_artifact_that_exceeds_the_timeout_fails(tmp_path: Path) -> None:
    good = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "good.tar.gz")
    ran = run_bundle_fix(
        "check", write_slow_tarball(tmp_path / "b.tar.bz2"), good, "-j1", "--timeout", "3"
    )
    assert ran.returncode == 2
    assert "b.tar.bz2: the check took longer than 3 s (--timeout)" in ran.stderr
    assert "good.tar.gz: passed" in ran.stdout


def test_an_artifact_that_exceeds_the_memory_fails_alone(tmp_path: Path) -> None:
    good = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "good.tar")
    bad = write_greedy_tarball(good, tmp_path / "bad.tar.xz")
    ran = subprocess.run(
        ["sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh", sys.executable, "-m", "bundle_fix",
         "check", good, bad, good],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr == f"bundle-fix: error: {bad}: not enough memory\n"
    assert ran.stdout.count("good.tar: passed") == 2


def test_a_fifo_is_refused_and_an_artifact_listed_twice_is_checked_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    good = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "good.tar.gz")
    ran = run_bundle_fix("check", good, tmp_path / "fifo", good)
    assert ran.returncode == 2
    assert "fifo: it is neither a file nor a directory" in ran.stderr
    assert ran.stdout.count("good.tar.gz: passed") == 2


def test_hundreds_of_names_from_stdin_keep_their_order(tmp_path: Path) -> None:
    names = [f"{tmp_path}/{number}" for number in range(300)]
    ran = subprocess.run(
        [sys.executable, "-m", "bundle_fix", "check", "-", "--format", "jsonl", "-j", "8"],
        input="\n".join(names), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    artifacts = [
        line.partition('"artifact":"')[2].partition('"')[0] for line in ran.stdout.splitlines()
    ]
    assert artifacts == names


def fake_check(path: Path) -> CheckReport:
    """Crash, raise, wait or return a report, as the name of the artifact says."""
    if path.name == "segfault":
        faulthandler.disable()
        ctypes.string_at(0)
    if path.name == "bug":
        raise ValueError("not\nexpected")
    if path.name == "hangup":
        signal.raise_signal(signal.SIGHUP)
    if path.name == "slow":
        time.sleep(1)
    if path.parent.is_dir():
        path.touch()
    return make_error_report(str(path), "x" * 300_000 if path.name == "large" else "")


def check_artifacts(*names: str, jobs: int = 2) -> list[CheckReport]:
    return list(check_many(list(map(Path, names)), fake_check, jobs, None, no_step_progress))


def test_a_crash_of_a_worker_is_in_its_report() -> None:
    found = check_artifacts("missing/segfault", "missing/bug", "missing/large")
    assert found[0].error == "missing/segfault: the check ended by SIGSEGV"
    assert found[1].error == ("missing/bug: the check failed: ValueError: not\nexpected")
    assert len(found[2].error) == 300_000


def test_workers_ignore_the_signals_that_the_command_ignores() -> None:
    assert check_artifacts("missing/hangup")[0].error.endswith("the check ended by SIGHUP")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert check_artifacts("missing/hangup")[0].error == ""
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_report_above_the_size_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "LARGEST_REPORT", 1000)
    large, other = check_artifacts("missing/large", "missing/b")
    assert (
        large.error
        == "missing/large: the report is 293.2K, more than 1000; check this artifact alone"
    )
    assert other.error == ""


def test_names_that_are_not_utf_8_are_not_changed() -> None:
    assert [r.artifact for r in check_artifacts("missing/\udcff")] == ["missing/\udcff"]


def test_no_zombie_is_left() -> None:
    check_artifacts("missing/a", "missing/b")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_number_of_finished_checks_is_reported() -> None:
    counts: list[int] = []
    list(check_many([Path(f"missing/{n}") for n in range(5)], fake_check, 2, None, counts.append))
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] in (3, 4)


def test_reports_after_a_slow_one_do_not_accumulate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "MOST_WAITING", 2000)
    names = ["slow", *map(str, range(60))]
    found = check_many([tmp_path / name for name in names], fake_check, 2, None, no_step_progress)
    first = next(found)
    begun = len(list(tmp_path.iterdir()))
    assert first.artifact.endswith("slow")
    assert begun < 20
    assert [Path(r.artifact).name for r in found] == names[1:]


def test_fewer_workers_run_if_no_more_processes_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = parallel.start_worker

    def start_or_refuse(number: int, *arguments: object) -> object:
        if number % 2 and number not in refused:
            refused.add(number)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(number, *arguments)  # type: ignore[arg-type]

    refused: set[int] = set()
    monkeypatch.setattr(parallel, "start_worker", start_or_refuse)
    assert len(check_artifacts(*(f"missing/{n}" for n in range(6)), jobs=6)) == 6
    assert refused == {1, 3, 5}
