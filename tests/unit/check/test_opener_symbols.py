"""BF412: symbols that a plugin uses of the program that opens it, and that this does not export."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .packs import build_plugin_of_program


@pytest.mark.parametrize(
    ("exports", "opens", "severities", "symbols"),
    [
        (["one"], "", ["warning"], [["two"]]),
        (["one"], "p.so", ["error"], [["two"]]),
        ([], "p.so", ["error"], [["one", "two"]]),
        (["one", "two"], "p.so", [], []),
        ([], "", [], []),
    ],
)
def test_bf412_reports_the_symbols_that_the_opener_lacks(
    tmp_path: Path,
    check: Check,
    exports: list[str],
    opens: str,
    severities: list[str],
    symbols: list[list[str]],
) -> None:
    build_plugin_of_program(tmp_path, *exports, opens=opens)
    found = check("BF412")
    assert [f.severity for f in found] == severities
    assert [f.evidence["symbols"] for f in found] == symbols


def test_bf412_is_silent_if_another_library_of_the_pack_defines_the_symbol(
    tmp_path: Path, check: Check
) -> None:
    build_plugin_of_program(tmp_path, "one", opens="p.so")
    build_elf(tmp_path / "plugins/q.so", source="int two;")
    assert check("BF412") == []


def test_bf412_is_silent_if_the_host_may_define_the_symbol(tmp_path: Path, check: Check) -> None:
    build_plugin_of_program(tmp_path, "one", opens="p.so")
    use = "extern int one, two; int f(void) { return one + two; }"
    build_elf(tmp_path / "plugins/p.so", source=use, needed=["libz.so.1"])
    assert check("BF412") == []


def test_bf412_is_silent_if_the_process_of_the_opener_has_no_program(
    tmp_path: Path, check: Check
) -> None:
    """The module may take the symbol from the interpreter, which another package contains."""
    source = '#include <dlfcn.h>\nvoid *f(int at) { return dlopen("p.so", at); }'
    build_elf(tmp_path / "demo/common.so", source=source)
    build_elf(tmp_path / "demo/p.so", source="extern int one; int g(void) { return one; }")
    assert check("BF412") == []


@pytest.mark.parametrize(
    ("module", "count"), [("p.cpython-310-x86_64-linux-gnu.so", 0), ("p.cpython-311.so", 1)]
)
def test_bf412_is_about_modules_for_the_version_of_the_python_that_opens_them(
    tmp_path: Path, check: Check, module: str, count: int
) -> None:
    flags = ["-rdynamic"]
    source = "int one; int main(void) { return 0; }"
    build_elf(tmp_path / "bin/python3.11", program=True, source=source, flags=flags)
    use = "extern int one, two; int f(void) { return one + two; }"
    build_elf(tmp_path / "lib/python3" / module, source=use)
    assert len(check("BF412")) == count
