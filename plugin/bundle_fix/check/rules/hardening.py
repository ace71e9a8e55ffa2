"""BF5xx: what hardens a program, and habits that bite later."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.flags import list_flag_names
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_build_id, read_notes
from bundle_fix.loader.hosts.libc import LOADER_NAME
from bundle_fix.loader.hosts.rtld import is_default_directory
from bundle_fix.model.content import Reader
from bundle_fix.model.tree import File
from bundle_fix.policy.severity import Severity


def _loaded(context: Context) -> Iterator[tuple[str, Image]]:
    """The programs and libraries that are asked about."""
    for path, image in context.bundle.images.items():
        if image.is_dynamic and context.only in (None, path):
            yield path, image


def find_executable_stack(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that ask for a stack that can be executed."""
    for path, image in _loaded(context):
        stack = next((s for s in image.segments if s.type == c.PT_GNU_STACK), None)
        if stack is not None and stack.flags & c.PF_X:
            letters = zip("RWE", (c.PF_R, c.PF_W, c.PF_X), strict=True)
            flags = "".join(letter for letter, bit in letters if stack.flags & bit)
            yield rule.make_finding(path, "asks for an executable stack", GNU_STACK=flags)


def find_text_relocations(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files whose code is written to when they are loaded."""
    for path, image in _loaded(context):
        if "TEXTREL" in list_flag_names(image):
            yield rule.make_finding(
                path,
                "has text relocations: its code is patched when it is loaded",
                flags=list(list_flag_names(image)),
            )


def find_no_relro(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files whose relocated data stays writable."""
    for path, image in _loaded(context):
        if not any(s.type == c.PT_GNU_RELRO for s in image.segments):
            yield rule.make_finding(
                path, "has no RELRO: its pointers stay writable", GNU_RELRO=None
            )


def find_no_pie(rule: Rule, context: Context) -> Iterator[Finding]:
    """Programs that are always loaded at one address."""
    for path, image in _loaded(context):
        if image.is_program and image.header.type == c.ET_EXEC:
            yield rule.make_finding(path, "is not position independent", type=image.type)


def find_set_id(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that run with their owner's or group's rights."""
    for path, node in context.bundle.tree.iter_files():
        if node.metadata.mode & 0o6000 and isinstance(node, File) and context.only in (None, path):
            yield rule.make_finding(
                path, f"has the mode {node.metadata.mode:04o}", mode=f"{node.metadata.mode:04o}"
            )


def find_no_build_id(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that a debugger cannot tell from another build."""
    for path, image in _loaded(context):
        with context.bundle.get_content(path).open() as reader:
            if read_build_id(reader, image) is None:
                yield rule.make_finding(path, "has no build-id", notes=_owners(reader, image))


def _owners(reader: Reader, image: Image) -> list[str]:
    """The owners of the notes that a file has, with the types, as readelf prints them."""
    found = {
        (note.name.rstrip(b"\0").decode("utf-8", "replace"), note.type)
        for note in read_notes(reader, image)
    }
    return [f"{name} {kind:#x}" for name, kind in sorted(found)]


def find_interpreter(rule: Rule, context: Context) -> Iterator[Finding]:
    """Programs that want a loader which is only on the machine that built them."""
    for path in context.programs:
        interpreter = context.bundle.images[path].interpreter or ""
        folder, name = posixpath.split(interpreter)
        usual = LOADER_NAME.fullmatch(name) and is_default_directory(folder)
        if not (usual and interpreter.startswith("/")):
            yield rule.make_finding(
                path, f"asks for the loader {interpreter}", target=interpreter,
                severity=rule.severity if context.host.files is None else Severity.WARNING,
            )  # fmt: skip


RULES = (
    Rule(
        "BF502", "executable-stack", Severity.WARNING,
        "A file asks for a stack that can be executed.",
        "An overflow on the stack becomes code; hardened kernels refuse it, and glibc 2.41 refuses"
        " to dlopen() such a library.",
        "Find the object without .note.GNU-stack (often assembler), or link with -z noexecstack.",
        "lib/libcodec.so has an assembler file without a .note.GNU-stack section.",
        find_executable_stack,
    ),
    Rule(
        "BF503", "text-relocations", Severity.WARNING,
        "A file's code is patched when it is loaded.",
        "The pages cannot be shared or kept read-only, and SELinux may refuse them.",
        "Compile everything in it with -fPIC.",
        "lib/libold.so was linked from objects that were compiled without -fPIC.",
        find_text_relocations,
    ),
    Rule(
        "BF504", "no-relro", Severity.NOTE,
        "A file has no RELRO.",
        "Its tables of pointers stay writable, where an overflow can reach them.",
        "Link with -z relro, and -z now where start-up time allows.",
        "lib/libold.so was linked with -z norelro.",
        find_no_relro,
    ),
    Rule(
        "BF505", "no-pie", Severity.NOTE,
        "A program is not position independent.",
        "Its code is at one address on every machine, which an attacker then knows.",
        "Compile with -fPIE and link with -pie.",
        "bin/legacy was linked with -no-pie.",
        find_no_pie,
    ),
    Rule(
        "BF506", "set-id", Severity.WARNING,
        "A file has a set-uid or set-gid bit.",
        "Who unpacks the archive as root gives it to all users; who does not loses the bit.",
        "Set the bit where the pack is installed, not in the pack.",
        "bin/sandbox has mode 4755.",
        find_set_id,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF507", "no-build-id", Severity.NOTE,
        "A program or library has no build-id.",
        "A debugger finds its debug file only by name, and takes another build's for it.",
        "Link with --build-id.",
        "bin/server was linked by a linker whose default is no build-id.",
        find_no_build_id,
    ),
    Rule(
        "BF508", "interpreter-elsewhere", Severity.ERROR,
        "A program asks for a loader that other machines do not have.",
        "The kernel starts the loader by its absolute path: without it, 'No such file or"
        " directory', though the program is there.",
        "Build with the usual loader, or set it where the pack is installed.",
        "bin/server asks for /nix/store/...-glibc-2.38/lib/ld-linux-x86-64.so.2.",
        find_interpreter,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
