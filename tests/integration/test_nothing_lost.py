"""Kills and disk errors at system calls: the input is not changed, the output is complete.

After SIGKILL only hidden files may remain, and the next run removes or completes them; after any
other signal or error nothing remains. One run takes every third or fifth call;
BUNDLE_FIX_KILLS=1000 takes every call, and makes more kills at random times.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders.elf import build_elf
from builders.pack import make_incident_pack, make_tarball
from builders.wheel import build_wheel

KILLS = int(os.environ.get("BUNDLE_FIX_KILLS", "40"))
KILL_STEP, EVENT_STEP = (3, 5) if KILLS < 1000 else (1, 1)
"""The distance of the calls at which a run is killed, or gets a signal or an error."""
UPDATE = ".bundle-fix-update"
SPEC = """
[bundle]
name = "p"
[[files]]
from = "build/server"
to = "bin/"
[[libraries]]
name = "libx.so.1"
search = ["build"]
"""


@dataclass(frozen=True)
class Job:
    """A command line to run in a directory, and the names there that it may change."""

    arguments: list[str]
    prepare: Callable[[Path], object]
    changes: str


def prepare_pack(directory: Path) -> None:
    build_elf(directory / "build/libx.so.1.2", soname="libx.so.1")
    build_elf(directory / "build/server", program=True, needed=["libx.so.1"], runpath="/build")
    (directory / "bundle.toml").write_text(SPEC)


def prepare_elf(directory: Path) -> None:
    path = build_elf(directory / "libx.so", soname="libx.so.1", runpath="/opt/somewhere/else")
    (directory / "again.so").hardlink_to(path)


OLD, NEW = "old.tar.gz", "new.tar.gz"
FIX, HERE = ["fix", "-q"], "--in-place"
JOBS = {
    "pack": Job(["pack", "-q", "bundle.toml", "-o", NEW], prepare_pack, NEW),
    "fix": Job(
        [*FIX, OLD, "-o", NEW], lambda f: make_tarball(make_incident_pack(f / "x"), f / OLD), NEW
    ),
    "fix to a directory": Job([*FIX, "x", "-o", "y"], lambda f: make_incident_pack(f / "x"), "y"),
    "fix a tarball in place": Job(
        [*FIX, HERE, OLD], lambda f: make_tarball(make_incident_pack(f / "x"), f / OLD), OLD
    ),
    "fix a directory in place": Job([*FIX, HERE, "x"], lambda f: make_incident_pack(f / "x"), "x"),
    "fix a wheel in place": Job(
        [*FIX, HERE, "p-1-py3-none-linux_x86_64.whl"],
        lambda f: build_wheel(make_incident_pack(f / "x"), f / "p-1-py3-none-linux_x86_64.whl"),
        "p-1-py3-none-linux_x86_64.whl",
    ),
    "elf in place": Job(
        ["elf", "-q", HERE, "--set-runpath", "$ORIGIN", "libx.so"], prepare_elf, "libx.so again.so"
    ),
}
every_job = pytest.mark.parametrize("name", JOBS)


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that makes one run with an event, and returns the answer."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("interrupted.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None

        def run(job: Job, directory: Path, **order: Any) -> dict[str, Any]:
            order = {"call": 0, **order, "arguments": job.arguments, "cwd": str(directory)}
            orders.write(json.dumps(order) + "\n")
            orders.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield run
        orders.close()


Run = Callable[..., dict[str, Any]]


class Workplace:
    """A job's directory, written again for every run, and its files before and after success."""

    def __init__(self, job: Job, root: Path, run: Run) -> None:
        self.job, self.directory, self.run = job, root / "w", run
        self.original = root / "original"
        self.original.mkdir()
        job.prepare(self.original)
        self.reset()
        self.before = read_files(self.directory)
        run(job, self.directory, here=True)
        self.reset()
        good = run(job, self.directory)
        assert (good["status"], good["stderr"]) == (0, "")
        self.after, self.calls = read_files(self.directory), good["calls"]
        assert self.after != self.before
        other = {path: seen for path, seen in self.after.items() if not self.may_change(path)}
        assert other == {path: s for path, s in self.before.items() if not self.may_change(path)}

    def may_change(self, path: str) -> bool:
        return path.split("/", maxsplit=1)[0] in self.job.changes.split()

    def reset(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        subprocess.run(["cp", "-a", self.original, self.directory], check=True)

    def find_state(self) -> str:
        """Return ``before``, ``after``, or ``under way`` if the next run completes the change."""
        now = {
            path: seen for path, seen in read_files(self.directory).items() if not is_hidden(path)
        }
        if now in (self.before, self.after):
            return "before" if now == self.before else "after"
        assert list(self.directory.glob(f"*/{UPDATE}/journal"))
        for path in now.keys() | self.before.keys():
            assert now.get(path) in (self.before.get(path), self.after.get(path))
        return "under way"

    def list_hidden(self) -> list[str]:
        return [path for path in read_files(self.directory) if is_hidden(path)]

    def assert_next_run_works(self) -> None:
        if self.find_state() == "after" and self.job.arguments[-1] == "y":
            # The artifact would be written into an existing directory.
            shutil.rmtree(self.directory / "y")
        again = self.run(self.job, self.directory)
        assert (again["status"], self.find_state()) == (0, "after"), again
        assert self.list_hidden() == []


def read_files(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Return the mode and bytes of every file and symlink below ``directory``."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = ("link", os.fsencode(path.readlink()))
        elif not path.is_dir():
            found[str(path.relative_to(directory))] = (oct(path.stat().st_mode), path.read_bytes())
        elif not any(path.iterdir()):
            found[str(path.relative_to(directory))] = ("an empty directory", b"")
    return found


def is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def print_states(capsys: pytest.CaptureFixture[str], title: str, states: Counter[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{title}: {states.total()}; afterwards: {dict(states)}\n")


@every_job
def test_a_kill_before_a_call_leaves_the_old_or_the_new_files(
    tmp_path: Path, server: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = Workplace(JOBS[name], tmp_path, server)
    states: Counter[str] = Counter()
    for number in range(1, workplace.calls + 1, KILL_STEP):
        workplace.reset()
        killed = server(
            workplace.job, workplace.directory, call=number, signal=signal.SIGKILL, before=True
        )
        assert killed["status"] == -signal.SIGKILL
        states[workplace.find_state()] += 1
        workplace.assert_next_run_works()
    assert states["before"]
    print_states(capsys, f"{name}: killed before calls", states)


@every_job
def test_a_kill_at_a_random_time_leaves_the_old_or_the_new_files(
    tmp_path: Path, server: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = Workplace(JOBS[name], tmp_path, server)
    chance = random.Random(name)  # noqa: S311 (not for cryptography)
    states: Counter[str] = Counter()
    span = 0.05
    for _ in range(max(KILLS // len(JOBS), 4)):
        workplace.reset()
        ran = server(
            workplace.job, workplace.directory, after=chance.uniform(0, span), signal=signal.SIGKILL
        )
        assert ran["status"] in (0, -signal.SIGKILL)
        state = "finished" if ran["status"] == 0 else workplace.find_state()
        # Adapt to the speed of the machine, so that most kills occur during the run.
        span *= 0.7 if state == "finished" else 1.1
        states[state] += 1
        workplace.assert_next_run_works()
    print_states(capsys, f"{name}: killed at random", states)


@every_job
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_no_temporary_files(
    tmp_path: Path, server: Run, name: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = Workplace(JOBS[name], tmp_path, server)
    states: Counter[str] = Counter()
    for call in range(1 + number % EVENT_STEP, workplace.calls + 1, EVENT_STEP):
        workplace.reset()
        ran = server(workplace.job, workplace.directory, call=call, signal=number)
        assert workplace.list_hidden() == []
        if ran["status"] == 0:
            # The signal arrived after the work was done.
            assert (workplace.find_state(), ran["stderr"]) == ("after", "")
            states["finished"] += 1
            continue
        assert ran["status"] == 128 + number
        # click first ends the line in which the terminal shows ^C.
        assert ran["stderr"].strip().startswith("bundle-fix: ")
        assert ran["stderr"].strip().count("\n") == 0
        states[workplace.find_state()] += 1
    workplace.assert_next_run_works()
    print_states(capsys, f"{name}: {signal.Signals(number).name}", states)


@every_job
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_disk_error_is_reported_in_one_line(
    tmp_path: Path, server: Run, name: str, error: int, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = Workplace(JOBS[name], tmp_path, server)
    states: Counter[str] = Counter()
    for call in range(1 + error % EVENT_STEP, workplace.calls + 1, EVENT_STEP):
        workplace.reset()
        ran = server(workplace.job, workplace.directory, call=call, error=error)
        if workplace.list_hidden():
            # The removal failed as well; the next run removes it.
            assert len({path.split("/")[0] for path in workplace.list_hidden()}) == 1
            states["hidden files remain"] += 1
            workplace.assert_next_run_works()
            continue
        if ran["status"] == 0:
            # Setting the owner may fail, as for a user other than root.
            assert workplace.find_state() == "after"
            states["not needed"] += 1
            continue
        assert (ran["status"], ran["stderr"].count("\n")) == (2, 1), ran
        assert "Traceback" not in ran["stderr"]
        states[workplace.find_state()] += 1
    workplace.assert_next_run_works()
    print_states(capsys, f"{name}: {os.strerror(error)}", states)
