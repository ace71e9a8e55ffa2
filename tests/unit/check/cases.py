"""For every rule a pack that trips it, and one that nearly does.

Each is the smallest real pack that shows the difference; what a rule does besides is told in the
tests of its own. A rule without a case fails `test_every_rule.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from builders.dlopen import make_dlopen_note_source, make_dlopen_source
from builders.elf import CROSS, build_elf, build_versioned_library
from builders.loaders import X86_64_LOADER, copy_into, list_with_real_loader
from builders.pack import make_healthy_pack, make_incident_pack
from builders.wheel import INFO, METADATA, format_record_line
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.policy.policy import AcceptedFinding

LIB = "$ORIGIN/../lib"
ALLOCATOR = """
#include <stddef.h>
void *malloc(size_t n) { return (void *)(n & 0); }
void free(void *p) { (void)p; }
"""
HIDDEN = """
#define HIDE __attribute__((visibility("hidden")))
HIDE void *malloc(long n) { return (void *)(n & 0); }
HIDE void free(void *p) { (void)p; }
void work(void) { free(malloc(1)); }
"""
EMPTY = "int main(void) { return 0; }"
Build = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """Two packs, what is expected of both, and where they are to run.

    ``trips`` and ``nearly`` make a pack in a folder; ``near`` is what is expected of the second
    where that differs. ``host`` makes a root file system beside it.
    """

    trips: Build
    nearly: Build
    expected: Mapping[str, Any] = field(default_factory=dict)
    near: Mapping[str, Any] | None = None
    hostile: bool = False
    host: Build | None = None


def server(root: Path, *needed: str, runpath: str | None = LIB, **more: Any) -> None:
    build_elf(root / "bin/server", program=True, needed=needed, runpath=runpath, **more)


def library(root: Path, name: str = "liba.so.1", at: str = "", **more: Any) -> None:
    build_elf(root / (at or f"lib/{name}"), soname=more.pop("soname", name), **more)


def with_library(root: Path, runpath: str | None = LIB, **more: Any) -> None:
    """A program and the library it needs."""
    library(root, **more)
    server(root, "liba.so.1", runpath=runpath)


def with_link(root: Path, target: str) -> None:
    library(root)
    (root / "lib/link").symlink_to(target)


def branded(root: Path, abi: int) -> None:
    """A library that says in its header which system it is for."""
    with_library(root)
    library(root, "libb.so.1")
    data = bytearray((root / "lib/libb.so.1").read_bytes())
    data[7] = abi
    (root / "lib/libb.so.1").write_bytes(data)


def cut(root: Path, keep: int) -> None:
    """A library that ends where what is loaded of it ends, or before that."""
    with_library(root)
    path = root / "lib/liba.so.1"
    image = read_image_at(path)
    assert image is not None
    os.truncate(path, max(s.file_end for s in image.find_loads()) + keep)


def with_both(root: Path) -> None:
    """A program whose DT_DEBUG, which only debuggers write to, became a DT_RUNPATH."""
    server(root, runpath=None, rpath=LIB)
    path = root / "bin/server"
    image = read_image_at(path)
    assert image is not None
    segment = next(s for s in image.segments if s.type == c.PT_DYNAMIC)
    place = [entry.tag for entry in image.dynamic or ()].index(c.DT_DEBUG)
    data, size = bytearray(path.read_bytes()), image.format.dynamic.size
    at = segment.offset + place * size
    data[at : at + size] = image.format.dynamic.pack(c.DT_RUNPATH, image.find_value(c.DT_RPATH))
    path.write_bytes(data)


def two_files(root: Path, *tags: str) -> None:
    for number, tag in enumerate(tags):
        library(root, at=f"{number}/liba.so.1", tag=tag)
    server(root, "liba.so.1", runpath="$ORIGIN/../0")


def pinned(root: Path) -> None:
    library(root)
    server(root, f"{LIB}/liba.so.1", runpath=None)


def opener(root: Path, source: str, runpath: str | None = None, *, has: bool = True) -> None:
    """A program whose library opens libplug.so.1."""
    library(root, source=source, runpath=runpath)
    if has:
        library(root, "libplug.so.1")
    server(root, "liba.so.1")


PLUG = make_dlopen_note_source([{"soname": ["libplug.so.1"], "priority": "required"}])


def hwcaps(root: Path, soname: str | None) -> None:
    with_library(root, tag="same")
    library(root, at="lib/glibc-hwcaps/x86-64-v3/liba.so.1", soname=soname, tag="same")


def set_uid(root: Path, runpath: str) -> None:
    with_library(root, runpath)
    (root / "bin/server").chmod(0o4755)


def allocators(root: Path, *names: str) -> None:
    for name in names:
        library(root, name, source=ALLOCATOR, flags=["-fno-builtin"])
    server(root, *names)


def behind_libc(root: Path) -> None:
    library(root, "libone.so.1", source=ALLOCATOR, flags=["-fno-builtin"])
    library(root, needed=["libone.so.1"], runpath="$ORIGIN")
    server(root, "liba.so.1")


def mismatched(root: Path, source: str) -> None:
    library(root, "liba.so.1", source=source, flags=["-fno-builtin"])
    allocators(root, "libone.so.1")
    server(root, "liba.so.1", "libone.so.1")


def hiding(root: Path, source: str) -> None:
    library(root, source=source, flags=["-fno-builtin"])
    server(root, "liba.so.1")


def late(root: Path, *needed: str) -> None:
    library(root, "libone.so.1", source=ALLOCATOR, flags=["-fno-builtin"])
    library(root, at="plugins/p.so", soname=None, needed=["libone.so.1"], runpath=LIB)
    server(root, *needed)


def opening(root: Path, call: str) -> None:
    source = f"#define _GNU_SOURCE\n#include <dlfcn.h>\nvoid *f(void) {{ return {call}; }}"
    library(root, source=source)


def private(root: Path, symbol: str) -> None:
    use = f"extern int {symbol}(int); int main(void) {{ return {symbol}(0); }}"
    server(root, source=use, flags=["-Wl,--allow-shlib-undefined", "-fno-builtin"])


def calling(root: Path, *versions: str, symbol: str = "greet") -> None:
    """A program linked with V_2 of a library, of which the pack has another copy."""
    linked = build_versioned_library(
        root / "linked/libv.so.1", "libv.so.1", "greet", ["V_1", "V_2"]
    )
    use = "extern int greet(void); int main(void) { return greet() - 7; }"
    server(root, source=use, flags=[str(linked)])
    shutil.rmtree(root / "linked")
    build_versioned_library(root / "lib/libv.so.1", "libv.so.1", symbol, versions)


def under_the_host(root: Path, *versions: str) -> None:
    build_versioned_library(root / "lib/libv.so.1", "libv.so.1", "greet", versions)
    server(root, "libv.so.1", "libhost.so.1")


def host_that_wants_v2(root: Path) -> None:
    """A root file system with this machine's C library, and a library that wants V_2."""
    for path in [
        X86_64_LOADER,
        *(path or "" for _, path in list_with_real_loader(Path("/bin/true"))),
    ]:
        copy_into(root, path)
    linked = build_versioned_library(
        root / "linked/libv.so.1", "libv.so.1", "greet", ["V_1", "V_2"]
    )
    use = "extern int greet(void); int again(void) { return greet(); }"
    for folder in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        build_elf(
            root / folder / "libhost.so.1", soname="libhost.so.1", source=use, flags=[str(linked)]
        )
    shutil.rmtree(root / "linked")


