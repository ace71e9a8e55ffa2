"""Two packs for every rule: a bad one that has the problem, and a good one that nearly has it.

Each is the smallest pack that shows the difference; the tests of a rule's module cover the rest. A
rule without a case fails `test_every_rule.py`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from builders.dlopen import make_dlopen_source
from builders.elf import CROSS
from builders.pack import make_healthy_pack, make_incident_pack
from bundle_fix.policy.policy import AcceptedFinding

from .packs import (
    ALLOCATOR,
    EMPTY_MAIN,
    HIDDEN_ALLOCATOR,
    LIB,
    PLUG_NOTE,
    RUNTIME_FUNCTIONS,
    build_allocator_after_libc,
    build_allocators,
    build_bundled_libc,
    build_caller_of_greet,
    build_chain_of_libraries,
    build_compiled_in_directory,
    build_copies,
    build_distribution_package,
    build_dlopen_caller,
    build_dlopened_allocator,
    build_host_that_requires_v2,
    build_hwcaps_copy,
    build_library,
    build_library_for_host,
    build_library_for_system,
    build_library_that_calls,
    build_mismatched_heaps,
    build_openmp_users,
    build_pinned_program,
    build_plugin_of_program,
    build_plugin_with_tls,
    build_position_dependent_library,
    build_program,
    build_program_and_library,
    build_program_with_both_tags,
    build_program_with_string,
    build_server,
    build_set_uid_program,
    build_stale_symlink,
    build_static_allocator,
    build_static_runtime,
    build_symlink,
    build_truncated_library,
    build_two_search_paths,
    build_two_versions,
    build_unique_copies,
    build_user_of_symbol,
    write_npm_package,
    write_pack_with_manifest,
    write_tarball,
    write_tarball_of_type,
    write_text_beside_library,
    write_unpacked_wheel,
    write_wheel_with_tool,
)

Build = Callable[[Path], object]
"""A function that builds a pack at a path."""


@dataclass(frozen=True)
class Case:
    """Two packs, and how they are checked.

    Attributes:
        bad: builds a pack with the problem.
        good: builds a similar pack without it.
        policy: the fields of the policy.
        good_policy: the fields of the policy for the good pack, if they differ.
        hostile: whether the environment is hostile.
        host: builds the root file system of the target; an adversarial host if it is None.
    """

    bad: Build
    good: Build
    policy: Mapping[str, Any] = field(default_factory=dict)
    good_policy: Mapping[str, Any] | None = None
    hostile: bool = False
    host: Build | None = None


ACCEPTED = (AcceptedFinding("BF505", "bin/*", "until 2.6"),)

CASES: Mapping[str, Case] = {
    "BF001": Case(
        build_program, partial(build_program, source=EMPTY_MAIN), {"ignore": ACCEPTED}, {}
    ),
    "BF002": Case(lambda r: write_tarball(r, "a"), build_program, {"allow_empty": False}),
    "BF101": Case(lambda r: build_server(r, "libgone.so.1"), build_program_and_library),
    "BF102": Case(make_incident_pack, make_healthy_pack),
    "BF103": Case(
        partial(build_library, at="lib/liba.so"), partial(build_library, at="lib/liba.so.1")
    ),
    "BF104": Case(
        partial(build_symlink, target="gone"), partial(build_symlink, target="liba.so.1")
    ),
    "BF105": Case(partial(build_symlink, target="/lib/x"), partial(build_symlink, target="../lib")),
    "BF106": Case(lambda r: build_copies(r, "1", "2"), lambda r: build_copies(r, "1", "1")),
    "BF107": Case(build_program_and_library, build_pinned_program, hostile=True),
    "BF108": Case(
        lambda r: build_dlopen_caller(r, make_dlopen_source("libplug.so.1")),
        lambda r: build_dlopen_caller(r, make_dlopen_source("libother.so.1")),
    ),
    "BF109": Case(
        lambda r: build_dlopen_caller(r, PLUG_NOTE, has_library=False),
        lambda r: build_dlopen_caller(r, PLUG_NOTE, "$ORIGIN"),
    ),
    "BF110": Case(lambda r: build_server(r, "libz.so.1"), lambda r: build_server(r, "libm.so.6")),
    "BF111": Case(
        lambda r: build_dlopen_caller(r, PLUG_NOTE),
        lambda r: build_dlopen_caller(r, PLUG_NOTE, "$ORIGIN"),
    ),
    "BF112": Case(
        partial(build_bundled_libc, runpath=LIB), partial(build_bundled_libc, runpath=None)
    ),
    "BF113": Case(
        partial(build_hwcaps_copy, soname=None), partial(build_hwcaps_copy, soname="liba.so.1")
    ),
    "BF114": Case(
        partial(build_compiled_in_directory, path="/usr/lib/xplug"),
        partial(build_compiled_in_directory, path="/usr/share/doc/xplug"),
    ),
    "BF115": Case(
        partial(build_stale_symlink, target="libb.so.1.0"),
        partial(build_stale_symlink, target="libb.so.2.0"),
    ),
    "BF116": Case(
        lambda r: build_library(r, "libcuda.so.1"), lambda r: build_library(r, "libcudart.so.1")
    ),
    "BF201": Case(
        partial(build_chain_of_libraries, runpath=None),
        partial(build_chain_of_libraries, runpath="$ORIGIN"),
    ),
    "BF117": Case(
        partial(build_program_and_library, source="int unused(void) { return 1; }"),
        build_program_and_library,
    ),
    "BF202": Case(
        partial(build_program_and_library, runpath=f"/opt/x:{LIB}"), build_program_and_library
    ),
    "BF203": Case(
        partial(build_program_and_library, runpath=f"lib:{LIB}"), build_program_and_library
    ),
    "BF204": Case(
        partial(build_program_and_library, runpath=f"$ORIGIN/../../x:{LIB}"),
        build_program_and_library,
    ),
    "BF205": Case(build_program_with_both_tags, build_program_and_library),
    "BF206": Case(
        partial(build_program_and_library, runpath=f"$ORIGIN/gone:{LIB}"), build_program_and_library
    ),
    "BF207": Case(
        partial(build_set_uid_program, runpath=LIB),
        partial(build_set_uid_program, runpath="/opt/pack/lib"),
    ),
    "BF208": Case(
        partial(build_distribution_package, runpath="/home/ci/server/build/lib"),
        partial(build_distribution_package, runpath="/usr/lib/homebrew/build/lib"),
    ),
    "BF301": Case(
        lambda r: build_allocators(r, "libone.so.1", "libtwo.so.1"),
        lambda r: build_allocators(r, "libone.so.1"),
    ),
    "BF302": Case(build_allocator_after_libc, lambda r: build_allocators(r, "libone.so.1")),
    "BF303": Case(
        lambda r: build_allocators(r, "libone.so.1"),
        lambda r: build_allocators(r, "libtwo.so.1"),
        {"allocators": ("libtwo.so.1",)},
    ),
    "BF304": Case(
        partial(build_mismatched_heaps, source="void free(void *p) { (void)p; }"),
        partial(build_mismatched_heaps, source="void release(void *p) { (void)p; }"),
    ),
    "BF305": Case(
        partial(build_static_allocator, source=HIDDEN_ALLOCATOR),
        partial(build_static_allocator, source=ALLOCATOR),
    ),
    "BF306": Case(
        lambda r: build_server(r, "libtcmalloc.so.4"),
        lambda r: build_allocators(r, "libtcmalloc.so.4"),
        {"host": ("libtcmalloc.so.4",)},
    ),
    "BF307": Case(build_dlopened_allocator, lambda r: build_dlopened_allocator(r, "libone.so.1")),
    "BF308": Case(
        partial(build_library_that_calls, call='dlmopen(LM_ID_NEWLM, "x", RTLD_NOW)'),
        partial(build_library_that_calls, call='dlopen("x", RTLD_NOW)'),
    ),
    "BF310": Case(build_two_versions, partial(build_two_versions, user="only1")),
    "BF311": Case(
        lambda r: build_static_runtime(r, *RUNTIME_FUNCTIONS),
        lambda r: build_static_runtime(r, "__cxa_throw"),
    ),
    "BF312": Case(
        lambda r: build_openmp_users(r, "GOMP_parallel", "__kmpc_fork_call"),
        lambda r: build_openmp_users(r, "GOMP_parallel"),
    ),
    "BF313": Case(
        lambda r: build_unique_copies(r, "shared", "shared"),
        lambda r: build_unique_copies(r, "one", "other"),
    ),
    "BF314": Case(
        partial(build_two_search_paths, runpath="$ORIGIN"),
        partial(build_two_search_paths, runpath=LIB),
    ),
    "BF401": Case(build_program, build_program, {"glibc": "2.2"}, {"glibc": "9.9"}),
    "BF402": Case(
        partial(build_user_of_symbol, symbol="_dl_signal_error"),
        partial(build_user_of_symbol, symbol="abs"),
    ),
    "BF404": Case(
        lambda r: build_caller_of_greet(r, "V_1"), lambda r: build_caller_of_greet(r, "V_1", "V_2")
    ),
    "BF405": Case(
        lambda r: build_caller_of_greet(r, "V_1", "V_2", symbol="other"),
        lambda r: build_caller_of_greet(r, "V_1", "V_2"),
    ),
    "BF406": Case(
        lambda r: build_library_for_host(r, "V_1"),
        lambda r: build_library_for_host(r, "V_1", "V_2"),
        host=build_host_that_requires_v2,
    ),
    "BF407": Case(
        partial(build_program_and_library, toolchain=CROSS["aarch64"]), build_program_and_library
    ),
    "BF408": Case(lambda r: build_program(r, "-Wl,-z,x86-64-v3"), build_program),
    "BF409": Case(
        partial(build_program_and_library, needed=["libc.musl-x86_64.so.1"], flags=["-nolibc"]),
        build_program_and_library,
    ),
    "BF410": Case(
        partial(build_library_for_system, abi=9), partial(build_library_for_system, abi=3)
    ),
    "BF412": Case(
        lambda r: build_plugin_of_program(r, "one"),
        lambda r: build_plugin_of_program(r, "one", "two"),
    ),
    "BF413": Case(build_caller_of_greet, lambda r: build_caller_of_greet(r, "V_1", "V_2")),
    "BF414": Case(
        lambda r: build_plugin_with_tls(r, 2000, "-ftls-model=initial-exec"),
        lambda r: build_plugin_with_tls(r, 2000),
    ),
    "BF501": Case(partial(build_program, mode=0o644), build_program),
    "BF502": Case(lambda r: build_program(r, "-Wl,-z,execstack"), build_program),
    "BF503": Case(
        partial(build_position_dependent_library, flag="-Wl,-z,notext"),
        partial(build_position_dependent_library, flag=""),
    ),
    "BF504": Case(lambda r: build_program(r, "-Wl,-z,norelro"), build_program),
    "BF505": Case(lambda r: build_program(r, "-no-pie"), build_program),
    "BF506": Case(partial(build_program, mode=0o4755), build_program),
    "BF507": Case(lambda r: build_program(r, "-Wl,--build-id=none"), build_program),
    "BF508": Case(
        lambda r: build_program(r, "-Wl,--dynamic-linker,/nix/store/x/ld.so"), build_program
    ),
    "BF509": Case(
        partial(build_program_with_string, path="/home/ci/build/etc/server.conf"),
        partial(build_program_with_string, path="/home/%s/server.conf"),
    ),
    "BF510": Case(
        partial(build_truncated_library, keep=-1), partial(build_truncated_library, keep=0)
    ),
    "BF620": Case(partial(write_pack_with_manifest, size="4"), write_pack_with_manifest),
    "BF621": Case(partial(write_pack_with_manifest, schema=2), write_pack_with_manifest),
    "BF622": Case(partial(write_pack_with_manifest, sha256="0" * 64), write_pack_with_manifest),
    "BF623": Case(partial(write_pack_with_manifest, path="version"), write_pack_with_manifest),
    "BF624": Case(partial(write_pack_with_manifest, path=""), write_pack_with_manifest),
    "BF625": Case(partial(write_pack_with_manifest, mode="0600"), write_pack_with_manifest),
    "BF601": Case(lambda r: write_tarball(r, "a", "a"), lambda r: write_tarball(r, "a", "b")),
    "BF602": Case(
        lambda r: write_tarball(r, "d/X", "d/x"), lambda r: write_tarball(r, "D/X", "e/x")
    ),
    "BF603": Case(
        partial(write_tarball_of_type, kind=tarfile.FIFOTYPE),
        partial(write_tarball_of_type, kind=tarfile.REGTYPE),
    ),
    "BF604": Case(lambda r: write_tarball(r, "a\n", "b"), lambda r: write_tarball(r, "ä", "b")),
    "BF605": Case(
        lambda r: write_tarball(r, "a", owner=1001), lambda r: write_tarball(r, "b", "a")
    ),
    "BF606": Case(
        partial(write_npm_package, symlink=True), partial(write_npm_package, symlink=False)
    ),
    "BF607": Case(
        lambda r: write_text_beside_library(r, "liba.so.1"),
        lambda r: write_text_beside_library(r, "INPUT(liba.so.1)"),
    ),
    "BF640": Case(
        partial(write_unpacked_wheel, is_correct=False),
        partial(write_unpacked_wheel, is_correct=True),
    ),
    "BF641": Case(
        partial(
            write_wheel_with_tool,
            directory="demo-1.0.data/scripts",
            runpath="$ORIGIN/../../demo/lib",
        ),
        partial(write_wheel_with_tool, directory="demo/bin", runpath=LIB),
    ),
}
