"""Requested changes, and the dynamic entries that they result in."""

from __future__ import annotations

import pytest

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import NewEntry, PlannedEntry, compute_needed, plan_entries
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry
from bundle_fix.model.errors import BundleFixError
from elf.support import build_tiny_elf, parse_image, read_bytes_of

TABLE = b"\0liba.so\0libb.so\0libx.so.1\0/run\0/r\0"
A, B, X, RUN, R = (TABLE.index(text + b"\0") for text in TABLE[1:-1].split(b"\0"))
BOTH = [(c.DT_NEEDED, A), (c.DT_NEEDED, B), (c.DT_SONAME, X), (c.DT_RPATH, R), (c.DT_RUNPATH, RUN)]
TAIL = (c.DT_STRTAB, c.DT_STRSZ)


def plan_changes(
    changes: Changes, entries: list[tuple[int, int]] | None = None
) -> list[PlannedEntry]:
    """Return the entries after ``changes``, without the two that end every file here."""
    image = parse_image(read_bytes_of(build_tiny_elf(BOTH if entries is None else entries, TABLE)))
    return [e for e in plan_entries(image, changes) if e.tag not in TAIL]


def make_entries(*entries: tuple[int, int]) -> list[PlannedEntry]:
    return [DynamicEntry(*entry) for entry in entries]


def test_no_changes_leave_every_entry() -> None:
    assert plan_changes(Changes()) == make_entries(*BOTH)


def test_a_runpath_replaces_the_first_of_both_paths_and_the_other_is_removed() -> None:
    assert plan_changes(Changes(runpath="/new")) == [
        *make_entries(*BOTH[:3]),
        NewEntry(c.DT_RUNPATH, "/new"),
    ]


def test_an_rpath_replaces_a_runpath() -> None:
    entries = [(c.DT_RUNPATH, RUN), (c.DT_NEEDED, A)]
    assert plan_changes(Changes(rpath="/new"), entries) == [
        NewEntry(c.DT_RPATH, "/new"),
        DynamicEntry(c.DT_NEEDED, A),
    ]


def test_a_first_runpath_comes_last() -> None:
    image = parse_image(read_bytes_of(build_tiny_elf([(c.DT_NEEDED, A)], TABLE)))
    entries = plan_entries(image, Changes(runpath="/new"))
    assert entries[-1] == NewEntry(c.DT_RUNPATH, "/new")
    assert len(entries) == len(image.dynamic or ()) + 1


@pytest.mark.parametrize("changes", [Changes(runpath=""), Changes(rpath="")])
def test_an_empty_path_removes_both(changes: Changes) -> None:
    assert plan_changes(changes) == make_entries(*BOTH[:3])


def test_an_existing_path_changes_nothing() -> None:
    assert plan_changes(Changes(runpath="/run"), BOTH[:3] + BOTH[4:]) == make_entries(
        *BOTH[:3], BOTH[4]
    )
    assert plan_changes(Changes(rpath="/r"), BOTH[:4]) == make_entries(*BOTH[:4])
    assert plan_changes(Changes(runpath=""), BOTH[:3]) == make_entries(*BOTH[:3])


def test_an_existing_runpath_remains_if_the_rpath_is_removed() -> None:
    assert plan_changes(Changes(runpath="/run")) == [
        *make_entries(*BOTH[:3]),
        NewEntry(c.DT_RUNPATH, "/run"),
    ]


def test_an_existing_text_under_another_tag_changes_its_tag() -> None:
    assert plan_changes(Changes(rpath="/run"), [(c.DT_RUNPATH, RUN)]) == [
        NewEntry(c.DT_RPATH, "/run")
    ]


def test_a_soname_is_set_replaced_and_removed() -> None:
    assert plan_changes(Changes(soname="liby.so"), BOTH[:3])[2] == NewEntry(c.DT_SONAME, "liby.so")
    assert plan_changes(Changes(soname="libx.so.1"), BOTH[:3]) == make_entries(*BOTH[:3])
    assert plan_changes(Changes(soname=""), BOTH[:3]) == make_entries(*BOTH[:2])
    assert plan_changes(Changes(soname=""), BOTH[:2]) == make_entries(*BOTH[:2])
    assert NewEntry(c.DT_SONAME, "liby.so") in plan_changes(Changes(soname="liby.so"), BOTH[:2])


def test_a_needed_name_is_replaced_at_its_position() -> None:
    assert plan_changes(Changes(replace_needed=(("liba.so", "libn.so"),)), BOTH[:2]) == [
        NewEntry(c.DT_NEEDED, "libn.so", "liba.so"),
        DynamicEntry(c.DT_NEEDED, B),
    ]


def test_a_name_that_is_not_needed_is_not_replaced() -> None:
    changes = Changes(replace_needed=(("libz.so", "libn.so"), ("liba.so", "liba.so")))
    assert plan_changes(changes) == make_entries(*BOTH)


def test_a_name_is_inserted_directly_before_another() -> None:
    changes = Changes(insert_needed=(("libb.so", "libn.so"),))
    assert plan_changes(changes, BOTH[:2]) == [
        DynamicEntry(c.DT_NEEDED, A),
        NewEntry(c.DT_NEEDED, "libn.so"),
        DynamicEntry(c.DT_NEEDED, B),
    ]


def test_a_name_that_is_already_directly_before_is_not_inserted_again() -> None:
    assert plan_changes(Changes(insert_needed=(("libb.so", "liba.so"),)), BOTH[:2]) == make_entries(
        *BOTH[:2]
    )
    changes = Changes(insert_needed=(("liba.so", "libb.so"),))
    assert plan_changes(changes, BOTH[:2]) == [
        NewEntry(c.DT_NEEDED, "libb.so"),
        *make_entries(*BOTH[:2]),
    ]


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
def test_computed_needed_names_match_the_entries(changes: Changes) -> None:
    texts = {A: "liba.so", B: "libb.so"}
    entries = plan_changes(changes, BOTH[:2])
    names = [e.text if isinstance(e, NewEntry) else texts[e.value] for e in entries]
    assert compute_needed(("liba.so", "libb.so"), changes) == tuple(names)
    # The same changes once more have no effect.
    assert compute_needed(names, changes) == tuple(names)


@pytest.mark.parametrize(
    "arguments",
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
def test_contradictory_changes_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(BundleFixError) as error:
        Changes(**arguments)  # type: ignore[arg-type]
    assert error.value.message
