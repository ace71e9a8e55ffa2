"""Small packs that have a problem or only nearly have it, for the cases of all rules."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

from builders.dlopen import make_dlopen_note_source
from builders.elf import build_elf, build_stub, build_versioned_library
from builders.loaders import X86_64_LOADER, copy_into, list_with_real_loader
from builders.wheel import INFO, METADATA, format_record_line
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.parser import read_image_at

LIB = "$ORIGIN/../lib"
ALLOCATOR = """
#include <stddef.h>
void *malloc(size_t n) { return (void *)(n & 0); }
void free(void *p) { (void)p; }
"""
HIDDEN_ALLOCATOR = """
#define HIDE __attribute__((visibility("hidden")))
HIDE void *malloc(long n) { return (void *)(n & 0); }
HIDE void free(void *p) { (void)p; }
void work(void) { free(malloc(1)); }
"""
EMPTY_MAIN = "int main(void) { return 0; }"


def build_server(root: Path, *needed: str, runpath: str | None = LIB, **more: Any) -> None:
    """Build a program that needs libraries."""
    build_elf(root / "bin/server", program=True, needed=needed, runpath=runpath, **more)


def build_library(root: Path, name: str = "liba.so.1", at: str = "", **more: Any) -> None:
    """Build a library, by default in lib/."""
    build_elf(root / (at or f"lib/{name}"), soname=more.pop("soname", name), **more)


def build_program_and_library(root: Path, runpath: str | None = LIB, **more: Any) -> None:
    """Build a program and the library that it needs."""
    build_library(root, **more)
    build_server(root, "liba.so.1", runpath=runpath)


def build_chain_of_libraries(root: Path, runpath: str | None) -> None:
    """Build a program that loads libb before liba, which also needs libb."""
    build_library(root, "libb.so.1")
    build_library(root, "liba.so.1", needed=["libb.so.1"], runpath=runpath)
    build_server(root, "libb.so.1", "liba.so.1")


def build_distribution_package(root: Path, runpath: str) -> None:
    """Build the files of a distribution package with a program in usr/bin."""
    build_elf(root / "usr/bin/server", program=True, runpath=runpath)
    (root / ".PKGINFO").write_text("pkgname = server\n")


def build_symlink(root: Path, target: str) -> None:
    """Build a library and a symlink next to it."""
    build_library(root)
    (root / "lib/symlink").symlink_to(target)


def build_stale_symlink(root: Path, target: str) -> None:
    """Build two versions of a library, and a program that needs the second by a symlink."""
    for version in ("1", "2"):
        build_library(root, f"libb.so.{version}", at=f"lib/libb.so.{version}.0")
    (root / "lib/libb.so.2").symlink_to(target)
    build_server(root, "libb.so.2")


def build_library_for_system(root: Path, abi: int) -> None:
    """Build a pack with a library for the operating system with the number ``abi`` (EI_OSABI)."""
    build_program_and_library(root)
    build_library(root, "libb.so.1")
    data = bytearray((root / "lib/libb.so.1").read_bytes())
    data[7] = abi
    (root / "lib/libb.so.1").write_bytes(data)


def build_truncated_library(root: Path, keep: int) -> None:
    """Build a library that ends ``keep`` bytes after its last loadable segment."""
    build_program_and_library(root)
    path = root / "lib/liba.so.1"
    image = read_image_at(path)
    assert image is not None
    os.truncate(path, max(s.file_end for s in image.find_loads()) + keep)


def build_program_with_both_tags(root: Path) -> None:
    """Build a program with RPATH and RUNPATH, which no linker writes.

    The DT_RUNPATH replaces the DT_DEBUG entry, which only debuggers write to.
    """
    build_server(root, runpath=None, rpath=LIB)
    path = root / "bin/server"
    image = read_image_at(path)
    assert image is not None
    segment = next(s for s in image.segments if s.type == c.PT_DYNAMIC)
    place = [entry.tag for entry in image.dynamic or ()].index(c.DT_DEBUG)
    data, size = bytearray(path.read_bytes()), image.format.dynamic.size
    at = segment.offset + place * size
    data[at : at + size] = image.format.dynamic.pack(c.DT_RUNPATH, image.find_value(c.DT_RPATH))
    path.write_bytes(data)


def build_copies(root: Path, *tags: str) -> None:
    """Build a copy of a library for each tag; copies with the same tag are equal."""
    for number, tag in enumerate(tags):
        build_library(root, at=f"{number}/liba.so.1", tag=tag)
    build_server(root, "liba.so.1", runpath="$ORIGIN/../0")


def build_pinned_program(root: Path) -> None:
    """Build a program that needs a library by its path."""
    build_library(root)
    build_server(root, f"{LIB}/liba.so.1", runpath=None)


def build_dlopen_caller(
    root: Path, source: str, runpath: str | None = None, *, has_library: bool = True
) -> None:
    """Build a program whose library opens libplug.so.1."""
    build_library(root, source=source, runpath=runpath)
    if has_library:
        build_library(root, "libplug.so.1")
    build_server(root, "liba.so.1")


PLUG_NOTE = make_dlopen_note_source([{"soname": ["libplug.so.1"], "priority": "required"}])


def build_compiled_in_directory(
    root: Path, path: str, plugin: str | None = "lib/xplug/legacy.so"
) -> None:
    """Build a program whose library opens a plugin in a directory that is compiled in."""
    source = (
        f'#include <dlfcn.h>\nstatic const char *const paths[] = {{"{path}"}};\n'
        "void *f(int at) { return dlopen(paths[at], RTLD_NOW); }"
    )
    build_program_and_library(root, source=source)
    if plugin is not None:
        build_elf(root / plugin)


def build_plugin_with_tls(
    root: Path, size: int, *flags: str, at: str = "plugins/p.so", **more: Any
) -> None:
    """Build a plugin with thread-local data."""
    source = f"__thread char data[{size}]; char *f(int at) {{ return data + at; }}"
    build_elf(root / at, source=source, flags=list(flags), runpath=LIB, **more)


def build_plugin_of_program(root: Path, *exports: str, opens: str = "") -> None:
    """Build a program that exports symbols, and a plugin that uses ``one`` and ``two``."""
    lines = [f"int {name};" for name in exports]
    if opens:
        lines += ["#include <dlfcn.h>", f'void *f(int at) {{ return dlopen("{opens}", at); }}']
    build_server(root, source="\n".join([*lines, EMPTY_MAIN]), flags=["-rdynamic"])
    use = "extern int one, two; int f(void) { return one + two; }"
    build_elf(root / "plugins/p.so", source=use)


def build_hwcaps_copy(root: Path, soname: str | None) -> None:
    """Build a library and a copy of it for newer processors with a soname of its own."""
    build_program_and_library(root, tag="same")
    build_library(root, at="lib/glibc-hwcaps/x86-64-v3/liba.so.1", soname=soname, tag="same")


def build_bundled_libc(root: Path, runpath: str | None) -> None:
    """Build a pack with a part of the C library."""
    build_library(root, "libm.so.6")
    build_server(root, "libm.so.6", runpath=runpath)


def build_set_uid_program(root: Path, runpath: str) -> None:
    """Build a set-uid program and the library that it needs."""
    build_program_and_library(root, runpath)
    (root / "bin/server").chmod(0o4755)


def build_allocators(root: Path, *names: str) -> None:
    """Build allocators and a program that needs them."""
    for name in names:
        build_library(root, name, source=ALLOCATOR, flags=["-fno-builtin"])
    build_server(root, *names)


def build_allocator_after_libc(root: Path) -> None:
    """Build a program that needs an allocator only through a library."""
    build_library(root, "libone.so.1", source=ALLOCATOR, flags=["-fno-builtin"])
    build_library(root, needed=["libone.so.1"], runpath="$ORIGIN")
    build_server(root, "liba.so.1")


def build_mismatched_heaps(root: Path, source: str) -> None:
    """Build a program that needs a library, defined by ``source``, and an allocator after it."""
    build_library(root, "liba.so.1", source=source, flags=["-fno-builtin"])
    build_allocators(root, "libone.so.1")
    build_server(root, "liba.so.1", "libone.so.1")


def build_static_allocator(root: Path, source: str) -> None:
    """Build a program whose library contains an allocator."""
    build_library(root, source=source, flags=["-fno-builtin"])
    build_server(root, "liba.so.1")


def build_dlopened_allocator(root: Path, *needed: str) -> None:
    """Build a plugin that needs an allocator, and a program that needs libraries."""
    build_library(root, "libone.so.1", source=ALLOCATOR, flags=["-fno-builtin"])
    build_library(root, at="plugins/p.so", soname=None, needed=["libone.so.1"], runpath=LIB)
    build_server(root, *needed)


def build_library_that_calls(root: Path, call: str) -> None:
    """Build a library that evaluates an expression."""
    source = f"#define _GNU_SOURCE\n#include <dlfcn.h>\nvoid *f(void) {{ return {call}; }}"
    build_library(root, source=source)


def build_user_of_symbol(root: Path, symbol: str) -> None:
    """Build a program that calls a function of glibc."""
    use = f"extern int {symbol}(int); int main(void) {{ return {symbol}(0); }}"
    build_server(root, source=use, flags=["-Wl,--allow-shlib-undefined", "-fno-builtin"])


def build_caller_of_greet(root: Path, *versions: str, symbol: str = "greet") -> None:
    """Build a program linked with greet@V_2, in a pack with another copy of the library."""
    linked = build_versioned_library(
        root / "linked/libv.so.1", "libv.so.1", "greet", ["V_1", "V_2"]
    )
    use = "extern int greet(void); int main(void) { return greet() - 7; }"
    build_server(root, source=use, flags=[str(linked)])
    shutil.rmtree(root / "linked")
    build_versioned_library(root / "lib/libv.so.1", "libv.so.1", symbol, versions)


def build_library_for_host(root: Path, *versions: str) -> None:
    """Build a program that needs a library of the pack and a library of the host."""
    build_versioned_library(root / "lib/libv.so.1", "libv.so.1", "greet", versions)
    build_server(root, "libv.so.1", "libhost.so.1")


def build_host_that_requires_v2(root: Path) -> None:
    """Create a root file system with this machine's C library, and a library that requires V_2."""
    for path in [
        X86_64_LOADER,
        *(path or "" for _, path in list_with_real_loader(Path("/bin/true"))),
    ]:
        copy_into(root, path)
    linked = build_versioned_library(
        root / "linked/libv.so.1", "libv.so.1", "greet", ["V_1", "V_2"]
    )
    use = "extern int greet(void); int again(void) { return greet(); }"
    for directory in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        build_elf(
            root / directory / "libhost.so.1",
            soname="libhost.so.1",
            source=use,
            flags=[str(linked)],
        )
    shutil.rmtree(root / "linked")


