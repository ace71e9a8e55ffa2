"""Progress of commands: a bar on a terminal, a line per step in a log, nothing for short work."""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.packages import build_deb, build_rpm, make_layer, write_docker_archive
from bundle_fix.cli import progress as cli_progress
from bundle_fix.cli.main import main
from bundle_fix.cli.progress import BarDisplay, LogDisplay
from bundle_fix.model.progress import ProgressStep

READING = ProgressStep("reading pack.tar.gz", 312_000_000)
CHECKING = ProgressStep("checking", 500_000_000, "252 ELF files", 90)
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SPEC = """
[bundle]
name = "pack"
format = "tar.gz"
[[files]]
from = "bin/server"
to = "bin/"
[[libraries]]
from = "lib/*.so.*"
"""


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def open_terminal(columns: int = 100) -> Iterator[tuple[io.TextIOBase, Callable[[], str]]]:
    """Open a pseudo-terminal; yield a stream to write to and a function that reads the output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    os.set_blocking(ours, False)
    written = bytearray()
    lock, is_closing = threading.Lock(), threading.Event()

    def read() -> str:
        with lock:
            while True:
                try:
                    written.extend(os.read(ours, 1 << 16))
                except (BlockingIOError, OSError):
                    return written.decode(errors="replace")

    def drain() -> None:
        # A terminal holds 4 KiB that nothing has read; then a write waits.
        while not is_closing.is_set():
            select.select([ours], [], [], 0.05)
            read()

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as stream:
            yield stream, read
    finally:
        is_closing.set()
        thread.join()
        os.close(ours)


@pytest.fixture(autouse=True)
def _set_terminal_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("CI", "NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def draw_bar(columns: int, steps: list[ProgressStep], color: str = "auto") -> str:
    """Return the output of a bar that is drawn until half of each step is done, and then hidden."""
    clock = Clock()
    with open_terminal(columns) as (stream, read):
        bar = BarDisplay(stream, color, clock)  # type: ignore[arg-type]
        for step in steps:
            for tenth in range(1, 6):
                clock.now += 1
                bar(step, step.total * tenth // 10)
                read()
        bar.hide()
        return read()


def test_work_of_less_than_a_second_shows_nothing() -> None:
    clock = Clock()
    with open_terminal() as (stream, read):
        bar = BarDisplay(stream, "auto", clock)  # type: ignore[arg-type]
        for hundredth in range(100):
            clock.now = hundredth / 100
            bar(READING, hundredth)
        bar.hide()
        assert read() == ""


def test_a_bar_has_bytes_rate_and_the_time_left() -> None:
    text = CODES.sub("", draw_bar(100, [READING]))
    assert "reading pack.tar.gz" in text
    assert "156.0/312.0 MB" in text
    assert "31.2 MB/s" in text
    assert "00:05" in text


def test_the_bar_of_a_step_with_parts_counts_the_parts() -> None:
    text = CODES.sub("", draw_bar(100, [READING, CHECKING]))
    assert "checking: 252 ELF files" in text
    assert "45/90" in text


def test_the_bar_is_erased_and_the_cursor_restored_at_the_end() -> None:
    text = draw_bar(100, [READING, CHECKING])
    assert text.rindex("\x1b[2K") > text.rindex("45/90")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 2


@pytest.mark.parametrize("columns", [20, 40, 56, 60, 79, 80, 81, 200])
def test_a_bar_is_never_wider_than_the_terminal(columns: int) -> None:
    steps = [READING, CHECKING, ProgressStep("writing " + "long-name" * 30, 7_000_000_000)]
    for line in re.split(r"[\r\n]", CODES.sub("", draw_bar(columns, steps))):
        assert len(line) <= columns


def test_a_bar_on_a_narrow_terminal_has_a_percentage() -> None:
    text = CODES.sub("", draw_bar(40, [READING]))
    assert "reading pack.tar.gz" in text
    assert "50%" in text


def test_a_bar_hidden_for_a_report_keeps_its_rate() -> None:
    clock = Clock()
    with open_terminal() as (stream, read):
        bar = BarDisplay(stream, "auto", clock)  # type: ignore[arg-type]
        for second in (1, 2, 3, 3.5, 3.9):
            clock.now = second
            bar(READING, int(second * 31_200_000))
            bar.hide()
            stream.write("a report\n")
        clock.now = 5
        bar(READING, 5 * 31_200_000)
        bar.hide()
        text = read()
    last = CODES.sub("", text.rpartition("a report")[2])
    assert "156.0/312.0 MB 31.2 MB/s 00:05" in last
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 4


def test_a_bar_is_drawn_at_most_ten_times_a_second() -> None:
    clock = Clock()
    with open_terminal() as (stream, read):
        bar = BarDisplay(stream, "auto", clock)  # type: ignore[arg-type]
        for thousandth in range(3000):
            clock.now = thousandth / 1000
            bar(READING, thousandth)
        assert read().count("reading pack.tar.gz") <= 22


@pytest.mark.parametrize("method", ["NO_COLOR", "never"])
def test_a_bar_has_no_colors_if_they_are_disabled(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    assert re.search("\x1b\\[[0-9;]*3[0-9]", draw_bar(100, [READING]))
    if method == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    plain = draw_bar(100, [READING], "never" if method == "never" else "auto")
    assert not any(re.search("3[0-9]", code) for code in COLOURS.findall(plain))


def test_control_characters_in_names_are_escaped() -> None:
    hostile = ProgressStep("reading \x1b[31m[red]evil\n.tar.gz", 312_000_000)
    assert r"reading \x1b[31m[red]evil\n.tar.gz" in draw_bar(120, [hostile])


def test_a_closed_terminal_does_not_stop_the_work() -> None:
    clock = Clock()
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        bar = BarDisplay(stream, "auto", clock)
        os.close(ours)
        for second in range(5):
            clock.now = second
            bar(READING, second)
        bar.hide()


def test_a_log_has_one_line_for_each_large_step() -> None:
    log = io.StringIO()
    lines = LogDisplay(log)
    for step in (READING, ProgressStep("editing", 1000, "3 files", 3), CHECKING):
        for done in range(3):
            lines(step, done)
    assert log.getvalue() == ("reading pack.tar.gz: 312 MB\nchecking: 252 ELF files\n")


def list_commands(directory: Path) -> list[list[str]]:
    """Return one command line of each kind that shows progress."""
    bad = make_tarball(make_incident_pack(directory / "bad"), directory / "bad.tar.gz")
    good = make_tarball(make_healthy_pack(directory / "good"), directory / "good.tar.xz")
    (directory / "bundle.toml").write_text(SPEC)
    build_elf(directory / "lib/libx.so.1", soname="libx.so.1")
    build_elf(directory / "bin/server", program=True, needed=["libx.so.1"])
    return [
        ["check", str(bad)],
        ["check", str(bad), str(good)],
        ["fix", str(bad), "-o", str(directory / "fixed.tar.gz")],
        ["fix", str(bad), "-o", str(directory / "fixed.zip")],
        ["fix", str(directory / "bad"), "-o", str(directory / "fixed")],
        ["pack", str(directory / "bundle.toml"), "-o", str(directory)],
        ["fix", str(directory / "bad"), "--in-place"],
    ]


def test_every_command_draws_a_bar_and_erases_it_before_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_progress, "PATIENCE", 0.0)
    monkeypatch.setattr(cli_progress, "PERIOD", 0.0)
    for arguments in list_commands(tmp_path):
        with open_terminal() as (stream, read):
            monkeypatch.setattr(sys, "stderr", stream)
            monkeypatch.setattr(sys, "stdout", stream)
            monkeypatch.setattr(
                "bundle_fix.cli.report_file.flush_output",
                lambda data: stream.write(data.decode()) * 0,
            )
            assert main(arguments) in (0, 1)
            stream.flush()
            text = read()
        monkeypatch.undo()
        monkeypatch.setattr(cli_progress, "PATIENCE", 0.0)
        monkeypatch.setattr(cli_progress, "PERIOD", 0.0)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("CI", raising=False)
        assert "checking" in text, arguments
        assert "\x1b[2K" in text, arguments
        after = text[text.rindex("\x1b[?25h") :]
        assert "━" not in after, arguments
        assert after.count("\n") >= 1, arguments


def test_every_command_writes_plain_lines_to_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_progress, "LARGE", 1)
    logs: list[str] = []
    for arguments in list_commands(tmp_path):
        assert main(arguments) in (0, 1)
        logs.append(capfd.readouterr().err)
        assert "\r" not in logs[-1]
        assert "\x1b" not in logs[-1]
    assert logs[0].startswith("reading bad.tar.gz: 0 MB\nchecking: 2 ELF files\n")
    assert logs[1] == "checking: 2 artifacts\n"
    assert [line.partition(":")[0] for line in logs[2].splitlines()][:5] == [
        "reading bad.tar.gz", "checking", "editing", "writing fixed.tar.gz", "checking",
    ]  # fmt: skip
    assert "writing fixed.zip" in logs[3]
    assert "writing fixed" in logs[4]
    assert "writing bad: 0 MB" in logs[6]
    assert [line.partition(":")[0] for line in logs[5].splitlines()][:4] == [
        "hashing", "editing", "writing pack.tar.gz", "checking",
    ]  # fmt: skip


def test_short_work_writes_nothing_to_a_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(list_commands(tmp_path)[1])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["deb", "rpm", "image.tar", "zip"])
def test_reading_packages_and_images_shows_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.setattr(cli_progress, "LARGE", 1)
    path = tmp_path / f"p.{kind}"
    path.write_bytes(build_archive(tmp_path, kind))
    main(["tree", str(path)])
    first = capfd.readouterr().err.splitlines()[0]
    member = {"deb": ": data.tar.gz", "rpm": ": payload", "image.tar": ": layer.tar"}.get(kind, "")
    assert first == f"reading p.{kind}{member}: 0 MB"


def build_archive(directory: Path, kind: str) -> bytes:
    source = make_healthy_pack(directory / "source")
    if kind == "deb":
        return build_deb(source, directory / "made", "gzip").read_bytes()
    if kind == "rpm":
        return build_rpm(source, directory / "made", "w1.gzdio").read_bytes()
    if kind == "zip":
        subprocess.run(["zip", "-qr", directory / "made.zip", "source"], cwd=directory, check=True)
        return (directory / "made.zip").read_bytes()
    return write_docker_archive(
        directory / "made", [gzip.compress(make_layer([("a", b"a")]))]
    ).read_bytes()


@pytest.mark.parametrize("command", ["tree", "why", "diff", "init"])
def test_commands_that_only_read_show_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(cli_progress, "LARGE", 1)
    pack = str(make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "p.tar.gz"))
    more = {"why": ["libc.so.6"], "diff": [pack], "init": ["-o", str(tmp_path / "x.toml")]}
    assert main([command, pack, *more.get(command, [])]) in (0, 1)
    assert capfd.readouterr().err.startswith("reading p.tar.gz: 0 MB\n")
    main([command, pack, *more.get(command, []), "-q"])
    assert "reading" not in capfd.readouterr().err


@pytest.mark.parametrize(("value", "bar"), [("true", False), ("1", False), ("false", True)])
def test_a_terminal_of_a_ci_system_shows_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, bar: bool
) -> None:
    monkeypatch.setattr(cli_progress, "PATIENCE", 0.0)
    monkeypatch.setattr(cli_progress, "LARGE", 1)
    monkeypatch.setenv("CI", value)
    pack = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "p.tar.gz")
    with open_terminal() as (stream, read):
        monkeypatch.setattr(sys, "stderr", stream)
        main(["check", str(pack)])
        stream.flush()
        text = read()
    assert "reading p.tar.gz" in text
    assert ("\x1b" in text) == bar


@pytest.mark.parametrize("dumb", [True, False])
def test_quiet_commands_and_dumb_terminals_show_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dumb: bool
) -> None:
    monkeypatch.setattr(cli_progress, "PATIENCE", 0.0)
    monkeypatch.setattr(cli_progress, "LARGE", 1)
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    pack = make_tarball(make_healthy_pack(tmp_path / "p"), tmp_path / "p.tar.gz")
    with open_terminal() as (stream, read):
        monkeypatch.setattr(sys, "stderr", stream)
        main(["check", str(pack), *([] if dumb else ["-q"])])
        stream.flush()
        text = read()
    assert "\x1b" not in text
    assert ("reading p.tar.gz" in text) == dumb
