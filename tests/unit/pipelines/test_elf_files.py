"""Edits of single files on disk: the attributes that are kept, and edits that are killed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import Patch
from bundle_fix.pipelines import elf_files
from bundle_fix.pipelines.elf_files import edit_elf_file, read_elf_file
from bundle_fix.storage import inplace_file as patching
from bundle_fix.storage.inplace_file import FileBusyError, get_undo_path, patch_file, undo_patches

OLD = "/opt/build/thirdparty/output/lib"
NEW = Changes(runpath="$ORIGIN")
LONG = Changes(runpath="/opt/" + "x" * 100)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this")


def build_library(directory: Path) -> Path:
    return build_elf(directory / "libx.so.1", soname="libx.so.1", runpath=OLD)


def read_runpath(path: Path) -> str | None:
    return read_elf_file(path).image.runpath


def edit_in_place(path: Path, changes: Changes = NEW) -> str:
    """Edit the file in place, and return the editor's name."""
    return edit_elf_file(path, changes, None).edited.editor


@pytest.fixture(params=["rename", "write"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with both methods: small files are replaced by a rename, large ones patched."""
    if request.param == "write":
        monkeypatch.setattr(elf_files, "RENAMED", 0)
    return str(request.param)


def list_names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def can_lease(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
    return True


def require_leases(path: Path) -> None:
    if not can_lease(path):
        pytest.skip("this file system does not support leases, or the file is in use")


def test_a_rename_makes_a_new_file_and_a_write_keeps_the_old(tmp_path: Path, method: str) -> None:
    path = build_library(tmp_path)
    require_leases(path)
    before = path.stat().st_ino
    assert edit_in_place(path) == "slot"
    assert (path.stat().st_ino == before) == (method == "write")
    assert read_runpath(path) == "$ORIGIN"
    assert list_names(tmp_path) == ["libx.so.1"]


@pytest.mark.parametrize("changes", [NEW, LONG])
def test_both_methods_write_the_same_bytes(tmp_path: Path, changes: Changes, method: str) -> None:
    path, copy = build_library(tmp_path), tmp_path / "copy"
    edit_elf_file(path, changes, copy)
    edit_in_place(path, changes)
    assert path.read_bytes() == copy.read_bytes()


def test_a_second_edit_does_not_even_change_the_mtime(tmp_path: Path, method: str) -> None:
    path = build_library(tmp_path)
    edit_in_place(path)
    before = path.stat()
    assert edit_in_place(path) == ""
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@pytest.mark.parametrize("mode", [0o755, 0o444, 0o4755, 0o2711, 0o600])
def test_the_mode_is_kept(tmp_path: Path, method: str, mode: int) -> None:
    path = build_library(tmp_path)
    path.chmod(mode)
    edit_in_place(path)
    assert (stat.S_IMODE(path.stat().st_mode), read_runpath(path)) == (mode, "$ORIGIN")


@as_root
def test_owner_group_and_set_uid_bit_are_kept(tmp_path: Path, method: str) -> None:
    path = build_library(tmp_path)
    os.chown(path, 12, 34)
    path.chmod(0o4750)
    edit_in_place(path)
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
def test_extended_attributes_are_kept(tmp_path: Path, method: str, name: str, value: bytes) -> None:
    path = build_library(tmp_path)
    set_attribute(path, name, value)
    edit_in_place(path)
    assert (os.getxattr(path, name), read_runpath(path)) == (value, "$ORIGIN")
    edit_elf_file(path, LONG, tmp_path / "copy")
    assert os.getxattr(tmp_path / "copy", name) == value


def test_access_control_lists_are_kept(tmp_path: Path, method: str) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("setfacl is not installed")
    path = build_library(tmp_path)
    done = subprocess.run(["setfacl", "-m", "u:12:r", path], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this file system has no access control lists")
    before = os.getxattr(path, "system.posix_acl_access")
    edit_in_place(path)
    assert os.getxattr(path, "system.posix_acl_access") == before


def test_an_edit_sets_the_mtime_to_now(tmp_path: Path, method: str) -> None:
    path = build_library(tmp_path)
    os.utime(path, (0, 0))
    edit_in_place(path)
    assert path.stat().st_mtime > time.time() - 600


def test_the_target_of_a_symlink_is_edited(tmp_path: Path, method: str) -> None:
    path = build_library(tmp_path / "real")
    link = tmp_path / "libx.so"
    link.symlink_to("real/libx.so.1")
    edit_in_place(link)
    assert (link.readlink(), read_runpath(path)) == (Path("real/libx.so.1"), "$ORIGIN")


def test_hard_links_remain_hard_links(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    require_leases(path)
    os.link(path, tmp_path / "other")
    edit_in_place(tmp_path / "other", LONG)
    assert path.stat().st_nlink == 2
    assert read_runpath(path) == read_runpath(tmp_path / "other") == LONG.runpath


def test_an_edit_that_would_separate_hard_links_is_refused(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    before = path.read_bytes()
    os.link(path, tmp_path / "other")
    with pytest.raises(BundleFixError, match=r"it has 2 hard links and the edit"):
        edit_elf_file(path, LONG, None, "segment")
    assert (path.read_bytes(), path.stat().st_nlink) == (before, 2)
    assert list_names(tmp_path) == ["libx.so.1", "other"]


def test_a_large_file_in_use_is_replaced_and_its_reader_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elf_files, "RENAMED", 0)
    path = build_library(tmp_path)
    before = path.read_bytes()
    with path.open("rb") as user:
        edit_in_place(path)
        assert user.read() == before
    assert read_runpath(path) == "$ORIGIN"


def test_a_running_program_is_replaced(tmp_path: Path, method: str) -> None:
    source = "#include <unistd.h>\nint main(void) { for (;;) pause(); }"
    path = build_elf(tmp_path / "x", program=True, runpath=OLD, source=source)
    with subprocess.Popen([path]) as running:
        edit_in_place(path)
        assert running.poll() is None
        running.kill()
    assert read_runpath(path) == "$ORIGIN"


@as_root
def test_a_file_is_not_edited_if_its_owner_cannot_be_kept(tmp_path: Path) -> None:
    path = build_library(tmp_path)
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
    # pytest's temporary directories are accessible only to root.
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
        assert list_names(reachable) == [path.name]
    finally:
        shutil.rmtree(reachable)


def test_holes_remain_holes(tmp_path: Path) -> None:
    path = build_library(tmp_path)
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


def test_a_file_that_is_not_elf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("#!/bin/sh\n")
    with pytest.raises(EditRefusedError, match="not an ELF file"):
        edit_in_place(tmp_path / "x")


# --- an edit that is killed --------------------------------------------------------------------


def test_the_next_undo_restores_the_old_bytes_after_a_kill_at_any_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = bytes(range(256)) * 64
    patches = (Patch(10, b"a" * 20), Patch(5000, b"b" * 4096), Patch(16000, b"c"))
    code = """
import os, signal, sys
from pathlib import Path
from bundle_fix.storage import copy as copying
from bundle_fix.storage import inplace_file as patching
from bundle_fix.model.patches import Patch
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
        assert list_names(tmp_path) == ["file"]


PYTHON = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def write_killed_edit(path: Path) -> None:
    """Write a file with the record of an edit that was killed before its first write."""
    path.write_bytes(b"x" * 100)
    change = patching._Change(3, b"xxx", b"abc")
    get_undo_path(path).write_bytes(patching._encode_undo_record(path.stat(), [change]))


def test_the_record_of_a_completed_edit_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_killed_edit(path)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"abc", 3)
    assert not undo_patches(path)
    assert (path.read_bytes()[:8], list_names(tmp_path)) == (b"xxxabcxx", ["file"])


def test_the_record_of_a_file_that_was_written_to_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_killed_edit(path)
    path.write_bytes(b"y" * 100)
    assert not undo_patches(path)
    assert (path.read_bytes(), list_names(tmp_path)) == (b"y" * 100, ["file"])


def test_the_record_of_a_file_that_was_replaced_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_killed_edit(path)
    (tmp_path / "new").write_bytes(b"z" * 100)
    (tmp_path / "new").replace(path)
    assert not undo_patches(path)
    assert (path.read_bytes(), list_names(tmp_path)) == (b"z" * 100, ["file"])


def test_the_next_edit_undoes_a_killed_edit_and_reports_it(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    require_leases(path)
    data = path.read_bytes()
    offset = data.index(OLD.encode())
    changes = [
        patching._Change(offset, data[offset : offset + 4], b"/tmp"),
        patching._Change(offset + 4, data[offset + 4 : offset + 8], b"/lib"),
    ]
    get_undo_path(path).write_bytes(patching._encode_undo_record(path.stat(), changes))
    path.write_bytes(data[:offset] + b"/tmp" + data[offset + 4 :])
    done = edit_elf_file(path, LONG, None)
    assert done.before.runpath == OLD
    assert done.remarks == ("an earlier edit of it, which was killed, has been taken back",)
    assert (read_runpath(path), list_names(tmp_path)) == (LONG.runpath, ["libx.so.1"])


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


def test_a_signature_and_a_checksum_of_an_edited_file_are_reported(tmp_path: Path) -> None:
    library = build_elf(tmp_path / "libsoft.so.3", soname="libsoft.so.3", runpath="/a")
    (tmp_path / "libsoft.chk").touch()
    (tmp_path / "libother.so.3.asc").touch()
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  libsoft.so.3\n")
    edited = edit_elf_file(library, Changes(runpath="/b"), None)
    assert edited.remarks == (
        "libsoft.chk is about its old content: sign it again",
        "SHA256SUMS contains its old checksum",
    )
    (tmp_path / "libsoft.chk").unlink()
    assert edit_elf_file(library, Changes(runpath="/c"), None).remarks == ()
