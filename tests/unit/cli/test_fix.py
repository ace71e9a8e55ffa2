from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from builders.elf import elf
from builders.pack import healthy, incident, tarball
from builders.run import bundle_fix

PINNED = """
[bundle]
name = "p"
[[libraries]]
name = "{}"
search = ["lib"]
pin = true
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpacked(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", folder], check=True)
    return folder / "pack"


def ran(program: Path) -> str:
    """What a program of a pack prints, started from an unrelated folder."""
    return subprocess.run([program], cwd="/", capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2", "tar.zst"])
def test_a_broken_tarball_of_every_kind_is_mended_beside_itself(
    tmp_path: Path, suffix: str
) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar")
    if suffix != "tar":
        tool = {"tar.gz": "gzip", "tar.xz": "xz", "tar.bz2": "bzip2", "tar.zst": "zstd"}[suffix]
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
        subprocess.run([tool, "-q", pack], check=True)
        pack = tmp_path / f"pack.{suffix}"
    before = digest(pack)
    done = bundle_fix(pack)
    fixed = tmp_path / f"pack.fixed.{suffix}"
    assert (done.returncode, done.stdout) == (0, f"{fixed}\n")
    assert digest(pack) == before
    assert ran(unpacked(fixed, tmp_path / "u") / "bin/server") == "shipped\nmain\n"
    assert bundle_fix("check", fixed).returncode == 0


def test_what_was_done_is_told(tmp_path: Path) -> None:
    done = bundle_fix("fix", "p", "-v", "-o", "out", cwd=incident(tmp_path / "p").parent)
    assert done.stderr.splitlines()[:2] == [
        "bin/libtcmalloc.so.4: symlink to libtcmalloc.so added",
        "bin/server: RUNPATH . became RUNPATH $ORIGIN [table]",
    ]


def test_a_second_run_changes_not_one_byte(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    bundle_fix("fix", pack, "-o", tmp_path / "once.tar.gz")
    bundle_fix("fix", tmp_path / "once.tar.gz", "-o", tmp_path / "twice.tar.gz")
    assert digest(tmp_path / "once.tar.gz") == digest(tmp_path / "twice.tar.gz")


def test_members_without_a_part_in_it_are_as_they_were(tmp_path: Path) -> None:
    folder = incident(tmp_path / "p")
    (folder / "etc").mkdir()
    (folder / "etc/config.ini").write_text("port = 34801\n")
    os.utime(folder / "etc/config.ini", (1, 1))
    pack = tarball(folder, tmp_path / "pack.tar")
    bundle_fix("fix", pack)
    with tarfile.open(pack) as old, tarfile.open(tmp_path / "pack.fixed.tar") as new:
        before = {m.name: m.get_info() for m in old}
        after = {m.name: m.get_info() for m in new}
        added = set(after) - set(before)
        changed = {n for n in before if {**before[n], "chksum": 0} != {**after[n], "chksum": 0}}
        order = [n for n in after if n in before]
    assert added == {"pack/bin/libtcmalloc.so.4"}
    assert changed == set()
    assert order == list(before)


def test_in_place_replaces_a_tarball_and_keeps_its_mode(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    pack.chmod(0o600)
    done = bundle_fix("fix", "--in-place", pack)
    assert (done.returncode, done.stdout) == (0, f"{pack}\n")
    assert pack.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]
    assert bundle_fix("check", pack).returncode == 0


def test_in_place_mends_a_folder(tmp_path: Path) -> None:
    folder = incident(tmp_path / "p")
    assert bundle_fix("fix", "--in-place", folder).returncode == 0
    assert sorted(p.name for p in (folder / "bin").iterdir()) == [
        "libtcmalloc.so",
        "libtcmalloc.so.4",
        "server",
    ]
    assert ran(folder / "bin/server") == "shipped\nmain\n"
    assert bundle_fix("fix", "--in-place", folder).stderr == f"{folder}: nothing to fix\n"


def test_what_cannot_be_mended_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    folder = incident(tmp_path / "p")
    elf(folder / "bin/other", program=True, needed=["libgone.so.1"])
    pack = tarball(folder, tmp_path / "pack.tar.gz")
    done = bundle_fix("fix", pack)
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs libgone.so.1, which is neither in the pack nor expected" in done.stderr
    assert done.stderr.endswith(
        "no output was written; use --force to write it despite the findings\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]


def test_force_writes_it_all_the_same_and_still_says_1(tmp_path: Path) -> None:
    folder = incident(tmp_path / "p")
    elf(folder / "bin/other", program=True, needed=["libgone.so.1"])
    done = bundle_fix("fix", "--force", folder, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert ran(tmp_path / "out/bin/server") == "shipped\nmain\n"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    done = bundle_fix("fix", "--dry-run", pack)
    assert (done.returncode, done.stdout) == (0, "")
    assert "bin/libtcmalloc.so.4: symlink to libtcmalloc.so added" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]


def test_the_output_may_not_be_the_input(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    done = bundle_fix("fix", pack, "-o", pack)
    assert (done.returncode, "use --in-place to replace it" in done.stderr) == (2, True)


def test_copies_of_one_library_become_links(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    for name in ("libx.so", "libx.so.4", "libx.so.4.6.11"):
        elf(folder / "lib" / name, soname="libx.so.4", tag="x")
    elf(folder / "bin/x", program=True, needed=["libx.so.4"])
    bundle_fix("fix", "--in-place", folder)
    assert (folder / "lib/libx.so.4").readlink() == Path("libx.so.4.6.11")
    assert ran(folder / "bin/x") == "x\nmain\n"


def test_a_pinned_library_beats_ld_library_path(tmp_path: Path) -> None:
    folder = healthy(tmp_path / "p")
    elf(tmp_path / "decoys/libtcmalloc.so.4", soname="libtcmalloc.so.4", tag="decoy")
    decoys = {"LD_LIBRARY_PATH": str(tmp_path / "decoys")}
    server = folder / "bin/server"
    assert subprocess.run([server], env=decoys, capture_output=True, check=True).stdout == (
        b"decoy\nmain\n"
    )
    spec = tmp_path / "bundle.toml"
    spec.write_text(PINNED.format("libtcmalloc.so.4"))
    done = bundle_fix("fix", "--in-place", folder, "--spec", spec)
    assert done.stderr.splitlines() == [
        "bin/server: needs $ORIGIN/../lib/libtcmalloc.so.4",
        "bin/server: no longer needs libtcmalloc.so.4",
    ]
    assert subprocess.run([server], env=decoys, capture_output=True, check=True).stdout == (
        b"shipped\nmain\n"
    )


def test_a_pinned_library_with_symbol_versions_still_satisfies_them(tmp_path: Path) -> None:
    versions = tmp_path / "map"
    versions.write_text("V_1 { global: from_libver; };\n")
    library = elf(
        tmp_path / "p/lib/libver.so.1",
        soname="libver.so.1",
        tag="shipped",
        flags=[f"-Wl,--version-script={versions}"],
    )
    elf(
        tmp_path / "p/bin/x",
        program=True,
        runpath="$ORIGIN/../lib",
        source="int from_libver(void); int main(void) { return from_libver() - 1; }",
        flags=["-Wl,--no-as-needed", str(library)],
    )
    spec = tmp_path / "bundle.toml"
    spec.write_text(PINNED.format("libver.so.1"))
    assert bundle_fix("fix", "--in-place", tmp_path / "p", "--spec", spec).returncode == 0
    assert ran(tmp_path / "p/bin/x") == "shipped\n"


def test_a_file_that_no_editor_can_change_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    done = bundle_fix("fix", "--editor", "lief", pack)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bundle-fix: error: bin/server: every editor failed: lief: " in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]
    forced = bundle_fix("fix", "--editor", "lief", "--force", pack, "-o", tmp_path / "out.tar.gz")
    assert (forced.returncode, forced.stdout) == (1, f"{tmp_path}/out.tar.gz\n")


def test_hard_links_in_two_folders_find_their_needs_from_both(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    elf(folder / "lib/libb.so.1", soname="libb.so.1", tag="b")
    elf(folder / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], tag="a")
    (folder / "lib/deep/er").mkdir(parents=True)
    (folder / "lib/deep/er/liba.so.1").hardlink_to(folder / "lib/liba.so.1")
    elf(folder / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib/deep/er")
    pack = tarball(folder, tmp_path / "pack.tar")
    done = bundle_fix("fix", pack, "-o", tmp_path / "fixed.tar")
    assert done.returncode == 0, done.stderr
    assert ran(unpacked(tmp_path / "fixed.tar", tmp_path / "u") / "bin/x") == "b\na\nmain\n"


def test_the_outputs_name_says_its_format(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    assert bundle_fix("fix", pack, "-o", tmp_path / "out.tar.xz").returncode == 0
    assert (tmp_path / "out.tar.xz").read_bytes().startswith(b"\xfd7zXZ")
    assert bundle_fix("fix", tmp_path / "out.tar.xz", "-o", tmp_path / "again.tar").returncode == 0
    assert tarfile.is_tarfile(tmp_path / "again.tar")
    assert bundle_fix("fix", pack, "-o", tmp_path / "out.zip").returncode == 0
    assert zipfile.is_zipfile(tmp_path / "out.zip")
    refused = bundle_fix("fix", pack, "-o", tmp_path / "out.7z")
    assert (refused.returncode, ".7z cannot be written" in refused.stderr) == (2, True)
    refused = bundle_fix("fix", pack, "-o", tmp_path / "out.whl")
    assert (refused.returncode, "only a wheel" in refused.stderr) == (2, True)


def test_an_output_that_is_a_folder_gets_the_artifact_under_its_own_name(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    (tmp_path / "out").mkdir()
    done = bundle_fix("fix", pack, "-o", tmp_path / "out")
    assert done.stdout == f"{tmp_path}/out/pack.tar.gz\n"
    done = bundle_fix("fix", tmp_path / "p", "-o", tmp_path / "out")
    assert done.stdout == f"{tmp_path}/out/p\n"
    assert ran(tmp_path / "out/p/bin/server") == "shipped\nmain\n"


def test_a_folder_that_is_not_there_does_not_become_a_file_of_its_name(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    refused = bundle_fix("fix", pack, "-o", f"{tmp_path}/out/")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{tmp_path}/out/: no such directory" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_choice_that_nothing_decides_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    for side in ("a", "b"):
        elf(tmp_path / f"p/lib/{side}/libx.so.1", soname="libx.so.1", tag=side)
    elf(tmp_path / "p/bin/x", program=True, needed=["libx.so.1"])
    done = bundle_fix("fix", tmp_path / "p")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "bin/x: libx.so.1: not changed, because the choice is ambiguous:"
        " lib/a/libx.so.1, lib/b/libx.so.1 differ\n"
    ) in done.stderr
    assert not (tmp_path / "p.fixed").exists()


def test_a_part_of_the_c_library_in_the_way_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    elf(tmp_path / "p/lib/libm.so.6", soname="libm.so.6")
    elf(tmp_path / "p/lib/libx.so.1", soname="libx.so.1")
    elf(tmp_path / "p/bin/x", program=True, needed=["libx.so.1", "libm.so.6"])
    done = bundle_fix("fix", tmp_path / "p")
    assert (done.returncode, done.stdout) == (1, "")
    assert "lib/libm.so.6 is loaded instead of the host's libm.so.6" in done.stderr.replace(
        "\n", " "
    )