def program(root: Path, *flags: str, source: str | None = None, mode: int = 0o755) -> None:
    build_elf(
        root / "bin/server", program=True, source=source, flags=["-Wl,--build-id", *flags]
    ).chmod(mode)


def patched_code(root: Path, flag: str) -> None:
    code = {
        "-Wl,-z,notext": 'void f(void); __asm__(".text\\n.globl f\\nf: .quad f\\n");',
        "": "void f(void) { }",
    }
    library(root, source=code[flag], flags=[flag] if flag else [])


def carrying(root: Path, path: str) -> None:
    program(root, source=f'#include <stdio.h>\nint main(void) {{ return puts("{path}"); }}')


def wheel(root: Path, *, is_true: bool) -> None:
    """What a wheel unpacks to, with a RECORD that is true or nearly."""
    for name, text in {**METADATA, "RECORD": ""}.items():
        (root / INFO).mkdir(parents=True, exist_ok=True)
        (root / INFO / name).write_text(text)
    lines = [format_record_line(f"{INFO}/{n}", text.encode()) for n, text in METADATA.items()]
    lines += [f"{INFO}/RECORD,,"]
    if not is_true:
        digest = hashlib.sha256(b"").hexdigest()
        lines[0] = f"{INFO}/METADATA,sha256={digest},1"
    (root / INFO / "RECORD").write_text("\n".join(lines))


