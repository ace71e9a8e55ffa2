"""The libraries that come with a C library, which the target has whenever it can run a program.

Most belong to the dynamic loader that the kernel starts (the interpreter, an absolute path), so a
pack must leave them to the host. Names: glibc 2.17 to 2.42 (shlib-versions), musl 1.1 and 1.2.
"""

from __future__ import annotations

import re
from functools import cache

OLDEST_GLIBC = "2.17"
"""The oldest glibc that anything here is about: that of CentOS 7 and of manylinux2014."""

GLIBC_LIBRARIES = {
    **dict.fromkeys((
        "libBrokenLocale.so.1", "libanl.so.1", "libc.so.6", "libdl.so.2", "libm.so.6",
        "libnsl.so.1", "libnss_compat.so.2", "libnss_db.so.2", "libnss_dns.so.2",
        "libnss_files.so.2", "libnss_hesiod.so.2", "libpthread.so.0", "libresolv.so.2",
        "librt.so.1", "libthread_db.so.1", "libutil.so.1", "libc.so.6.1", "libm.so.6.1",
    ), OLDEST_GLIBC),
    "libmvec.so.1": "2.22",
    "libc_malloc_debug.so.0": "2.34",
}  # fmt: skip
"""glibc's own libraries with the version that added each; `OLDEST_GLIBC` for older ones."""

COMPANIONS = frozenset({"libcrypt.so.1"})
"""Libraries that every glibc had until they became projects of their own (libxcrypt, in 2018): a
target has them, but a pack may bring its own, which need not match the loader."""

LOADER_NAME = re.compile(r"ld(64|-linux(-[\w.-]+)?|-musl-[\w.-]+|-lsb(-[\w.-]+)?)?\.so\.\d+")
"""Sonames of dynamic loaders: ld-linux-x86-64.so.2, ld64.so.1, ld-musl-aarch64.so.1, …"""

MUSL_LIBC_NAME = re.compile(r"libc\.musl-[\w-]+\.so\.1|libc\.so")

VDSO_NAME = re.compile(r"linux-(vdso|gate)\d*\.so\.1")

COMMON_LIBRARIES = frozenset(
    {
        "libgcc_s.so.1", "libstdc++.so.6", "libatomic.so.1", "libgomp.so.1", "libz.so.1",
        "libexpat.so.1", "libX11.so.6", "libXext.so.6", "libXrender.so.1", "libICE.so.6",
        "libSM.so.6", "libGL.so.1", "libEGL.so.1", "libglib-2.0.so.0", "libgobject-2.0.so.0",
        "libgthread-2.0.so.0", "libgmodule-2.0.so.0",
    }
)  # fmt: skip
"""Libraries that nearly every distribution installs: those of PEP 600's policies
(manylinux_2_17 and later), with the compiler's run-time libraries. A pack that leaves them to the
host works in most places; whether it should is its maker's decision."""


def is_installed_with_libc(name: str) -> bool:
    """Whether every target has ``name`` with its C library."""
    return name in COMPANIONS or is_part_of_libc(name)


def is_part_of_libc(name: str) -> bool:
    """Whether ``name`` must be the target's own: of the C library, or the loader itself."""
    return name in GLIBC_LIBRARIES or any(
        p.fullmatch(name) for p in (LOADER_NAME, MUSL_LIBC_NAME, VDSO_NAME)
    )


@cache
def read_glibc_exports() -> frozenset[bytes]:
    """What glibc's libraries export under names that are not reserved for the implementation.

    glibc_exports.txt has those of glibc 2.36 (``readelf --dyn-syms`` of all its libraries).
    """
    from importlib.resources import files

    return frozenset(files(__package__).joinpath("glibc_exports.txt").read_bytes().split())


def is_in_glibc(name: str, version: str) -> bool:
    """Whether glibc of ``version`` had ``name`` already, if it is one of glibc's own."""
    since = GLIBC_LIBRARIES.get(name, OLDEST_GLIBC)
    return since == OLDEST_GLIBC or _parse_version(since) <= _parse_version(version)


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
