"""BF304 and BF305: blocks freed by another heap than allocated them, and hidden allocators."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .test_allocators import ALLOCATOR, build_allocator, build_server

LIB = "$ORIGIN/../lib"
USES_ALIGNED = """
#include <stdlib.h>
int main(void) { free(aligned_alloc(64, 64)); return 0; }
"""
NEW = """
#include <stddef.h>
void *n(size_t) __asm__("_Znwm"); void *n(size_t s) { return (void *)(s & 0); }
"""
OPERATORS = "".join(
    f'void *f{n}(void) __asm__("{name}"); void *f{n}(void) {{ return 0; }}\n'
    for n, name in enumerate(("_Znwm", "_Znam", "_ZdlPv", "_ZdlPvm", "_ZdaPv", "_ZdaPvm"))
)
DELETE = 'void d(void *) __asm__("_ZdlPv"); void d(void *p) { (void)p; }'
USES_NEW = """
extern void *n(unsigned long) __asm__("_Znwm"); extern void d(void *) __asm__("_ZdlPv");
int main(void) { d(n(1)); return 0; }
"""


def build_program(root: Path, source: str, *needed: str) -> None:
    """Build a program that needs libraries of its pack; for a missing library, a stub is used."""
    bundled = [name for name in needed if (root / "lib" / name).exists()]
    stubs = [name for name in needed if name not in bundled]
    flags = ["-fno-builtin", "-Wl,--unresolved-symbols=ignore-in-object-files"]
    flags += [str(root / "lib" / name) for name in bundled]
    build_elf(root / "bin/x", program=True, source=source, needed=stubs, runpath=LIB, flags=flags)


@pytest.mark.parametrize(("main", "found"), [(USES_ALIGNED, 1), ("int main(void){return 0;}", 0)])
def test_bf304_reports_functions_that_the_allocator_leaves_to_the_c_library(
    tmp_path: Path, check: Check, main: str, found: int
) -> None:
    build_allocator(tmp_path / "lib/libold.so.1", "libold.so.1")
    build_program(tmp_path, main, "libold.so.1")
    assert [f.message for f in check("BF304")] == [
        "uses aligned_alloc of /lib64/libc.so.6, but free of lib/libold.so.1"
    ][:found]


def test_bf304_reports_a_free_that_comes_before_the_allocators(
    tmp_path: Path, check: Check
) -> None:
    build_allocator(
        tmp_path / "lib/libfree.so.1", "libfree.so.1", "void free(void *p) { (void)p; }"
    )
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path, "libfree.so.1", "libone.so.1")
    (finding,) = check("BF304")
    assert finding.message == ("uses malloc of lib/libone.so.1, but free of lib/libfree.so.1")


def test_bf304_reports_an_operator_delete_of_another_object(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=NEW)
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", source=DELETE)
    build_program(tmp_path, USES_NEW, "liba.so.1", "libb.so.1")
    (finding,) = check("BF304")
    assert finding.message == (
        "uses operator new of lib/liba.so.1, but operator delete of lib/libb.so.1"
    )


def test_bf304_is_silent_about_operators_of_one_object(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=NEW + DELETE)
    build_program(tmp_path, USES_NEW, "liba.so.1")
    assert check("BF304") == []


@pytest.mark.parametrize("is_bundled", [True, False])
def test_bf304_knows_that_the_cplusplus_library_calls_malloc(
    tmp_path: Path, check: Check, is_bundled: bool
) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    if is_bundled:
        operators = """
        #include <stdlib.h>
        void *n(size_t) __asm__("_Znwm"); void *n(size_t s) { return malloc(s); }
        void d(void *) __asm__("_ZdlPv"); void d(void *p) { free(p); }
        """
        build_elf(tmp_path / "lib/libstdc++.so.6", soname="libstdc++.so.6", source=operators)
    build_program(tmp_path, USES_NEW, "libone.so.1", "libstdc++.so.6")
    assert check("BF304") == []


def test_bf304_knows_that_the_cplusplus_library_forwards_sized_deletes(
    tmp_path: Path, check: Check
) -> None:
    """An object that replaces the plain operators replaces all of them ([new.delete])."""
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=NEW + DELETE)
    sized = """
    extern void *n(unsigned long) __asm__("_Znam");
    extern void d(void *, unsigned long) __asm__("_ZdaPvm");
    extern void *m(unsigned long) __asm__("_Znwm");
    extern void s(void *, unsigned long) __asm__("_ZdlPvm");
    int main(void) { d(n(1), 1); s(m(1), 1); return 0; }
    """
    build_elf(tmp_path / "linked/libstdc++.so.6", soname="libstdc++.so.6", source=OPERATORS)
    flags = [str(tmp_path / "lib/liba.so.1"), str(tmp_path / "linked/libstdc++.so.6")]
    build_elf(tmp_path / "bin/x", program=True, source=sized, runpath=LIB, flags=flags)
    (tmp_path / "linked/libstdc++.so.6").unlink()
    assert check("BF304") == []


def build_hidden_functions(root: Path, name: str, *names: str) -> None:
    """Build a library that defines functions with hidden visibility."""
    functions = "".join(f"void *{n}(long x) {{ return (void *)(x & 0); }}\n" for n in names)
    uses = "".join(f"{n}(1);" for n in names)
    flags = ["-fno-builtin", "-fvisibility=hidden", "-O0"]
    exported = '__attribute__((visibility("default")))'
    source = f"{functions}{exported} void work(void) {{ {uses} }}"
    build_elf(root / f"lib/{name}", soname=name, source=source, flags=flags)


@pytest.mark.parametrize(
    ("names", "shared", "severity"),
    [
        (("malloc", "free"), True, "error"),
        (("malloc", "free"), False, "warning"),
        (("je_malloc", "je_free"), True, "warning"),
        (("je_malloc", "je_free"), False, None),
        (("xmalloc", "xfree"), True, None),
    ],
)
def test_bf305_reports_an_allocator_that_a_library_hides(
    tmp_path: Path, check: Check, names: tuple[str, ...], shared: bool, severity: str | None
) -> None:
    build_hidden_functions(tmp_path, "libengine.so.1", *names)
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    needed = ["libone.so.1", "libengine.so.1"] if shared else ["libengine.so.1"]
    build_server(tmp_path, *needed)
    found = check("BF305")
    assert [(f.severity, f.path) for f in found] == (
        [(severity, "lib/libengine.so.1")] if severity else []
    )
    if severity == "error":
        assert found[0].message == (
            "contains a statically linked allocator (free, malloc); the process of bin/server uses"
            " lib/libone.so.1"
        )


def test_bf305_recognizes_a_stripped_allocator_by_its_messages(
    tmp_path: Path, check: Check
) -> None:
    source = 'const char *get_message(void) { return "<jemalloc>: out of memory\\n"; }'
    path = build_elf(tmp_path / "lib/libengine.so.1", soname="libengine.so.1", source=source)
    subprocess.run(["strip", path], check=True)
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path, "libone.so.1", "libengine.so.1")
    (finding,) = check("BF305")
    assert 'its message "<jemalloc>:"' in finding.message


def test_bf305_does_not_report_the_allocator_itself(tmp_path: Path, check: Check) -> None:
    own = "void *je_malloc(long n) { return (void *)(n & 0); }"
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1", ALLOCATOR + own)
    build_server(tmp_path, "libone.so.1")
    assert check("BF305") == []
