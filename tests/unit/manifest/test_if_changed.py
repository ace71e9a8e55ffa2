from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix

from .conftest import Pack


def pack_again(tree: Path, *options: str, **environ: str) -> str:
    """Run `pack --if-changed` and return ``unchanged`` or ``made``."""
    before = (tree / "pack-1.0.tar.gz").stat().st_mtime_ns
    done = run_bundle_fix("pack", "bundle.toml", "--if-changed", *options, cwd=tree, **environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tree}/pack-1.0.tar.gz\n"
    same = (tree / "pack-1.0.tar.gz").stat().st_mtime_ns == before
    is_reported = done.stderr == f"{tree}/pack-1.0.tar.gz: unchanged\n"
    assert same == is_reported, done.stderr
    return "unchanged" if same else "made"


def test_an_unchanged_pack_is_kept_even_if_the_times_of_files_change(
    tree: Path, pack: Pack
) -> None:
    pack()
    os.utime(tree / "server", (1, 1))
    os.utime(tree / "conf/a.ini")
    assert pack_again(tree) == "unchanged"


def replace_text(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file's content": lambda tree: (tree / "conf/a.ini").write_text("a = 2\n"),
    "a file's mode": lambda tree: (tree / "conf/a.ini").chmod(0o755),
    "another file that a glob matches": lambda tree: (tree / "conf/c.ini").write_text("c"),
    "a missing file of a glob": lambda tree: (tree / "conf/b.ini").unlink(),
    "a library": lambda tree: build_elf(tree / "third/libx.so.1.2", soname="libx.so.1", tag="new"),
    "a program": lambda tree: build_elf(
        tree / "server", program=True, needed=["libx.so.1"], runpath="third"
    ),
    "the spec": lambda tree: replace_text(tree / "bundle.toml", "hello", "hullo"),
    "a comment in the spec": lambda tree: replace_text(
        tree / "bundle.toml", "[closure]", "[closure] #"
    ),
    "the pack, which is empty": lambda tree: (tree / "pack-1.0.tar.gz").write_bytes(b""),
    "the pack, which is truncated": lambda tree: os.truncate(tree / "pack-1.0.tar.gz", 2000),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_pack_is_made_again_after_a_change_of(tree: Path, pack: Pack, change: str) -> None:
    pack()
    CHANGES[change](tree)
    assert pack_again(tree) == "made"
    assert pack_again(tree) == "unchanged"


def test_another_epoch_or_option_makes_another_pack(tree: Path, pack: Pack) -> None:
    pack()
    assert pack_again(tree, SOURCE_DATE_EPOCH="1700000000") == "made"
    assert pack_again(tree, SOURCE_DATE_EPOCH="1700000000") == "unchanged"
    assert pack_again(tree, "--licenses", SOURCE_DATE_EPOCH="1700000000") == "unchanged"
    assert (
        pack_again(tree, "--host-provides", "libjvm.so", SOURCE_DATE_EPOCH="1700000000") == "made"
    )


def test_a_pack_that_was_changed_and_packed_by_hand_is_made_again(tree: Path, pack: Pack) -> None:
    artifact = pack()
    with tarfile.open(artifact) as archive:
        archive.extractall(tree / "x", filter="tar")
    (tree / "x/pack-1.0/etc/a.ini").write_text("a = 3\n")
    with tarfile.open(artifact, "w:gz") as archive:
        archive.add(tree / "x/pack-1.0", "pack-1.0")
    assert pack_again(tree) == "made"


def test_a_pack_that_fix_changed_is_made_again(tree: Path, pack: Pack) -> None:
    artifact = pack()
    done = run_bundle_fix("fix", "--in-place", "--move-libraries", "lib64", artifact)
    assert done.returncode == 0, done.stderr
    with tarfile.open(artifact) as archive:
        archive.extractall(tree / "x", filter="tar")
    (tree / "x/pack-1.0/bin/server").chmod(0o644)
    with tarfile.open(artifact, "w:gz") as archive:
        archive.add(tree / "x/pack-1.0", "pack-1.0")
    assert run_bundle_fix("fix", "--in-place", artifact).returncode == 0
    assert pack_again(tree) == "made"


@pytest.mark.parametrize("kind", ["tar.gz", "dir"])
def test_a_changed_or_missing_debug_pack_is_made_again(tree: Path, kind: str) -> None:
    text = (tree / "bundle.toml").read_text().replace('"tar.gz"', f'"{kind}"')
    (tree / "bundle.toml").write_text(text + '[debug]\nstrip = "split"\n')
    suffix = "" if kind == "dir" else ".tar.gz"
    debug = tree / f"pack-1.0.debug{suffix}"

    def pack_and_report() -> str:
        done = run_bundle_fix("pack", "bundle.toml", "--if-changed", cwd=tree)
        assert (done.returncode, done.stdout) == (0, f"{tree}/pack-1.0{suffix}\n"), done.stderr
        return "unchanged" if done.stderr.endswith(": unchanged\n") else "made"

    assert [pack_and_report(), pack_and_report()] == ["made", "unchanged"]
    whole = sorted(path for path in debug.rglob("*") if path.is_file()) or [debug]
    shutil.rmtree(debug) if kind == "dir" else debug.unlink()
    assert [pack_and_report(), pack_and_report()] == ["made", "unchanged"]
    whole[0].write_bytes(whole[0].read_bytes()[:-9] + b"tampered!")
    assert [pack_and_report(), pack_and_report()] == ["made", "unchanged"]


def test_another_objcopy_makes_another_pack(tree: Path, pack: Pack) -> None:
    real = shutil.which("objcopy")
    assert real is not None
    other = tree.parent / "other/objcopy"
    other.parent.mkdir()
    other.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo GNU objcopy 9.99 && exit\nexec {real} "$@"\n'
    )
    other.chmod(0o755)
    path = f"{other.parent}:{os.environ['PATH']}"
    pack()
    assert pack_again(tree, PATH=path) == "unchanged"
    replace_text(tree / "bundle.toml", "[closure]", '[debug]\nstrip = "debug"\n[closure]')
    assert [pack_again(tree), pack_again(tree)] == ["made", "unchanged"]
    assert [pack_again(tree, PATH=path), pack_again(tree, PATH=path)] == ["made", "unchanged"]