def build_program(root: Path, *flags: str, source: str | None = None, mode: int = 0o755) -> None:
    """Build a program."""
    build_elf(
        root / "bin/server", program=True, source=source, flags=["-Wl,--build-id", *flags]
    ).chmod(mode)


def build_position_dependent_library(root: Path, flag: str) -> None:
    """Build a library whose code contains an absolute address if ``flag`` allows it."""
    code = {
        "-Wl,-z,notext": 'void f(void); __asm__(".text\\n.globl f\\nf: .quad f\\n");',
        "": "void f(void) { }",
    }
    build_library(root, source=code[flag], flags=[flag] if flag else [])


def build_program_with_string(root: Path, path: str) -> None:
    """Build a program that contains a string."""
    build_program(root, source=f'#include <stdio.h>\nint main(void) {{ return puts("{path}"); }}')


def write_npm_package(root: Path, *, symlink: bool) -> None:
    """Write a tarball for npm with a program, and its library as a file or a symlink."""
    tree = root.with_name("tree")
    build_server(tree, "liba.so.1")
    build_library(tree, "liba.so.1.2" if symlink else "liba.so.1", soname="liba.so.1")
    if symlink:
        (tree / "lib/liba.so.1").symlink_to("liba.so.1.2")
    (tree / "package.json").write_text("{}")
    with tarfile.open(root, "w") as archive:
        archive.add(tree, "package")


