from __future__ import annotations

import graphlib
from collections import Counter

from style.layout import (
    MANY_MODULES,
    ORDER,
    PACKAGE,
    find_imports,
    find_modules,
    find_reachable,
    get_room,
)


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(ORDER)


def test_no_module_stands_outside_a_package() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_imports_go_down_the_order_only() -> None:
    upwards = [
        str(pair)
        for pair in find_imports()
        if get_room(pair.importer) in ORDER
        and ORDER.index(get_room(pair.importer)) > ORDER.index(get_room(pair.imported))
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for pair in find_imports():
        graph.setdefault(pair.importer, set()).add(pair.imported)
    list(graphlib.TopologicalSorter(graph).static_order())


def test_a_directory_holds_at_most_ten_modules() -> None:
    count = Counter(
        str(path.parent.relative_to(PACKAGE))
        for path in find_modules().values()
        if path.name not in {"__init__.py", "__main__.py"}
    )
    assert {name: n for name, n in count.items() if n > 10 and name not in MANY_MODULES} == {}


CROSSCHECK = "elf.verify.lief_crosscheck"
"""Compares the reader that the editors use with LIEF; the only verifier that imports it."""


def test_the_verifier_of_edits_shares_no_code_with_the_editors() -> None:
    names = find_modules()
    verifiers = {name for name in names if name.startswith("elf.verify.")} - {CROSSCHECK}
    verifier = find_reachable(verifiers, CROSSCHECK)
    # Only the module that calls the verifier imports it; the editors' own imports count here.
    editors = find_reachable({n for n in names if n.startswith("elf.edit.")}, "elf.verify.")
    assert {name for name in verifier & editors if get_room(name) != "model"} == {
        "elf.changes",
        "elf.read.constants",
    }
    assert {get_room(name) for name in verifier} == {"elf", "model"}


def test_the_editors_import_nothing_of_the_verifier_but_its_entry_points() -> None:
    imported = {
        pair.imported
        for pair in find_imports()
        if pair.importer.startswith("elf.") and pair.imported.startswith("elf.verify.")
        and not pair.importer.startswith("elf.verify.")
    }  # fmt: skip
    assert imported == {"elf.verify.invariants", "elf.verify.equivalence.contract", CROSSCHECK}
