"""The libraries that come with the C library: every target that can run the program has them.

Most must match the dynamic loader that the kernel starts (the interpreter, an absolute path), so a
pack must leave them to the host. Names: glibc 2.17 to 2.42 (shlib-versions), musl 1.1 and 1.2.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache, lru_cache


class Libc(Enum):
    """The C library of a process, to which its dynamic loader belongs."""

    GLIBC = "glibc"
    MUSL = "musl"


OLDEST_GLIBC = "2.17"
"""The oldest supported glibc: the one of CentOS 7 and manylinux2014."""

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
"""glibc's own libraries and the version that added each; `OLDEST_GLIBC` for older ones."""

TARGETS_WITHOUT = {
    "libcrypt.so.1": "Fedora, RHEL 9 and Arch",
    "libnsl.so.1": "Fedora and RHEL 8",
    "libtirpc.so.3": "minimal installations",
    **dict.fromkeys(
        ("libncurses.so.5", "libncursesw.so.5", "libtinfo.so.5"), "RHEL 8, Debian 13 and Arch"
    ),
    **dict.fromkeys(("libssl.so.1.1", "libcrypto.so.1.1"), "RHEL 9, Debian 12 and Ubuntu 22.04"),
    **dict.fromkeys(("libssl.so.10", "libcrypto.so.10"), "RHEL 8, Debian and Ubuntu"),
    **dict.fromkeys(("libssl.so.3", "libcrypto.so.3"), "RHEL 8, Debian 11 and Ubuntu 20.04"),
    "libffi.so.6": "RHEL 9, Debian 11 and Ubuntu 20.04",
    "libffi.so.7": "RHEL, Debian 12 and Ubuntu 22.04",
    "libreadline.so.7": "RHEL 9, Debian 11 and Ubuntu 20.04",
    "libpng12.so.0": "Debian 9, Ubuntu 18.04 and Arch",
    "libpcre.so.3": "RHEL, Fedora and Arch",
    "libgfortran.so.3": "RHEL 8, Debian 11 and Ubuntu 20.04",
}  # fmt: skip
"""Libraries of current or former distributions, and some targets that do not install them.

libcrypt left glibc in 2018 (libxcrypt; PEP 599 removed it from manylinux2014): Fedora, RHEL 9, Arch
and Amazon Linux 2023 have it in libxcrypt-compat. The stubs of libnsl are a package of their own
since glibc 2.32. The Debian and Ubuntu entries are those of packages.debian.org and
packages.ubuntu.com; those of RHEL, Fedora and Arch name the releases that are known to lack them,
and may not be complete.
"""

LOADER_NAME = re.compile(r"ld(64|-linux(-[\w.-]+)?|-musl-[\w.-]+|-lsb(-[\w.-]+)?)?\.so\.\d+")
"""Sonames of dynamic loaders: ld-linux-x86-64.so.2, ld64.so.1, ld-musl-aarch64.so.1, …"""

MUSL_LOADER_NAME = re.compile(r"ld-musl-([\w.-]+?)\.so\.1")
MUSL_LIBC_NAME = re.compile(r"libc\.musl-[\w-]+\.so\.1|libc\.so")
"""Names under which objects need musl: on Alpine (libc.musl-x86_64.so.1), and without a patch."""
MUSL_OWN_PREFIXES = tuple(
    f"lib{name}." for name in ("c", "pthread", "rt", "m", "dl", "util", "xnet")
)
"""Beginnings of the names that resolve to musl itself (ldso/dynlink.c, load_library)."""

VDSO_NAME = re.compile(r"linux-(vdso|gate)\d*\.so\.1")

COMMON_LIBRARIES = frozenset(
    {
        "libgcc_s.so.1", "libstdc++.so.6", "libatomic.so.1", "libgomp.so.1", "libz.so.1",
        "libexpat.so.1", "libX11.so.6", "libxcb.so.1", "libXext.so.6", "libXrender.so.1",
        "libICE.so.6", "libSM.so.6", "libGL.so.1", "libEGL.so.1", "libglib-2.0.so.0",
        "libgobject-2.0.so.0", "libgthread-2.0.so.0", "libgmodule-2.0.so.0",
    }
)  # fmt: skip
"""Libraries that nearly every distribution installs: those of PEP 600's policies
(manylinux_2_17 and later), libxcb, which libX11 needs, and the compiler's run-time libraries. A
pack without them works on most hosts; whether that is enough is the decision of its author."""

MUSLLINUX_LIBRARIES = frozenset({"libz.so.1"})
"""The only library, apart from musl, that a musllinux wheel may leave to the host (auditwheel's
policies for PEP 656): Alpine's package manager needs it."""

OPTIONAL_LIBRARIES = frozenset({"libcrypt.so.1", "libnsl.so.1"})
"""Names of `TARGETS_WITHOUT` that every glibc had once, and that many targets still have."""


def is_installed_with_libc(name: str, libc: Libc) -> bool:
    """Return whether every target with ``libc`` has ``name``, because it comes with it.

    musl has no other libraries: the rest of glibc's names, such as libresolv.so.2 and
    ld-linux-x86-64.so.2, only exist if gcompat is installed.
    """
    return is_part_of_libc(name, libc) and (libc is Libc.MUSL or name not in TARGETS_WITHOUT)


@lru_cache(maxsize=4096)
def is_part_of_libc(name: str, libc: Libc | None = None) -> bool:
    """Return whether ``name`` is the C library, a part of it, or the loader.

    These must be the target's own. With None, the C library may be any.
    """
    if libc is Libc.MUSL:
        return is_musl_itself(name) or MUSL_LOADER_NAME.fullmatch(name) is not None
    if libc is Libc.GLIBC and (MUSL_LIBC_NAME.fullmatch(name) or MUSL_LOADER_NAME.fullmatch(name)):
        return False
    return name in GLIBC_LIBRARIES or any(
        p.fullmatch(name) for p in (LOADER_NAME, MUSL_LIBC_NAME, VDSO_NAME)
    )


def is_musl_itself(name: str) -> bool:
    """Return whether a needed name resolves to musl's loader, whatever files there are."""
    return name.startswith(MUSL_OWN_PREFIXES)


@cache
def read_musl_exports() -> frozenset[bytes]:
    """Return the symbols that some version of musl provides.

    musl_exports.txt was made with ``readelf --dyn-syms`` of musl 1.2.3 and 1.2.6 for x86-64. Added
    were the symbols of other machines (src/*/*.s) and the names that only the loader knows
    (ldso/dynlink.c, get_lfs64).
    """
    return _read_export_list("musl_exports.txt")


@cache
def read_glibc_exports() -> frozenset[bytes]:
    """Return the symbols of glibc 2.36 whose names are not reserved for the implementation.

    glibc_exports.txt was made with ``readelf --dyn-syms`` of all its libraries.
    """
    return _read_export_list("glibc_exports.txt")


def _read_export_list(file_name: str) -> frozenset[bytes]:
    from importlib.resources import files

    return frozenset(files(__package__).joinpath(file_name).read_bytes().split())


def is_in_glibc(name: str, version: str) -> bool:
    """Return whether glibc ``version`` has the library ``name``, which is one of glibc's own."""
    since = GLIBC_LIBRARIES.get(name, OLDEST_GLIBC)
    return since == OLDEST_GLIBC or parse_version(since) <= parse_version(version)


@lru_cache(maxsize=1024)
def parse_version(text: str) -> tuple[int, ...]:
    """Parse the number of a version: ``2.17`` gives (2, 17)."""
    return tuple(int(part) for part in text.split("."))
