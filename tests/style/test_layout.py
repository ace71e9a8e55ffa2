from __future__ import annotations

import graphlib
from collections import Counter

from style.layout import MANY_MODULES, ORDER, PACKAGE, find_imports, find_modules, get_room


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