def test_the_name_of_the_pack_is_written_to_a_file(tree: Path, pack: Pack) -> None:
    pack("--name-file", "PACKAGE")
    assert (tree / "PACKAGE").read_text() == "pack-1.0\n"
    (tree / "PACKAGE").unlink()
    assert pack_again(tree, "--name-file", "PACKAGE") == "unchanged"
    assert (tree / "PACKAGE").read_text() == "pack-1.0\n"


def test_no_name_is_written_if_no_pack_was_made(tree: Path) -> None:
    (tree / "server").unlink()
    done = run_bundle_fix("pack", "bundle.toml", "--name-file", "PACKAGE", cwd=tree)
    assert (done.returncode, (tree / "PACKAGE").exists()) == (2, False)


def test_a_directory_pack_is_replaced_completely(tree: Path) -> None:
    text = (tree / "bundle.toml").read_text().replace('"tar.gz"', '"dir"')
    (tree / "bundle.toml").write_text(text)
    (tree / "out").mkdir()
    command = ("pack", "bundle.toml", "--if-changed", "-o", "out")
    assert run_bundle_fix(*command, cwd=tree).returncode == 0
    assert run_bundle_fix(*command, cwd=tree).stderr.endswith("out/pack-1.0: unchanged\n")
    (tree / "conf/b.ini").unlink()
    (tree / "conf/new").mkdir()
    (tree / "conf/new/c.ini").write_text("c")
    done = run_bundle_fix(*command, cwd=tree)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tree / "out").rglob("*.ini"))
    assert names == ["a.ini", "c.ini"]
    assert [path.name for path in (tree / "out").iterdir()] == ["pack-1.0"]


def test_a_directory_that_is_not_such_a_pack_is_kept(tree: Path) -> None:
    text = (tree / "bundle.toml").read_text().replace('"tar.gz"', '"dir"')
    (tree / "bundle.toml").write_text(text)
    (tree / "out").mkdir()
    (tree / "out/mine.txt").write_text("x")
    done = run_bundle_fix("pack", "bundle.toml", "--if-changed", "-o", "out/", cwd=tree)
    assert done.returncode == 0
    assert (tree / "out/pack-1.0/bin/server").exists()
    (tree / "other").mkdir()
    (tree / "other/pack-1.0").mkdir()
    (tree / "other/pack-1.0/mine.txt").write_text("x")
    done = run_bundle_fix("pack", "bundle.toml", "--if-changed", "-o", "other", cwd=tree)
    assert done.returncode == 2
    assert "the directory already exists and is not empty" in done.stderr
    assert (tree / "other/pack-1.0/mine.txt").exists()


def test_directories_of_a_killed_run_are_removed_by_the_next_run(tree: Path) -> None:
    text = (tree / "bundle.toml").read_text().replace('"tar.gz"', '"dir"')
    (tree / "bundle.toml").write_text(text)
    (tree / "out").mkdir()
    command = ("pack", "bundle.toml", "--if-changed", "-o", "out")
    assert run_bundle_fix(*command, cwd=tree).returncode == 0
    (tree / "out/pack-1.0").rename(tree / "out/.pack-1.0.0123456789ab.old")
    (tree / "out/.pack-2.0.0123456789ab.old").mkdir()
    done = run_bundle_fix(*command, cwd=tree)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tree / "out").iterdir())
    assert names == [".pack-2.0.0123456789ab.old", "pack-1.0"]
    (tree / "conf/b.ini").unlink()
    assert run_bundle_fix(*command, cwd=tree).returncode == 0
    assert sorted(path.name for path in (tree / "out").iterdir()) == names
