"""Any sequence of edits on any member of the matrix: as asked, loadable, and undone again."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import EditRefusedError
from elf.matrix import CELLS, EXPECTED, Built, build
from elf.support import Strings, by_readelf
from elf.test_matrix import edited

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


def undo(now: Strings, then: Strings) -> list[Changes]:
    """The edits that give ``now`` the strings of ``then`` again."""
    path = {"rpath": then.rpath} if then.rpath else {"runpath": then.runpath or ""}
    gone = tuple(name for name in now.needed if name not in then.needed)
    missing = tuple(name for name in then.needed if name not in now.needed)
    swapped = tuple(zip(gone, missing, strict=False))
    count = len(swapped)
    rest = Changes(remove_needed=gone[count:], add_needed=missing[count:])
    return [Changes(soname=then.soname or "", replace_needed=swapped, **path), rest]


@pytest.mark.parametrize("name", MEMBERS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=st.lists(EDITS, min_size=1, max_size=5))
def test_edits_give_what_was_asked_and_can_be_undone(
    tmp_path_factory: pytest.TempPathFactory, name: str, edits: list[Changes]
) -> None:
    folder = tmp_path_factory.mktemp("edits")
    built = build(CELLS[name], folder / "pack")
    original = by_readelf(built.library)
    used = set()
    try:
        for changes in edits:
            before = by_readelf(built.library)
            try:
                used.add(edited(built.library, changes, "auto", folder))
            except EditRefusedError:
                assert by_readelf(built.library) == before
                continue
            now = by_readelf(built.library)
            if changes.runpath is not None or changes.rpath is not None:
                assert (now.runpath or "") == (changes.runpath or "")
                assert (now.rpath or "") == (changes.rpath or "")
            if changes.soname is not None:
                assert (now.soname or "") == changes.soname
        assert_it_loads(built)
        try:
            for changes in undo(by_readelf(built.library), original):
                used.add(edited(built.library, changes, "auto", folder))
        except EditRefusedError:
            # Where there is no slack, and patchelf does not take its own results again.
            assert "patchelf" in used or name.startswith(("lld", "mold", "read-only"))
            return
        after = by_readelf(built.library)
        assert set(after.needed) == set(original.needed)
        assert after[1:] == original[1:]
    finally:
        shutil.rmtree(folder)


def assert_it_loads(built: Built) -> None:
    """The program that needs the library still runs with it, given the folder to search."""
    folder = str(built.library.parent)
    if built.cell.machine:
        done = built.command_output(["-E", f"LD_LIBRARY_PATH={folder}", str(built.program)])
    else:
        done = subprocess.run(
            [str(built.program)], env={"LD_LIBRARY_PATH": folder}, capture_output=True, text=True,
            check=True, timeout=60,
        ).stdout.strip()  # fmt: skip
    assert done == EXPECTED
