"""What is asked of an edit, and the dynamic entries that result from it."""

from __future__ import annotations

import pytest

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import NewEntry, PlannedEntry, compute_needed, plan_entries
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry
from bundle_fix.model.errors import BundleFixError
from elf.support import bytes_of, image_in, tiny_elf

TABLE = b"\0liba.so\0libb.so\0libx.so.1\0/run\0/r\0"
A, B, X, RUN, R = (TABLE.index(text + b"\0") for text in TABLE[1:-1].split(b"\0"))
BOTH = [(c.DT_NEEDED, A), (c.DT_NEEDED, B), (c.DT_SONAME, X), (c.DT_RPATH, R), (c.DT_RUNPATH, RUN)]
TAIL = (c.DT_STRTAB, c.DT_STRSZ)


def after(changes: Changes, entries: list[tuple[int, int]] | None = None) -> list[PlannedEntry]:
    """The entries that ``changes`` make, without the two that every file here ends with."""
    image = image_in(bytes_of(tiny_elf(BOTH if entries is None else entries, TABLE)))
    return [e for e in plan_entries(image, changes) if e.tag not in TAIL]


def old(*entries: tuple[int, int]) -> list[PlannedEntry]:
    return [DynamicEntry(*entry) for entry in entries]


def test_no_changes_leave_every_entry() -> None:
    assert after(Changes()) == old(*BOTH)


def test_a_runpath_takes_the_first_place_of_either_path_and_the_other_goes() -> None:
    assert after(Changes(runpath="/new")) == [*old(*BOTH[:3]), NewEntry(c.DT_RUNPATH, "/new")]


def test_an_rpath_takes_the_place_of_a_runpath() -> None:
    entries = [(c.DT_RUNPATH, RUN), (c.DT_NEEDED, A)]
    assert after(Changes(rpath="/new"), entries) == [
        NewEntry(c.DT_RPATH, "/new"),
        DynamicEntry(c.DT_NEEDED, A),
    ]


def test_a_first_runpath_comes_last() -> None:
    image = image_in(bytes_of(tiny_elf([(c.DT_NEEDED, A)], TABLE)))
    entries = plan_entries(image, Changes(runpath="/new"))
    assert entries[-1] == NewEntry(c.DT_RUNPATH, "/new")
    assert len(entries) == len(image.dynamic or ()) + 1


@pytest.mark.parametrize("changes", [Changes(runpath=""), Changes(rpath="")])
def test_an_empty_path_removes_both(changes: Changes) -> None:
    assert after(changes) == old(*BOTH[:3])


def test_a_path_that_is_there_already_changes_nothing() -> None:
    assert after(Changes(runpath="/run"), BOTH[:3] + BOTH[4:]) == old(*BOTH[:3], BOTH[4])
    assert after(Changes(rpath="/r"), BOTH[:4]) == old(*BOTH[:4])
    assert after(Changes(runpath=""), BOTH[:3]) == old(*BOTH[:3])


def test_a_path_that_is_there_already_beside_another_is_left_alone_in_the_end() -> None:
    assert after(Changes(runpath="/run")) == [*old(*BOTH[:3]), NewEntry(c.DT_RUNPATH, "/run")]


def test_the_right_text_under_the_wrong_tag_changes_its_tag() -> None:
    assert after(Changes(rpath="/run"), [(c.DT_RUNPATH, RUN)]) == [NewEntry(c.DT_RPATH, "/run")]


def test_a_soname_is_set_replaced_and_removed() -> None:
    assert after(Changes(soname="liby.so"), BOTH[:3])[2] == NewEntry(c.DT_SONAME, "liby.so")
    assert after(Changes(soname="libx.so.1"), BOTH[:3]) == old(*BOTH[:3])
    assert after(Changes(soname=""), BOTH[:3]) == old(*BOTH[:2])
    assert after(Changes(soname=""), BOTH[:2]) == old(*BOTH[:2])
    assert NewEntry(c.DT_SONAME, "liby.so") in after(Changes(soname="liby.so"), BOTH[:2])


def test_a_needed_name_is_replaced_where_it_stands() -> None:
    assert after(Changes(replace_needed=(("liba.so", "libn.so"),)), BOTH[:2]) == [
        NewEntry(c.DT_NEEDED, "libn.so", "liba.so"),
        DynamicEntry(c.DT_NEEDED, B),
    ]


def test_a_name_that_is_not_needed_is_not_replaced() -> None:
    changes = Changes(replace_needed=(("libz.so", "libn.so"), ("liba.so", "liba.so")))
    assert after(changes) == old(*BOTH)


def test_a_name_comes_directly_before_another() -> None:
    changes = Changes(insert_needed=(("libb.so", "libn.so"),))
    assert after(changes, BOTH[:2]) == [
        DynamicEntry(c.DT_NEEDED, A),
        NewEntry(c.DT_NEEDED, "libn.so"),
        DynamicEntry(c.DT_NEEDED, B),
    ]


def test_a_name_that_comes_directly_before_already_is_not_inserted_again() -> None:
    assert after(Changes(insert_needed=(("libb.so", "liba.so"),)), BOTH[:2]) == old(*BOTH[:2])
    changes = Changes(insert_needed=(("liba.so", "libb.so"),))
    assert after(changes, BOTH[:2]) == [NewEntry(c.DT_NEEDED, "libb.so"), *old(*BOTH[:2])]


@pytest.mark.parametrize(
    "changes",
    [
        Changes(),
        Changes(replace_needed=(("liba.so", "libn.so"),)),
        Changes(insert_needed=(("liba.so", "libn.so"),)),
        Changes(insert_needed=(("libb.so", "libn.so"),)),
        Changes(insert_needed=(("libb.so", "liba.so"),)),
        Changes(replace_needed=(("libb.so", "x"),), insert_needed=(("liba.so", "y"),)),
    ],
)
def test_the_needed_names_that_are_foretold_are_those_of_the_entries(changes: Changes) -> None:
    texts = {A: "liba.so", B: "libb.so"}
    entries = after(changes, BOTH[:2])
    names = [e.text if isinstance(e, NewEntry) else texts[e.value] for e in entries]
    assert compute_needed(("liba.so", "libb.so"), changes) == tuple(names)
    # Asked a second time, the same changes find nothing to do.
    assert compute_needed(names, changes) == tuple(names)


@pytest.mark.parametrize(
    "request_",
    [
        {"runpath": "/a", "rpath": "/b"},
        {"replace_needed": (("a", "b"), ("a", "c"))},
        {"replace_needed": (("a", "b"),), "insert_needed": (("a", "c"),)},
        {"replace_needed": (("a", "b"), ("b", "a"))},
        {"replace_needed": (("a", "b"), ("b", "c"))},
        {"insert_needed": (("a", "a"),)},
        {"replace_needed": (("a", ""),)},
        {"replace_needed": (("a", "b\0c"),)},
        {"insert_needed": (("a", "b\0"),)},
        {"runpath": "/a\0/b"},
        {"rpath": "\0"},
        {"soname": "x\0"},
    ],
)
def test_a_request_that_contradicts_itself_is_refused(request_: dict[str, object]) -> None:
    with pytest.raises(BundleFixError) as error:
        Changes(**request_)  # type: ignore[arg-type]
    assert error.value.message