def write_text_beside_library(root: Path, text: str) -> None:
    """Write a library, and a text file with its development name."""
    build_library(root)
    (root / "lib/liba.so").write_text(text)


def write_unpacked_wheel(root: Path, *, is_correct: bool) -> None:
    """Write the files of a wheel, with a RECORD that matches them or not."""
    for name, text in {**METADATA, "RECORD": ""}.items():
        (root / INFO).mkdir(parents=True, exist_ok=True)
        (root / INFO / name).write_text(text)
    lines = [format_record_line(f"{INFO}/{n}", text.encode()) for n, text in METADATA.items()]
    lines += [f"{INFO}/RECORD,,"]
    if not is_correct:
        digest = hashlib.sha256(b"").hexdigest()
        lines[0] = f"{INFO}/METADATA,sha256={digest},1"
    (root / INFO / "RECORD").write_text("\n".join(lines))


def write_wheel_with_tool(root: Path, directory: str, runpath: str) -> None:
    """Write the files of a wheel with a program that needs its library."""
    write_unpacked_wheel(root, is_correct=True)
    build_library(root, at="demo/lib/liba.so.1")
    build_elf(root / directory / "tool", program=True, needed=["liba.so.1"], runpath=runpath)


def write_pack_with_manifest(root: Path, *, schema: int = 1, **changed: Any) -> None:
    """Write a pack of one file; ``changed`` replaces fields of the file in the manifest."""
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


