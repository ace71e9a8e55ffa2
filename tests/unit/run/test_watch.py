"""The kernel's record of opened files."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.run.record.watch import watch_directories


def test_files_that_are_opened_are_recorded_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    with watch_directories([tmp_path]) as watch:
        for _ in range(2):
            (tmp_path / "a").read_bytes()
            (tmp_path / "b").stat()
        watch.collect_events()
    assert (list(watch.opened), watch.is_complete) == ([tmp_path / "a"], True)


def test_a_directory_that_cannot_be_watched_makes_the_record_incomplete(tmp_path: Path) -> None:
    with watch_directories([tmp_path / "missing"]) as watch:
        assert not watch.is_complete
