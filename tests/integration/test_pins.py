"""``pin = true`` from the spec to the real loader, with LD_LIBRARY_PATH full of decoys."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builders.elf import elf
from builders.run import run_bundle_fix

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


def libraries(directory: Path, tag: str) -> list[str]:
    """The four libraries, each saying whose it is; the engine needs two of the others."""
    directory.mkdir()
    script = directory / "versions"
    script.write_text("V_1 { global: libversioned; local: *; };\n")
    for name in NAMES[:3]:
        symbol = name.partition(".")[0]
        flags = [f"-Wl,--version-script={script}"] if symbol == "libversioned" else []
        source = LIBRARY.format(symbol=symbol, tag=tag, name=name)
        elf(directory / name, soname=name, source=source, flags=flags)
    made = [str(directory / name) for name in NAMES]
    flags = [made[0], made[2]]
    elf(Path(made[3]), soname=NAMES[3], source=ENGINE.replace("%s", tag), flags=flags)
    return made


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack made from `SPEC`, with decoys of all its libraries in ``decoys``."""
    made = libraries(tmp_path / "build", "shipped")
    libraries(tmp_path / "decoys", "decoy")
    flags = [*made, f"-Wl,-rpath-link,{tmp_path}/build"]
    elf(tmp_path / "build/server", program=True, source=SERVER, flags=flags)
    spec = tmp_path / "bundle.toml"
    spec.write_text(SPEC)
    done = run_bundle_fix("pack", spec, "-o", tmp_path / "pack")
    assert done.returncode == 0, done.stderr
    return tmp_path / "pack"


def said(pack: Path, **environ: str) -> set[str]:
    command = pack / "bin/server"
    done = subprocess.run(
        [command], cwd="/", env={**os.environ, **environ}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines())


SHIPPED = {f"shipped {name}" for name in (*NAMES[:3], "engine")}


def test_without_decoys_all_libraries_are_the_packs(pack: Path) -> None:
    assert said(pack) == SHIPPED


def test_decoys_take_what_is_not_pinned_and_nothing_that_is(pack: Path) -> None:
    # The decoy of the engine needs the pinned ones by their plain names: it gets the pack's.
    found = said(pack, LD_LIBRARY_PATH=str(pack.parent / "decoys"))
    assert found == {
        "shipped libpinned.so.4",
        "shipped libversioned.so.1",
        "decoy libplain.so.1",
        "decoy engine",
    }


def test_a_pack_that_moves_keeps_its_pins(pack: Path) -> None:
    moved = pack.rename(pack.with_name("elsewhere"))
    found = said(moved, LD_LIBRARY_PATH=str(pack.parent / "decoys"))
    assert "shipped libpinned.so.4" in found
    assert "shipped libversioned.so.1" in found


def test_without_pins_the_decoys_take_everything(pack: Path) -> None:
    # That the decoys would work is what makes the other tests mean something.
    spec = pack.parent / "bundle.toml"
    spec.write_text(SPEC.replace("pin    = true\n", ""))
    done = run_bundle_fix("pack", spec, "-o", pack.parent / "unpinned")
    assert done.returncode == 0, done.stderr
    found = said(pack.parent / "unpinned", LD_LIBRARY_PATH=str(pack.parent / "decoys"))
    assert found == {text.replace("shipped", "decoy") for text in SHIPPED}


def test_every_object_that_needs_a_pinned_library_needs_it_by_path(pack: Path) -> None:
    needed = {
        name: run_bundle_fix("elf", "--print", "needed", pack / name).stdout.split()
        for name in ("bin/server", "lib/libengine.so.2")
    }
    for path, place in (("bin/server", "$ORIGIN/../lib"), ("lib/libengine.so.2", "$ORIGIN")):
        assert f"{place}/libpinned.so.4" in needed[path]
        assert "libpinned.so.4" not in needed[path]
        # Versions are looked for by the plain name, which stays behind the path.
        assert f"{place}/libversioned.so.1" in needed[path]
        first = needed[path].index(f"{place}/libversioned.so.1")
        assert needed[path][first + 1] == "libversioned.so.1"
    assert "libplain.so.1" in needed["bin/server"]