def scheme(root: Path, folder: str, runpath: str) -> None:
    wheel(root, is_true=True)
    library(root, at="demo/lib/liba.so.1")
    build_elf(root / folder / "tool", program=True, needed=["liba.so.1"], runpath=runpath)


IGNORED = (AcceptedFinding("BF505", "bin/*", "until 2.6"),)


def listed(root: Path, *, schema: int = 1, **changed: Any) -> None:
    """A pack of one text with a manifest; ``changed`` is what that says of the text instead."""
    text = b"text"
    root.mkdir(parents=True)
    (root / "VERSION").write_bytes(text)
    (root / "VERSION").chmod(0o644)
    digest = hashlib.sha256(text).hexdigest()
    record = {"path": "VERSION", "sha256": digest, "size": len(text), "mode": "0644"} | changed
    manifest = {
        "schema": schema, "tool": {"name": "bundle-fix", "version": "1"}, "name": "x",
        "files": [record] if record["path"] else [],
    }  # fmt: skip
    (root / "bundle-manifest.json").write_text(json.dumps(manifest))


def archive(path: Path, *names: str, owner: int = 0) -> None:
    """A tarball of empty files."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.uid = owner
            tar.addfile(info)


def archive_of(path: Path, kind: bytes) -> None:
    """A tarball of one member of a kind."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("run/pipe")
        info.type = kind
        tar.addfile(info)


