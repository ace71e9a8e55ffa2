"""Packs: files that are signed or listed with a checksum, and archives that lose symlinks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

from builders.elf import build_elf
from builders.run import run_bundle_fix

SPEC = """
[bundle]
name = "p"
format = "dir"
[[files]]
from = "server"
to = "bin/"
[[files]]
from = "extra/*"
to = "lib/"
[[libraries]]
from = "lib/*.so*"
"""


def write_build_tree(root: Path) -> Path:
    """Write a build tree with a program, and a library with three names."""
    source = "int a(void) { return 0; }"
    build_elf(root / "lib/liba.so.1.2", soname="liba.so.1", source=source)
    (root / "lib/liba.so.1").symlink_to("liba.so.1.2")
    use = "int a(void); int main(void) { return a(); }"
    flags = [str(root / "lib/liba.so.1")]
    build_elf(root / "server", program=True, source=use, flags=flags, runpath="/build")
    (root / "extra").mkdir()
    (root / "extra/README").write_text("Hello.")
    (root / "bundle.toml").write_text(SPEC)
    return root


def pack(root: Path, output: str, *options: str) -> str:
    done = run_bundle_fix("pack", "bundle.toml", "-o", output, *options, cwd=root)
    assert done.returncode == 0 or options, done.stderr
    return done.stderr


def test_a_library_is_one_file_in_a_zip_archive_and_works_without_symlinks(tmp_path: Path) -> None:
    pack(write_build_tree(tmp_path), "p.zip")
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        # Python's zipfile writes a text file in place of a symlink.
        archive.extractall(tmp_path / "out")
    top = tmp_path / "out/p"
    assert sorted(p.name for p in (top / "lib").iterdir()) == ["README", "liba.so.1"]
    (top / "bin/server").chmod(0o755)
    subprocess.run([top / "bin/server"], check=True)
    manifest = json.loads((top / "bundle-manifest.json").read_bytes())
    origins = {file["path"]: file.get("origin") for file in manifest["files"]}
    assert origins["lib/liba.so.1"] == "lib/liba.so.1.2"


def test_a_name_that_something_asks_for_stays_as_a_copy_in_a_zip_archive(tmp_path: Path) -> None:
    root = write_build_tree(tmp_path)
    (root / "extra/load.py").write_text('ctypes.CDLL("liba.so.1.2")')
    pack(root, "p.zip")
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        assert {"p/lib/liba.so.1", "p/lib/liba.so.1.2"} <= {*archive.namelist()}


def test_a_signed_library_is_packed_unchanged(tmp_path: Path) -> None:
    root = write_build_tree(tmp_path)
    library = build_elf(root / "extra/libsoft.so.3", soname="libsoft.so.3", needed=["liba.so.1"])
    (root / "extra/libsoft.chk").touch()
    messages = pack(root, "p", "--force")
    assert "lib/libsoft.so.3: not changed: lib/libsoft.chk signs its content" in messages
    assert (root / "p/lib/libsoft.so.3").read_bytes() == library.read_bytes()


def test_a_list_of_checksums_in_a_pack_matches_the_edited_files(tmp_path: Path) -> None:
    root = write_build_tree(tmp_path)
    digest = hashlib.sha256((root / "server").read_bytes()).hexdigest()
    (root / "extra/SHA256SUMS").write_text(f"{digest}  ../bin/server\n")
    pack(root, "p", "--force")
    digest = hashlib.sha256((root / "p/bin/server").read_bytes()).hexdigest()
    assert (root / "p/lib/SHA256SUMS").read_text() == f"{digest}  ../bin/server\n"
