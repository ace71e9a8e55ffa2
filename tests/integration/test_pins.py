"""``pin = true`` with the real loader and decoys in LD_LIBRARY_PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix

pytestmark = pytest.mark.any_program

SPEC = """
[bundle]
name = "pack"
format = "dir"
[[files]]
from = "build/server"
to   = "bin/"
mode = "755"
[[libraries]]
from = "build/libengine.so.2"
[[libraries]]
name   = "libpinned.so.4"
search = ["build"]
pin    = true
[[libraries]]
name   = "libplain.so.1"
search = ["build"]
[[libraries]]
name   = "libversioned.so.1"
search = ["build"]
pin    = true
"""
NAMES = ("libpinned.so.4", "libplain.so.1", "libversioned.so.1", "libengine.so.2")
LIBRARY = """
#include <unistd.h>
int {symbol}(void) {{ return write(1, "{tag} {name}\\n", sizeof "{tag} {name}\\n" - 1) < 0; }}
"""
SERVER = """
int libpinned(void), libplain(void), libversioned(void), libengine(void);
int main(void) { return libpinned() | libplain() | libversioned() | libengine(); }
"""
ENGINE = """
#include <unistd.h>
int libpinned(void), libversioned(void);
int libengine(void) {
    return write(1, "%s engine\\n", sizeof "%s engine\\n" - 1) < 0 | libpinned() | libversioned();
}
"""


def build_libraries(directory: Path, tag: str) -> list[str]:
    """Build four libraries that print the tag; the engine needs two of the others."""
    directory.mkdir()
    script = directory / "versions"
    script.write_text("V_1 { global: libversioned; local: *; };\n")
    for name in NAMES[:3]:
        symbol = name.partition(".")[0]
        flags = [f"-Wl,--version-script={script}"] if symbol == "libversioned" else []
        source = LIBRARY.format(symbol=symbol, tag=tag, name=name)
        build_elf(directory / name, soname=name, source=source, flags=flags)
    paths = [str(directory / name) for name in NAMES]
    flags = [paths[0], paths[2]]
    build_elf(Path(paths[3]), soname=NAMES[3], source=ENGINE.replace("%s", tag), flags=flags)
    return paths


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack made from `SPEC`, with decoys of all its libraries in ``decoys``."""
    libraries = build_libraries(tmp_path / "build", "shipped")
    build_libraries(tmp_path / "decoys", "decoy")
    flags = [*libraries, f"-Wl,-rpath-link,{tmp_path}/build"]
    build_elf(tmp_path / "build/server", program=True, source=SERVER, flags=flags)
    spec = tmp_path / "bundle.toml"
    spec.write_text(SPEC)
    done = run_bundle_fix("pack", spec, "-o", tmp_path / "pack")
    assert done.returncode == 0, done.stderr
    return tmp_path / "pack"


def run_server(pack: Path, **environ: str) -> set[str]:
    command = pack / "bin/server"
    done = subprocess.run(
        [command], cwd="/", env={**os.environ, **environ}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines())


SHIPPED = {f"shipped {name}" for name in (*NAMES[:3], "engine")}


def test_without_decoys_all_libraries_of_the_pack_are_used(pack: Path) -> None:
    assert run_server(pack) == SHIPPED


def test_decoys_replace_only_libraries_that_are_not_pinned(pack: Path) -> None:
    # The decoy of the engine needs the pinned libraries by their plain names, and gets those of the
    # pack, which are loaded already.
    found = run_server(pack, LD_LIBRARY_PATH=str(pack.parent / "decoys"))
    assert found == {
        "shipped libpinned.so.4",
        "shipped libversioned.so.1",
        "decoy libplain.so.1",
        "decoy engine",
    }


def test_a_moved_pack_keeps_its_pins(pack: Path) -> None:
    moved = pack.rename(pack.with_name("elsewhere"))
    found = run_server(moved, LD_LIBRARY_PATH=str(pack.parent / "decoys"))
    assert "shipped libpinned.so.4" in found
    assert "shipped libversioned.so.1" in found


def test_without_pins_the_decoys_replace_all_libraries(pack: Path) -> None:
    # The other tests mean something only if the decoys work.
    spec = pack.parent / "bundle.toml"
    spec.write_text(SPEC.replace("pin    = true\n", ""))
    done = run_bundle_fix("pack", spec, "-o", pack.parent / "unpinned")
    assert done.returncode == 0, done.stderr
    found = run_server(pack.parent / "unpinned", LD_LIBRARY_PATH=str(pack.parent / "decoys"))
    assert found == {text.replace("shipped", "decoy") for text in SHIPPED}


def test_every_object_that_needs_a_pinned_library_needs_it_by_path(pack: Path) -> None:
    needed = {
        name: run_bundle_fix("elf", "--print", "needed", pack / name).stdout.split()
        for name in ("bin/server", "lib/libengine.so.2")
    }
    for path, prefix in (("bin/server", "$ORIGIN/../lib"), ("lib/libengine.so.2", "$ORIGIN")):
        assert f"{prefix}/libpinned.so.4" in needed[path]
        assert "libpinned.so.4" not in needed[path]
        # Symbol versions refer to the plain name (vn_file), which therefore follows the path.
        assert f"{prefix}/libversioned.so.1" in needed[path]
        first = needed[path].index(f"{prefix}/libversioned.so.1")
        assert needed[path][first + 1] == "libversioned.so.1"
    assert "libplain.so.1" in needed["bin/server"]