CASES: Mapping[str, Case] = {
    "BF001": Case(program, partial(program, **{"source": EMPTY}), {"ignore": IGNORED}, {}),
    "BF101": Case(lambda r: server(r, "libgone.so.1"), with_library),
    "BF102": Case(make_incident_pack, make_healthy_pack),
    "BF103": Case(make_incident_pack, make_healthy_pack),
    "BF104": Case(partial(with_link, target="gone"), partial(with_link, target="liba.so.1")),
    "BF105": Case(partial(with_link, target="/lib/x"), partial(with_link, target="../lib")),
    "BF106": Case(lambda r: two_files(r, "1", "2"), lambda r: two_files(r, "1", "1")),
    "BF107": Case(with_library, pinned, hostile=True),
    "BF108": Case(
        lambda r: opener(r, make_dlopen_source("libplug.so.1")),
        lambda r: opener(r, make_dlopen_source("libother.so.1")),
    ),
    "BF109": Case(lambda r: opener(r, PLUG, has=False), lambda r: opener(r, PLUG, "$ORIGIN")),
    "BF110": Case(lambda r: server(r, "libz.so.1"), lambda r: server(r, "libm.so.6")),
    "BF111": Case(lambda r: opener(r, PLUG), lambda r: opener(r, PLUG, "$ORIGIN")),
    "BF112": Case(
        lambda r: (library(r, "libm.so.6"), server(r, "libm.so.6")),
        lambda r: (library(r, "libm.so.6"), server(r, "libm.so.6", runpath=None)),
    ),
    "BF113": Case(partial(hwcaps, soname=None), partial(hwcaps, soname="liba.so.1")),
    "BF201": Case(partial(with_library, runpath=None), with_library),
    "BF202": Case(partial(with_library, runpath=f"/opt/x:{LIB}"), with_library),
    "BF203": Case(partial(with_library, runpath=f"lib:{LIB}"), with_library),
    "BF204": Case(partial(with_library, runpath=f"$ORIGIN/../../x:{LIB}"), with_library),
    "BF205": Case(with_both, with_library),
    "BF206": Case(partial(with_library, runpath=f"$ORIGIN/gone:{LIB}"), with_library),
    "BF207": Case(partial(set_uid, runpath=LIB), partial(set_uid, runpath="/opt/pack/lib")),
    "BF301": Case(
        lambda r: allocators(r, "libone.so.1", "libtwo.so.1"),
        lambda r: allocators(r, "libone.so.1"),
    ),
    "BF302": Case(behind_libc, lambda r: allocators(r, "libone.so.1")),
    "BF303": Case(
        lambda r: allocators(r, "libone.so.1"), lambda r: allocators(r, "libtwo.so.1"),
        {"allocators": ("libtwo.so.1",)},
    ),
    "BF304": Case(
        partial(mismatched, source="void free(void *p) { (void)p; }"),
        partial(mismatched, source="void release(void *p) { (void)p; }"),
    ),
    "BF305": Case(partial(hiding, source=HIDDEN), partial(hiding, source=ALLOCATOR)),
    "BF306": Case(
        lambda r: server(r, "libtcmalloc.so.4"), lambda r: allocators(r, "libtcmalloc.so.4"),
        {"host": ("libtcmalloc.so.4",)},
    ),
    "BF307": Case(late, lambda r: late(r, "libone.so.1")),
    "BF308": Case(
        partial(opening, call='dlmopen(LM_ID_NEWLM, "x", RTLD_NOW)'),
        partial(opening, call='dlopen("x", RTLD_NOW)'),
    ),
    "BF401": Case(program, program, {"glibc": "2.2"}, {"glibc": "9.9"}),
    "BF402": Case(partial(private, symbol="_dl_signal_error"), partial(private, symbol="abs")),
    "BF404": Case(lambda r: calling(r, "V_1"), lambda r: calling(r, "V_1", "V_2")),
    "BF405": Case(
        lambda r: calling(r, "V_1", "V_2", symbol="other"), lambda r: calling(r, "V_1", "V_2")
    ),
    "BF406": Case(
        lambda r: under_the_host(r, "V_1"), lambda r: under_the_host(r, "V_1", "V_2"),
        host=host_that_wants_v2,
    ),
    "BF407": Case(partial(with_library, toolchain=CROSS["aarch64"]), with_library),
    "BF408": Case(lambda r: program(r, "-Wl,-z,x86-64-v3"), program),
    "BF409": Case(
        partial(with_library, needed=["libc.musl-x86_64.so.1"], flags=["-nolibc"]), with_library
    ),
    "BF410": Case(partial(branded, abi=9), partial(branded, abi=3)),
    "BF501": Case(partial(program, mode=0o644), program),
    "BF502": Case(lambda r: program(r, "-Wl,-z,execstack"), program),
    "BF503": Case(partial(patched_code, flag="-Wl,-z,notext"), partial(patched_code, flag="")),
    "BF504": Case(lambda r: program(r, "-Wl,-z,norelro"), program),
    "BF505": Case(lambda r: program(r, "-no-pie"), program),
    "BF506": Case(partial(program, mode=0o4755), program),
    "BF507": Case(lambda r: program(r, "-Wl,--build-id=none"), program),
    "BF508": Case(lambda r: program(r, "-Wl,--dynamic-linker,/nix/store/x/ld.so"), program),
    "BF509": Case(
        partial(carrying, path="/home/ci/build/etc/server.conf"),
        partial(carrying, path="/home/%s/server.conf"),
    ),
    "BF510": Case(partial(cut, keep=-1), partial(cut, keep=0)),
    "BF620": Case(partial(listed, size="4"), listed),
    "BF621": Case(partial(listed, schema=2), listed),
    "BF622": Case(partial(listed, sha256="0" * 64), listed),
    "BF623": Case(partial(listed, path="version"), listed),
    "BF624": Case(partial(listed, path=""), listed),
    "BF625": Case(partial(listed, mode="0600"), listed),
    "BF601": Case(lambda r: archive(r, "a", "a"), lambda r: archive(r, "a", "b")),
    "BF602": Case(lambda r: archive(r, "d/X", "d/x"), lambda r: archive(r, "D/X", "e/x")),
    "BF603": Case(
        partial(archive_of, kind=tarfile.FIFOTYPE), partial(archive_of, kind=tarfile.REGTYPE)
    ),
    "BF604": Case(lambda r: archive(r, "a\n", "b"), lambda r: archive(r, "ä", "b")),
    "BF605": Case(lambda r: archive(r, "a", owner=1001), lambda r: archive(r, "b", "a")),
    "BF640": Case(partial(wheel, is_true=False), partial(wheel, is_true=True)),
    "BF641": Case(
        partial(scheme, folder="demo-1.0.data/scripts", runpath="$ORIGIN/../../demo/lib"),
        partial(scheme, folder="demo/bin", runpath=LIB),
    ),
}  # fmt: skip