def write_tarball(path: Path, *names: str, owner: int = 0) -> None:
    """Write a tarball of empty files."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.uid = owner
            tar.addfile(info)


def write_tarball_of_type(path: Path, kind: bytes) -> None:
    """Write a tarball of one member of a type, such as FIFOTYPE."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("run/pipe")
        info.type = kind
        tar.addfile(info)


def build_two_versions(root: Path, *, user: str = "both") -> None:
    """Build a program that needs libv.so.2, and a library of the pack that needs libv.so.1.

    The symbols of both have no versions; ``user`` is the function that the library calls.
    """
    for version in (1, 2):
        source = f"int both(void) {{ return {version}; }} int only{version}(void) {{ return 0; }}"
        build_library(root, f"libv.so.{version}", source=source)
    use = f"extern int {user}(void); int use(void) {{ return {user}(); }}"
    old = [str(root / "lib/libv.so.1")]
    build_library(root, "libuse.so.1", source=use, runpath="$ORIGIN", flags=old)
    build_server(root, "libv.so.2", "libuse.so.1")


RUNTIME_FUNCTIONS = ("__cxa_throw", "__cxa_begin_catch", "__gxx_personality_v0")


def build_static_runtime(root: Path, *functions: str) -> None:
    """Build a library that defines functions of libstdc++, and a program that calls one."""
    source = "\n".join(f"void {name}(void) {{ }}" for name in functions)
    build_library(root, source=source)
    linked = [str(root / "lib/liba.so.1"), build_stub("libstdc++.so.6")]
    use = "extern void __cxa_throw(void); int main(void) { __cxa_throw(); return 0; }"
    build_server(root, source=use, flags=linked)


def build_openmp_users(root: Path, *functions: str) -> None:
    """Build libgomp.so.1 and libiomp5.so, and a program that calls functions of them."""
    for name, function in (("libgomp.so.1", "GOMP_parallel"), ("libiomp5.so", "__kmpc_fork_call")):
        source = f"void {function}(void) {{ }} int omp_get_max_threads(void) {{ return 1; }}"
        build_library(root, name, source=source)
    calls = "".join(f"{name}(); " for name in functions)
    source = "".join(f"extern void {name}(void);\n" for name in functions)
    linked = [str(root / "lib" / name) for name in ("libgomp.so.1", "libiomp5.so")]
    build_server(root, source=source + f"int main(void) {{ {calls} return 0; }}", flags=linked)


def build_unique_copies(root: Path, *names: str, **more: Any) -> None:
    """Build plugins with a copy of a library each; copy N defines the unique symbol ``names[N]``.

    The copies have different hashes in their names, as auditwheel gives them.
    """
    for number, name in enumerate(names):
        library = f"libq-0000000{number}.so.1"
        source = (
            f"int {name}_{number};\n"
            f'__asm__(".globl {name}\\n.type {name}, %gnu_unique_object\\n.data\\n'
            f'{name}: .long 1\\n.size {name}, 4\\n.text\\n");'
        )
        build_library(root, library, source=source, **more)
        plugin = f"plugins/p{number}.so"
        build_library(root, at=plugin, soname=None, needed=[library], runpath=LIB, **more)


def build_two_search_paths(root: Path, runpath: str) -> None:
    """Build a program and a library in ui/ that need liba.so.1, of which there are two copies."""
    build_library(root, tag="one")
    build_library(root, at="ui/liba.so.1", tag="other")
    build_library(
        root, at="ui/libui.so.1", soname="libui.so.1", needed=["liba.so.1"], runpath=runpath
    )
    build_server(root, "liba.so.1", "libui.so.1", runpath=f"{LIB}:$ORIGIN/../ui")
