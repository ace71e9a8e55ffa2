"""Single files edited on the disk: what of a file survives, and what a kill may leave."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.elf import elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.model.content import Patch
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines import elf_files
from bundle_fix.pipelines.elf_files import edit_elf_file, read_elf_file
from bundle_fix.storage import inplace_file as patching
from bundle_fix.storage.inplace_file import FileBusyError, get_undo_path, patch_file, undo_patches

OLD = "/opt/build/thirdparty/output/lib"
NEW = Changes(runpath="$ORIGIN")
LONG = Changes(runpath="/opt/" + "x" * 100)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this")


def library(folder: Path) -> Path:
    return elf(folder / "libx.so.1", soname="libx.so.1", runpath=OLD)


def runpath(path: Path) -> str | None:
    return read_elf_file(path).image.runpath


def in_place(path: Path, changes: Changes = NEW) -> str:
    """Edit the file itself, and give the editor's name."""
    return edit_elf_file(path, changes, None).edited.editor


@pytest.fixture(params=["a rename", "a write"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to change a file in place: small files take the one, large ones the other."""
    if request.param == "a write":
        monkeypatch.setattr(elf_files, "RENAMED", 0)
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def leased(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
    return True


def require_leases(path: Path) -> None:
    if not leased(path):
        pytest.skip("this file system gives no leases, or the file is in use")


def test_a_rename_makes_a_new_file_and_a_write_keeps_the_old(tmp_path: Path, way: str) -> None:
    path = library(tmp_path)
    require_leases(path)
    before = path.stat().st_ino
    assert in_place(path) == "slot"
    assert (path.stat().st_ino == before) == (way == "a write")
    assert runpath(path) == "$ORIGIN"
    assert names(tmp_path) == ["libx.so.1"]


@pytest.mark.parametrize("changes", [NEW, LONG])
def test_both_ways_write_the_same_bytes(tmp_path: Path, changes: Changes, way: str) -> None:
    path, copy = library(tmp_path), tmp_path / "copy"
    edit_elf_file(path, changes, copy)
    in_place(path, changes)
    assert path.read_bytes() == copy.read_bytes()


def test_a_second_edit_changes_nothing_not_even_the_time(tmp_path: Path, way: str) -> None:
    path = library(tmp_path)
    in_place(path)
    before = path.stat()
    assert in_place(path) == ""
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@pytest.mark.parametrize("mode", [0o755, 0o444, 0o4755, 0o2711, 0o600])
def test_the_mode_survives(tmp_path: Path, way: str, mode: int) -> None:
    path = library(tmp_path)
    path.chmod(mode)
    in_place(path)
    assert (stat.S_IMODE(path.stat().st_mode), runpath(path)) == (mode, "$ORIGIN")


@as_root
def test_owner_and_group_survive_with_the_set_uid_bit(tmp_path: Path, way: str) -> None:
    path = library(tmp_path)
    os.chown(path, 12, 34)
    path.chmod(0o4750)
    in_place(path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o4750)


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP):
            pytest.skip(f"{name} cannot be set here: {error.strerror}")
        raise


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service=ep, as setcap stores it (vfs_cap_data, revision 2)."""


@pytest.mark.parametrize(
    ("name", "value"), [("user.origin", b"ours"), ("security.capability", CAPABILITY)]
)
def test_extended_attributes_survive(tmp_path: Path, way: str, name: str, value: bytes) -> None:
    path = library(tmp_path)
    set_attribute(path, name, value)
    in_place(path)
    assert (os.getxattr(path, name), runpath(path)) == (value, "$ORIGIN")
    edit_elf_file(path, LONG, tmp_path / "copy")
    assert os.getxattr(tmp_path / "copy", name) == value


def test_an_access_control_list_survives(tmp_path: Path, way: str) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("setfacl is not installed")
    path = library(tmp_path)
    done = subprocess.run(["setfacl", "-m", "u:12:r", path], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this file system has no access control lists")
    before = os.getxattr(path, "system.posix_acl_access")
    in_place(path)
    assert os.getxattr(path, "system.posix_acl_access") == before


def test_an_edit_is_a_change_and_has_the_time_of_now(tmp_path: Path, way: str) -> None:
    path = library(tmp_path)
    os.utime(path, (0, 0))
    in_place(path)
    assert path.stat().st_mtime > time.time() - 600


def test_a_link_stays_a_link_and_what_it_leads_to_is_edited(tmp_path: Path, way: str) -> None:
    path = library(tmp_path / "real")
    link = tmp_path / "libx.so"
    link.symlink_to("real/libx.so.1")
    in_place(link)
    assert (link.readlink(), runpath(path)) == (Path("real/libx.so.1"), "$ORIGIN")


def test_hard_links_stay_one_file(tmp_path: Path) -> None:
    path = library(tmp_path)
    require_leases(path)
    os.link(path, tmp_path / "other")
    in_place(tmp_path / "other", LONG)
    assert path.stat().st_nlink == 2
    assert runpath(path) == runpath(tmp_path / "other") == LONG.runpath


def test_hard_links_are_not_parted_by_an_edit_that_moves_the_content(tmp_path: Path) -> None:
    if shutil.which("patchelf") is None:
        pytest.skip("patchelf is not installed")
    path = library(tmp_path)
    before = path.read_bytes()
    os.link(path, tmp_path / "other")
    with pytest.raises(BundleFixError, match=r"it has 2 hard links and the edit"):
        edit_elf_file(path, LONG, None, "patchelf")
    assert (path.read_bytes(), path.stat().st_nlink) == (before, 2)
    assert names(tmp_path) == ["libx.so.1", "other"]


def test_a_large_file_in_use_is_replaced_and_its_user_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elf_files, "RENAMED", 0)
    path = library(tmp_path)
    before = path.read_bytes()
    with path.open("rb") as user:
        in_place(path)
        assert user.read() == before
    assert runpath(path) == "$ORIGIN"


def test_a_running_program_is_replaced(tmp_path: Path, way: str) -> None:
    source = "#include <unistd.h>\nint main(void) { for (;;) pause(); }"
    path = elf(tmp_path / "x", program=True, runpath=OLD, source=source)
    with subprocess.Popen([path]) as running:
        in_place(path)
        assert running.poll() is None
        running.kill()
    assert runpath(path) == "$ORIGIN"


@as_root
def test_a_file_whose_owner_cannot_be_kept_is_left_as_it_is(tmp_path: Path) -> None:
    path = library(tmp_path)
    path.chmod(0o644)
    tmp_path.chmod(0o777)
    before = path.read_bytes()
    code = (
        "import os, sys; sys.path[:0] = eval(sys.argv[2]); from pathlib import Path;"
        "from bundle_fix.elf.changes import Changes;"
        "from bundle_fix.pipelines.elf_files import edit_elf_file;"
        "import ctypes, lief; os.chdir('/'); os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "edit_elf_file(Path(sys.argv[1]), Changes(runpath='/n'), None)"
    )
    # Whoever is not root must be able to reach the file.
    reachable = Path("/tmp", f"bundle-fix-test-{os.getpid()}")  # noqa: S108
    shutil.copytree(tmp_path, reachable)
    try:
        reachable.chmod(0o777)
        file = reachable / path.name
        done = subprocess.run(
            [sys.executable, "-c", code, file, repr(sys.path)], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert "a changed copy of it would lose its owner" in done.stderr
        assert file.read_bytes() == before
        assert names(reachable) == [path.name]
    finally:
        shutil.rmtree(reachable)


def test_holes_stay_holes(tmp_path: Path) -> None:
    path = library(tmp_path)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + (64 << 20))
        file.seek(0, os.SEEK_END)
        file.write(b"payload")
    if path.stat().st_blocks * 512 > 32 << 20:
        pytest.skip("this file system has no holes")
    edit_elf_file(path, NEW, tmp_path / "copy")
    copy = tmp_path / "copy"
    assert copy.stat().st_size == path.stat().st_size
    assert copy.stat().st_blocks * 512 < 32 << 20
    with copy.open("rb") as file:
        file.seek(-7, os.SEEK_END)
        assert file.read() == b"payload"


def test_what_is_no_elf_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("#!/bin/sh\n")
    with pytest.raises(EditRefusedError, match="not an ELF file"):
        in_place(tmp_path / "x")


# --- an edit that is killed --------------------------------------------------------------------


def test_a_kill_at_any_write_leaves_the_old_bytes_after_the_next_undo(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = bytes(range(256)) * 64
    patches = (Patch(10, b"a" * 20), Patch(5000, b"b" * 4096), Patch(16000, b"c"))
    code = """
import os, signal, sys
from pathlib import Path
from bundle_fix.storage import copy as copying
from bundle_fix.storage import inplace_file as patching
from bundle_fix.model.content import Patch
left = int(sys.argv[2])
def write(fd, data, offset):
    global left
    os.pwrite(fd, data[: len(data) // 2], offset)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    copying.write_at(fd, data, offset)
patching.write_at = write
path = Path(sys.argv[1])
patching.patch_file(path, eval(sys.argv[3]), path.stat())
"""
    for survived in range(3):
        path.write_bytes(before)
        require_leases(path)
        texts = (path, str(survived), repr(patches))
        done = subprocess.run(
            [sys.executable, "-c", code, *texts], check=False, env={**os.environ, **PYTHON}
        )
        assert done.returncode == -signal.SIGKILL
        assert path.read_bytes() != before
        assert undo_patches(path)
        assert path.read_bytes() == before
        assert names(tmp_path) == ["file"]


PYTHON = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def recorded(path: Path) -> None:
    """A file with the record of an edit that was killed before its first write."""
    path.write_bytes(b"x" * 100)
    change = patching._Change(3, b"xxx", b"abc")
    get_undo_path(path).write_bytes(patching._packed(path.stat(), [change]))


def test_a_record_of_an_edit_that_was_completed_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    recorded(path)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"abc", 3)
    assert not undo_patches(path)
    assert (path.read_bytes()[:8], names(tmp_path)) == (b"xxxabcxx", ["file"])


def test_a_record_of_a_file_that_was_written_to_since_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    recorded(path)
    path.write_bytes(b"y" * 100)
    assert not undo_patches(path)
    assert (path.read_bytes(), names(tmp_path)) == (b"y" * 100, ["file"])


def test_a_record_of_a_file_that_was_replaced_since_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    recorded(path)
    (tmp_path / "new").write_bytes(b"z" * 100)
    (tmp_path / "new").replace(path)
    assert not undo_patches(path)
    assert (path.read_bytes(), names(tmp_path)) == (b"z" * 100, ["file"])


def test_the_next_edit_takes_back_one_that_was_killed_and_says_so(tmp_path: Path) -> None:
    path = library(tmp_path)
    require_leases(path)
    data = path.read_bytes()
    at = data.index(OLD.encode())
    done_and_not = [
        patching._Change(at, data[at : at + 4], b"/tmp"),
        patching._Change(at + 4, data[at + 4 : at + 8], b"/lib"),
    ]
    get_undo_path(path).write_bytes(patching._packed(path.stat(), done_and_not))
    path.write_bytes(data[:at] + b"/tmp" + data[at + 4 :])
    done = edit_elf_file(path, LONG, None)
    assert done.before.runpath == OLD
    assert done.remarks == ("an earlier edit of it, which was killed, has been taken back",)
    assert (runpath(path), names(tmp_path)) == (LONG.runpath, ["libx.so.1"])


def test_a_file_in_use_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with path.open("rb"), pytest.raises(FileBusyError):
        patch_file(path, (Patch(3, b"abc"),), path.stat())
    assert path.read_bytes() == b"x" * 100


def test_a_file_that_changed_since_it_was_read_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    require_leases(path)
    before = path.stat()
    os.utime(path, (0, 0))
    with pytest.raises(BundleFixError, match="changed while it was read"):
        patch_file(path, (Patch(3, b"abc"),), before)
