"""Random sequences of edits on cells of the matrix: the file loads, and they can be undone."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import EditRefusedError
from elf.matrix import CELLS, EXPECTED, BuiltCell, build_cell, edit_at
from elf.support import Strings, read_with_readelf

LONG = "$ORIGIN/../lib:/opt/" + "z" * 90
FIRST = st.sampled_from(["", "$ORIGIN/../lib", LONG, "/r", f"$ORIGIN/../lib:{LONG}:{LONG}"])
EDITS = st.one_of(
    st.builds(lambda p: Changes(runpath=p), FIRST),
    st.builds(lambda p: Changes(rpath=p), FIRST),
    st.builds(
        lambda s: Changes(soname=s),
        st.sampled_from(["", "libgive.so.1", "lib" + "y" * 40 + ".so.9"]),
    ),
    st.just(Changes(replace_needed=(("libdep.so.1", "libother.so.1"),))),
    st.just(Changes(add_needed=("libother.so.1",))),
    st.just(Changes(remove_needed=("libother.so.1",))),
)
MEMBERS = [
    name
    for name, cell in CELLS.items()
    if cell.starts and not cell.headerless and name not in ("no entry yet, none spare", "musl")
]


def plan_undo(now: Strings, then: Strings) -> list[Changes]:
    """Return the edits that turn the strings ``now`` into ``then``."""
    rpath, runpath = (then.rpath, None) if then.rpath else (None, then.runpath or "")
    removed = tuple(name for name in now.needed if name not in then.needed)
    missing = tuple(name for name in then.needed if name not in now.needed)
    swapped = tuple(zip(removed, missing, strict=False))
    count = len(swapped)
    rest = Changes(remove_needed=removed[count:], add_needed=missing[count:])
    return [
        Changes(soname=then.soname or "", replace_needed=swapped, rpath=rpath, runpath=runpath),
        rest,
    ]


@pytest.mark.parametrize("name", MEMBERS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=st.lists(EDITS, min_size=1, max_size=5))
def test_edits_give_the_requested_strings_and_can_be_undone(
    tmp_path_factory: pytest.TempPathFactory, name: str, edits: list[Changes]
) -> None:
    directory = tmp_path_factory.mktemp("edits")
    built = build_cell(CELLS[name], directory / "pack")
    original = read_with_readelf(built.library)
    used = set()
    try:
        for changes in edits:
            before = read_with_readelf(built.library)
            try:
                used.add(edit_at(built.library, changes, "auto", directory))
            except EditRefusedError:
                assert read_with_readelf(built.library) == before
                continue
            now = read_with_readelf(built.library)
            if changes.runpath is not None or changes.rpath is not None:
                assert (now.runpath or "") == (changes.runpath or "")
                assert (now.rpath or "") == (changes.rpath or "")
            if changes.soname is not None:
                assert (now.soname or "") == changes.soname
        assert_loadable(built)
        try:
            for changes in plan_undo(read_with_readelf(built.library), original):
                used.add(edit_at(built.library, changes, "auto", directory))
        except EditRefusedError:
            # Some files have no unused space, and patchelf does not accept its own output.
            assert "patchelf" in used or name.startswith(("lld", "mold", "read-only"))
            return
        after = read_with_readelf(built.library)
        assert set(after.needed) == set(original.needed)
        assert after[1:] == original[1:]
    finally:
        shutil.rmtree(directory)


def assert_loadable(built: BuiltCell) -> None:
    """Assert that the program runs with the library, given the directory to search."""
    directory = str(built.library.parent)
    if built.cell.machine:
        done = built.run_command(["-E", f"LD_LIBRARY_PATH={directory}", str(built.program)])
    else:
        done = subprocess.run(
            [str(built.program)], env={"LD_LIBRARY_PATH": directory}, capture_output=True,
            text=True, check=True, timeout=60,
        ).stdout.strip()  # fmt: skip
    assert done == EXPECTED
