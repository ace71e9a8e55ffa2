"""Packs are reproducible: the real command runs twice under different conditions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from builders.run import run_bundle_fix

from .conftest import SPEC, write_source_tree

FORMATS = ("tar.gz", "tar.zst", "tar.xz", "tar")


def read_pack_bytes(tree: Path, *wrapper: str, **environ: str) -> bytes:
    """Make a pack, return its bytes and remove it; ``wrapper`` is a command that runs it."""
    done = subprocess.run(
        [*wrapper, sys.executable, "-m", "bundle_fix", "pack", "-q", "bundle.toml", "-o", tree],
        cwd=tree, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    artifact = Path(done.stdout.strip())
    data = artifact.read_bytes()
    artifact.unlink()
    return data


def write_spec_format(tree: Path, kind: str) -> Path:
    (tree / "bundle.toml").write_text(SPEC.replace('"tar.gz"', f'"{kind}"'))
    return tree


@pytest.mark.parametrize("kind", FORMATS)
def test_times_directory_umask_locale_and_cores_do_not_change_a_pack(
    tmp_path: Path, kind: str
) -> None:
    one = write_spec_format(write_source_tree(tmp_path / "one"), kind)
    # Large enough that every compressor splits it into several blocks.
    (one / "conf/big.txt").write_bytes(b"".join(b"line %d\n" % n for n in range(200_000)))
    (one / "conf/größe.txt").write_bytes(b"7\n")
    other = tmp_path / "another directory/é"
    shutil.copytree(one, other, symlinks=True, copy_function=shutil.copyfile)
    for name in ("server", "third/libx.so.1.2"):
        (other / name).chmod(0o700)
    for path in other.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    core = str(min(os.sched_getaffinity(0)))
    wrapper = ["taskset", "-c", core] if shutil.which("taskset") else []
    first = read_pack_bytes(one, TZ="UTC")
    second = read_pack_bytes(
        other, "sh", "-c", 'umask 077; exec "$@"', "sh", *wrapper,
        TZ="Asia/Tokyo", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONHASHSEED="7",
    )  # fmt: skip
    assert first == second


def test_another_user_makes_the_same_pack(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    mine = read_pack_bytes(write_source_tree(tmp_path / "tree"))
    shared = Path("/tmp") / f"bundle-fix-test-{os.getpid()}"  # noqa: S108 (readable by others)
    shutil.copytree(tmp_path / "tree", shared, symlinks=True)
    try:
        subprocess.run(["chown", "-hR", "nobody", shared], check=True)
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        imported = subprocess.run(
            [*user, sys.executable, "-c", "import bundle_fix"], capture_output=True, check=False
        )
        if imported.returncode:
            pytest.skip("the other user may not read this Python installation")
        assert read_pack_bytes(shared, *user, HOME="/nonexistent") == mine
    finally:
        shutil.rmtree(shared)


@pytest.mark.parametrize("cores", ["1", "2", "7"])
def test_the_number_of_processors_does_not_change_a_pack(tmp_path: Path, cores: str) -> None:
    tree = write_source_tree(tmp_path / "tree")
    (tree / "conf/big.txt").write_bytes(b"".join(b"line %d\n" % n for n in range(200_000)))
    code = (
        f"import os; os.cpu_count = lambda: {cores};"
        "from bundle_fix.cli.main import run; run()"
    )  # fmt: skip
    for name in ("one", "two"):
        command = ["-c", code] if name == "two" else ["-m", "bundle_fix"]
        subprocess.run(
            [sys.executable, *command, "pack", "-q", "bundle.toml", "-o", f"{name}.tar.gz"],
            cwd=tree, check=True, capture_output=True,
        )  # fmt: skip
    assert (tree / "one.tar.gz").read_bytes() == (tree / "two.tar.gz").read_bytes()


def list_mtimes(artifact: Path) -> set[float]:
    with tarfile.open(artifact) as archive:
        return {member.mtime for member in archive}


def test_all_members_have_the_same_time_and_belong_to_root(tmp_path: Path) -> None:
    tree = write_source_tree(tmp_path)
    artifact = tree / "pack-1.0.tar.gz"
    for environ, expected in (({}, 315_532_800), ({"SOURCE_DATE_EPOCH": "1700000000"}, 1.7e9)):
        assert run_bundle_fix("pack", "bundle.toml", cwd=tree, **environ).returncode == 0
        assert list_mtimes(artifact) == {expected}
    with tarfile.open(artifact) as archive:
        assert {(m.uid, m.gid, m.uname, m.gname) for m in archive} == {(0, 0, "", "")}
        names = archive.getnames()
    assert names == sorted(names)
    # The gzip header has neither a name nor a time (RFC 1952).
    assert artifact.read_bytes()[3:8] == bytes(5)


def test_the_spec_can_set_the_modification_time(tmp_path: Path) -> None:
    tree = write_source_tree(tmp_path)
    text = SPEC.replace('"tar.gz"', '"tar.gz"\nepoch = "{when}"')
    (tree / "bundle.toml").write_text(text + '[variables]\nwhen = { value = "1600000000" }\n')
    assert run_bundle_fix("pack", "bundle.toml", cwd=tree).returncode == 0
    assert list_mtimes(tree / "pack-1.0.tar.gz") == {1.6e9}
    done = run_bundle_fix("pack", "bundle.toml", "-D", "when=today", cwd=tree)
    assert done.returncode == 2
    assert done.stderr == (
        'bundle-fix: error: bundle.toml:5:9: invalid time "today" (use a number of seconds since'
        " 1970, at most 253402300799)\n"
    )
