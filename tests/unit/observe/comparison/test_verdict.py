"""Where the objects of a process come from, judging by a pack and the core file alone."""

from __future__ import annotations

import pytest

from builders.cores import CoreObject, CoreShape, encode_core
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.model.content import BytesReader
from bundle_fix.observe.comparison.pack_contents import PackContents, PackedFile
from bundle_fix.observe.comparison.packs import choose_pack
from bundle_fix.observe.comparison.search_evidence import find_evidence
from bundle_fix.observe.comparison.verdict import (
    Comparison,
    DisplacementReason,
    ObservedOrigin,
    Replacement,
    Verdict,
    compare_objects,
)
from bundle_fix.observe.cores.core_file import read_core
from bundle_fix.observe.objects import list_objects
from bundle_fix.observe.snapshot import ProcessSnapshot

SERVER_ID, HEAP_ID, OTHER_ID = "aa" * 20, "bb" * 20, "cc" * 20
SERVER = CoreObject(
    "/opt/pack/bin/server", build_id=SERVER_ID, needed=("libheap.so.4",), runpath="$ORIGIN/../lib"
)
BASE = CoreObject("/usr/lib/libm.so.6", "/lib/libm.so.6", "libm.so.6", "dd" * 20)


def make_pack(library: str = "lib/libheap.so.4", name: str = "pack") -> PackContents:
    files = {
        "bin/server": PackedFile(
            "x86_64", None, SERVER_ID, ("libheap.so.4",), None, "$ORIGIN/../lib", is_program=True
        ),
        library: PackedFile("x86_64", "libheap.so.4", HEAP_ID),
    }
    names = dict.fromkeys(("libheap.so.4", library.rpartition("/")[2]), (library,))
    return PackContents(name, files, names)


def read_snapshot(*objects: CoreObject, environment: tuple[str, ...] = ()) -> ProcessSnapshot:
    data = encode_core([SERVER, BASE, *objects], CoreShape(environment=environment))
    return read_core(BytesReader(data), "core")


def compare(snapshot: ProcessSnapshot, *packs: PackContents) -> Comparison:
    return compare_objects(snapshot, list_objects(snapshot).objects, packs[0], packs)


def test_a_library_in_the_directory_of_the_pack_is_the_packs() -> None:
    name = "/opt/pack/bin/../lib/libheap.so.4"
    heap = CoreObject("/opt/pack/lib/libheap.so.4", name, "libheap.so.4", HEAP_ID)
    snapshot = read_snapshot(heap)
    found = compare(snapshot, make_pack())
    assert (found.verdict, found.root) == (Verdict.CLEAN, "/opt/pack")
    assert [o.member for o in found.objects] == ["bin/server", None, "lib/libheap.so.4"]
    evidence = find_evidence(snapshot, found)[2]
    assert evidence is not None
    assert (evidence.rule, evidence.entry) == (SearchRule.RUNPATH, "$ORIGIN/../lib")


def test_a_library_of_the_host_displaces_one_that_the_pack_has_under_another_name() -> None:
    heap = CoreObject("/usr/lib/libheap.so.4.5", "/lib64/libheap.so.4", "libheap.so.4", OTHER_ID)
    snapshot = read_snapshot(heap)
    found = compare(snapshot, make_pack("lib/libheap.so"))
    library = found.objects[2]
    assert found.verdict is Verdict.DISPLACED
    assert (library.origin, library.displaces) == (ObservedOrigin.HOST, "lib/libheap.so")
    assert library.reason is DisplacementReason.OTHER_NAME
    evidence = find_evidence(snapshot, found)[2]
    assert evidence is not None
    assert evidence.rule is SearchRule.DEFAULT


@pytest.mark.parametrize("entry", ["/srv/old", "/srv/old/", "/srv/./old"])
def test_ld_library_path_of_the_core_file_explains_a_displaced_library(entry: str) -> None:
    heap = CoreObject("/srv/old/libheap.so.4", f"{entry}/libheap.so.4", "libheap.so.4", OTHER_ID)
    snapshot = read_snapshot(heap, environment=(f"LD_LIBRARY_PATH=/none:{entry}",))
    found = compare(snapshot, make_pack())
    evidence = find_evidence(snapshot, found)[2]
    assert evidence is not None
    assert (evidence.rule, evidence.entry) == (SearchRule.LD_LIBRARY_PATH, entry)
    assert found.objects[2].reason is DisplacementReason.OTHER_PATH


def test_a_preloaded_library_is_found_by_its_name_in_the_environment() -> None:
    heap = CoreObject("/srv/libheap.so.4", "/srv/libheap.so.4", "libheap.so.4", OTHER_ID)
    snapshot = read_snapshot(heap, environment=("LD_PRELOAD=/srv/libheap.so.4",))
    found = compare(snapshot, make_pack())
    evidence = find_evidence(snapshot, found)[2]
    assert evidence is not None
    assert evidence.rule is SearchRule.PRELOAD


