"""BF301 to BF303 and BF306: the allocator of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check

ALLOCATOR = """
#include <stddef.h>
void *malloc(size_t n) { return (void *)(n & 0); }
void free(void *p) { (void)p; }
"""
MAPS = "#include <sys/mman.h>\nvoid *m(void) { return mmap(0, 1, 0, 0, 0, 0); }"
WRAPPER = "void free(void *p) { (void)p; }"


def build_allocator(path: Path, soname: str, source: str = ALLOCATOR) -> None:
    build_elf(path, soname=soname, source=source, flags=["-fno-builtin"])


def build_server(root: Path, *needed: str) -> None:
    build_elf(root / "bin/server", program=True, needed=needed, runpath="$ORIGIN/../lib")


def test_bf301_reports_two_allocators_of_one_process(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_allocator(tmp_path / "lib/libtwo.so.1", "libtwo.so.1")
    build_server(tmp_path, "libone.so.1", "libtwo.so.1")
    (finding,) = check("BF301")
    assert finding.message == ("has 2 allocators in its process: lib/libone.so.1, lib/libtwo.so.1")


def test_bf301_counts_a_static_copy_in_the_program(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    main = "int main(void) { return 0; }"
    build_elf(
        tmp_path / "bin/server",
        program=True,
        needed=["libone.so.1"],
        runpath="$ORIGIN/../lib",
        source=ALLOCATOR + main,
        flags=["-fno-builtin", "-rdynamic"],
    )
    (finding,) = check("BF301")
    assert [a["path"] for a in finding.evidence["allocators"]] == ["bin/server", "lib/libone.so.1"]


def test_bf301_is_silent_about_one_allocator_and_a_wrapper(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_allocator(tmp_path / "lib/libwrap.so.1", "libwrap.so.1", WRAPPER)
    build_server(tmp_path, "libone.so.1", "libwrap.so.1")
    assert check("BF301") == []


def test_bf301_recognizes_the_hosts_tcmalloc_by_its_name(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path, "libone.so.1", "libtcmalloc.so.4")
    (finding,) = check("BF301", host=("libtcmalloc.so.4",))
    assert [a["origin"] for a in finding.evidence["allocators"]] == ["bundle", "host"]


def test_bf302_reports_an_allocator_after_the_c_library(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libone.so.1"], runpath="$ORIGIN"
    )
    build_server(tmp_path, "liba.so.1")
    (finding,) = check("BF302")
    assert finding.message == (
        "uses malloc of libc.so.6, which comes before lib/libone.so.1 in lookup order (needed by"
        " lib/liba.so.1)"
    )


def test_bf302_is_silent_if_the_allocator_comes_first(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path, "libone.so.1")
    assert check("BF302") == []


def test_bf303_reports_an_allocator_that_the_policy_does_not_list(
    tmp_path: Path, check: Check
) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path, "libone.so.1")
    (finding,) = check("BF303", allocators=("libtcmalloc.so.4",))
    assert finding.evidence["allocator"] == "lib/libone.so.1"
    assert check("BF303", allocators=("libone.so.1",)) == []
    assert check("BF303") == []


def test_bf301_reports_two_allocators_of_a_plugin(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_allocator(tmp_path / "lib/libtwo.so.1", "libtwo.so.1")
    build_elf(tmp_path / "lib/plugin.so", needed=["libone.so.1", "libtwo.so.1"], runpath="$ORIGIN")
    build_elf(tmp_path / "bin/x", program=True)
    assert [(f.severity, f.path) for f in check("BF301")] == [("warning", "lib/plugin.so")]


@pytest.mark.parametrize("maps", ["", MAPS])
def test_bf301_does_not_count_a_wrapper_that_forwards_calls(
    tmp_path: Path, check: Check, maps: str
) -> None:
    wrapper = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stddef.h>
    void *malloc(size_t n) { return ((void *(*)(size_t))dlsym(RTLD_NEXT, "malloc"))(n); }
    void free(void *p) { ((void (*)(void *))dlsym(RTLD_NEXT, "free"))(p); }
    """
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_allocator(tmp_path / "lib/libwrap.so.1", "libwrap.so.1", wrapper + maps)
    build_server(tmp_path, "libwrap.so.1", "libone.so.1")
    for rule in ("BF301", "BF302", "BF304"):
        assert check(rule) == []


def test_bf301_counts_an_allocator_that_looks_up_other_names(tmp_path: Path, check: Check) -> None:
    """Like jemalloc, which wraps pthread_create."""
    looks = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <sys/mman.h>
    void *l(void) { return mmap(0, 1, 0, 0, 0, 0) ? dlsym(RTLD_NEXT, "pthread_create") : 0; }
    """
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_allocator(tmp_path / "lib/libtwo.so.1", "libtwo.so.1", looks + ALLOCATOR)
    build_server(tmp_path, "libone.so.1", "libtwo.so.1")
    assert len(check("BF301")) == 1


def test_bf301_lists_the_providers_of_each_function_in_lookup_order(
    tmp_path: Path, check: Check
) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    new = '#include <stddef.h>\nvoid *n(size_t s) __asm__("_Znwm"); void *n(size_t s) { return 0; }'
    build_allocator(tmp_path / "lib/libtwo.so.1", "libtwo.so.1", ALLOCATOR + new)
    build_server(tmp_path, "libone.so.1", "libtwo.so.1")
    (finding,) = check("BF301")
    both = ["lib/libone.so.1", "lib/libtwo.so.1"]
    assert finding.evidence["providers"] == {
        "malloc": [*both, "/lib64/libc.so.6"],
        "free": [*both, "/lib64/libc.so.6"],
        "_Znwm": ["lib/libtwo.so.1"],
    }


def test_bf303_reports_programs_without_the_expected_allocator(
    tmp_path: Path, check: Check
) -> None:
    build_server(tmp_path)
    (finding,) = check("BF303", allocators=("libone.so.1",))
    assert finding.severity == "warning"
    assert finding.message == (
        "uses malloc of the C library; [check] allocators requires libone.so.1"
    )


@pytest.mark.parametrize(
    ("has_copy", "host", "severity"),
    [
        (True, (), "warning"),
        (False, ("libtcmalloc.so.*",), "note"),
    ],
)
def test_bf306_reports_an_allocator_of_the_host(
    tmp_path: Path, check: Check, has_copy: bool, host: tuple[str, ...], severity: str
) -> None:
    if has_copy:
        build_allocator(tmp_path / "lib/libtcmalloc.so.4", "libtcmalloc.so.4")
    build_elf(tmp_path / "bin/server", program=True, needed=["libtcmalloc.so.4"])
    (finding,) = check("BF306", host=host)
    assert (finding.severity, finding.path) == (severity, "bin/server")
    assert finding.message.startswith("uses malloc of the host's /lib64/libtcmalloc.so.4")


def test_bf306_is_silent_about_the_packs_own_allocator(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libtcmalloc.so.4", "libtcmalloc.so.4")
    build_server(tmp_path, "libtcmalloc.so.4")
    assert check("BF306") == []
