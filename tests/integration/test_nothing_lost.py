"""Kills, full disks and failing ones at every moment: the input is as it was, the output is whole.

What stays after SIGKILL is hidden, and the next run removes it or completes it; after anything else
nothing stays. BUNDLE_FIX_KILLS=1000 makes more of the kills that come at random.
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

from builders.elf import elf
from builders.pack import make_incident_pack, make_tarball
from builders.wheel import build_wheel

KILLS = int(os.environ.get("BUNDLE_FIX_KILLS", "40"))
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
    """A command line in a folder, and the names there that it may change."""

    arguments: list[str]
    prepare: Callable[[Path], object]
    changes: str


def prepare_pack(directory: Path) -> None:
    elf(directory / "build/libx.so.1.2", soname="libx.so.1")
    elf(directory / "build/server", program=True, needed=["libx.so.1"], runpath="/build")
    (directory / "bundle.toml").write_text(SPEC)


def prepare_elf(directory: Path) -> None:
    path = elf(directory / "libx.so", soname="libx.so.1", runpath="/opt/somewhere/else")
    (directory / "again.so").hardlink_to(path)


OLD, NEW = "old.tar.gz", "new.tar.gz"
FIX, HERE = ["fix", "-q"], "--in-place"
JOBS = {
    "pack": Job(["pack", "-q", "bundle.toml", "-o", NEW], prepare_pack, NEW),
    "fix": Job(
        [*FIX, OLD, "-o", NEW], lambda f: make_tarball(make_incident_pack(f / "x"), f / OLD), NEW
    ),
    "fix to a folder": Job([*FIX, "x", "-o", "y"], lambda f: make_incident_pack(f / "x"), "y"),
    "fix a tarball in place": Job(
        [*FIX, HERE, OLD], lambda f: make_tarball(make_incident_pack(f / "x"), f / OLD), OLD
    ),
    "fix a folder in place": Job([*FIX, HERE, "x"], lambda f: make_incident_pack(f / "x"), "x"),
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
    """What makes one run, told to go wrong, and answers what became of it."""
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


class Place:
    """A job's folder, made anew for every run, and what it holds before and after a good one."""

    def __init__(self, job: Job, root: Path, run: Run) -> None:
        self.job, self.directory, self.run = job, root / "w", run
        self.original = root / "original"
        self.original.mkdir()
        job.prepare(self.original)
        self.fresh()
        self.before = held(self.directory)
        run(job, self.directory, here=True)
        self.fresh()
        good = run(job, self.directory)
        assert (good["status"], good["stderr"]) == (0, "")
        self.after, self.calls = held(self.directory), good["calls"]
        assert self.after != self.before
        kept = {path: seen for path, seen in self.after.items() if not self.may_change(path)}
        assert kept == {path: s for path, s in self.before.items() if not self.may_change(path)}

    def may_change(self, path: str) -> bool:
        return path.split("/", maxsplit=1)[0] in self.job.changes.split()

    def fresh(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        subprocess.run(["cp", "-a", self.original, self.directory], check=True)

    def state(self) -> str:
        """``before`` or ``after``; a change that the next run completes is ``under way``."""
        now = {path: seen for path, seen in held(self.directory).items() if not is_hidden(path)}
        if now in (self.before, self.after):
            return "before" if now == self.before else "after"
        assert list(self.directory.glob(f"*/{UPDATE}/journal"))
        for path in now.keys() | self.before.keys():
            assert now.get(path) in (self.before.get(path), self.after.get(path))
        return "under way"

    def hidden(self) -> list[str]:
        return [path for path in held(self.directory) if is_hidden(path)]

    def next_run_works(self) -> None:
        if self.state() == "after" and self.job.arguments[-1] == "y":
            # A folder that is there would get the artifact into it.
            shutil.rmtree(self.directory / "y")
        again = self.run(self.job, self.directory)
        assert (again["status"], self.state()) == (0, "after"), again
        assert self.hidden() == []


def held(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Every file and link below ``directory``: its mode and bytes."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = ("link", os.fsencode(path.readlink()))
        elif not path.is_dir():
            found[str(path.relative_to(directory))] = (oct(path.stat().st_mode), path.read_bytes())
        elif not any(path.iterdir()):
            found[str(path.relative_to(directory))] = ("an empty folder", b"")
    return found


def is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def tell(capsys: pytest.CaptureFixture[str], what: str, ends: Counter[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {ends.total()}; afterwards: {dict(ends)}\n")


@every_job
def test_a_kill_before_any_call_leaves_the_old_or_the_new(
    tmp_path: Path, server: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(JOBS[name], tmp_path, server)
    ends: Counter[str] = Counter()
    for number in range(1, place.calls + 1):
        place.fresh()
        killed = server(place.job, place.directory, call=number, signal=signal.SIGKILL, before=True)
        assert killed["status"] == -signal.SIGKILL
        ends[place.state()] += 1
        place.next_run_works()
    assert ends["before"]
    tell(capsys, f"{name}: killed before every call", ends)


@every_job
def test_a_kill_at_random_leaves_the_old_or_the_new(
    tmp_path: Path, server: Run, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(JOBS[name], tmp_path, server)
    chance = random.Random(name)  # noqa: S311 (moments to kill at are no secret)
    ends: Counter[str] = Counter()
    span = 0.05
    for _ in range(max(KILLS // len(JOBS), 4)):
        place.fresh()
        ran = server(
            place.job, place.directory, after=chance.uniform(0, span), signal=signal.SIGKILL
        )
        assert ran["status"] in (0, -signal.SIGKILL)
        state = "finished" if ran["status"] == 0 else place.state()
        # Whatever the machine's speed, most of the kills come in the middle.
        span *= 0.7 if state == "finished" else 1.1
        ends[state] += 1
        place.next_run_works()
    tell(capsys, f"{name}: killed at random", ends)


@every_job
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_is_told_to_end_tidies_up(
    tmp_path: Path, server: Run, name: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(JOBS[name], tmp_path, server)
    ends: Counter[str] = Counter()
    step = 3 if KILLS < 1000 else 1
    for call in range(1 + number % step, place.calls + 1, step):
        place.fresh()
        ran = server(place.job, place.directory, call=call, signal=number)
        assert place.hidden() == []
        if ran["status"] == 0:
            # It came when all was done.
            assert (place.state(), ran["stderr"]) == ("after", "")
            ends["finished"] += 1
            continue
        assert ran["status"] == 128 + number
        # click ends the terminal's line with ^C first.
        assert ran["stderr"].strip().startswith("bundle-fix: ")
        assert ran["stderr"].strip().count("\n") == 0
        ends[place.state()] += 1
    place.next_run_works()
    tell(capsys, f"{name}: {signal.Signals(number).name}", ends)


@every_job
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_is_told_in_one_line(
    tmp_path: Path, server: Run, name: str, error: int, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(JOBS[name], tmp_path, server)
    ends: Counter[str] = Counter()
    step = 3 if KILLS < 1000 else 1
    for call in range(1 + error % step, place.calls + 1, step):
        place.fresh()
        ran = server(place.job, place.directory, call=call, error=error)
        if place.hidden():
            # The disk would not remove it; the next run does.
            assert len({path.split("/")[0] for path in place.hidden()}) == 1
            ends["something hidden"] += 1
            place.next_run_works()
            continue
        if ran["status"] == 0:
            # What may fail without harm: the owner, which only root sets.
            assert place.state() == "after"
            ends["not needed"] += 1
            continue
        assert (ran["status"], ran["stderr"].count("\n")) == (2, 1), ran
        assert "Traceback" not in ran["stderr"]
        ends[place.state()] += 1
    place.next_run_works()
    tell(capsys, f"{name}: {os.strerror(error)}", ends)