def test_a_file_of_the_pack_with_another_build_id_is_replaced() -> None:
    heap = CoreObject("/opt/pack/lib/libheap.so.4", "", "libheap.so.4", OTHER_ID)
    found = compare(read_snapshot(heap), make_pack())
    assert found.verdict is Verdict.REPLACED
    assert found.objects[2].replacement is Replacement.OTHER_BUILD


def test_a_file_that_was_deleted_is_replaced() -> None:
    heap = CoreObject("/opt/pack/lib/libheap.so.4 (deleted)", "", "libheap.so.4", HEAP_ID)
    found = compare(read_snapshot(heap), make_pack())
    assert found.verdict is Verdict.REPLACED
    assert found.objects[2].replacement is Replacement.DELETED


def test_origins_beside_pack_and_host_are_recognised() -> None:
    objects = [
        CoreObject("/memfd:jit (deleted)", "/proc/self/fd/3", "", "ee" * 20),
        CoreObject("/opt/pack/lib/plugin.so", "", "", "ff" * 20),
        CoreObject("/opt/old/lib/libheap.so.4", "", "libheap.so.4", OTHER_ID),
    ]
    other = PackContents("old", {"lib/x": PackedFile("x86_64", None, OTHER_ID)}, {})
    found = compare(read_snapshot(*objects), make_pack(), other)
    assert [o.origin for o in found.objects[2:]] == [
        ObservedOrigin.MEMFD, ObservedOrigin.ADDED, ObservedOrigin.OTHER_PACK,
    ]  # fmt: skip
    assert found.objects[4].other_pack == "old"


def test_the_c_library_of_the_host_displaces_nothing() -> None:
    pack = make_pack()
    files = {**pack.files, "lib/libm.so.6": PackedFile("x86_64", "libm.so.6", "ab" * 20)}
    pack = PackContents("pack", files, {**pack.names, "libm.so.6": ("lib/libm.so.6",)})
    assert compare(read_snapshot(), pack).verdict is Verdict.CLEAN


def test_a_process_of_something_else_is_unrelated_to_a_pack() -> None:
    pack = PackContents("other", {"bin/x": PackedFile("x86_64", None, "11" * 20)}, {})
    assert compare(read_snapshot(), pack).verdict is Verdict.UNRELATED


def test_a_library_of_the_same_name_does_not_relate_a_process_to_a_pack() -> None:
    files = {"lib/libheap.so.4": PackedFile("x86_64", "libheap.so.4", HEAP_ID)}
    pack = PackContents("other", files, {"libheap.so.4": ("lib/libheap.so.4",)})
    path = "/usr/lib/libheap.so.4"
    # The pack has a copy of the host's library; the process loads the original.
    heap = CoreObject(path, path, "libheap.so.4", HEAP_ID)
    assert compare(read_snapshot(heap), pack).verdict is Verdict.UNRELATED


def test_a_process_of_another_release_in_the_same_place_is_replaced() -> None:
    files = {
        "bin/server": PackedFile("x86_64", None, "11" * 20),
        "lib/libheap.so.4": PackedFile("x86_64", "libheap.so.4", "22" * 20),
    }
    heap = CoreObject("/opt/pack/lib/libheap.so.4", "", "libheap.so.4", HEAP_ID)
    found = compare(read_snapshot(heap), PackContents("new", files, {}))
    assert (found.verdict, found.root) == (Verdict.REPLACED, "/opt/pack")
    # A program of that name elsewhere is another program.
    assert compare(read_snapshot(), PackContents("new", files, {})).verdict is Verdict.UNRELATED


def test_a_pack_whose_files_were_moved_is_recognised_by_their_build_ids() -> None:
    heap = CoreObject("/lib/libheap.so.4", "/lib/libheap.so.4", "libheap.so.4", HEAP_ID)
    pack = make_pack("deep/lib/libheap.so.4")
    files = {"deep/server": pack.files["bin/server"], **pack.files}
    del files["bin/server"]
    found = compare(read_snapshot(heap), PackContents("pack", files, pack.names))
    assert (found.verdict, found.root) == (Verdict.CLEAN, None)
    assert found.objects[2].member == "deep/lib/libheap.so.4"


def test_of_several_packs_the_one_with_the_build_ids_of_the_core_file_is_chosen() -> None:
    old = PackContents("old", {"bin/server": PackedFile("x86_64", None, OTHER_ID)}, {})
    objects = list_objects(read_snapshot()).objects
    assert choose_pack([old, make_pack(name="new")], objects).name == "new"
