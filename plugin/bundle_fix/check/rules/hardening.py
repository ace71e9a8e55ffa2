"""BF502 to BF508: hardening by the linker, set-uid bits, build-ids and interpreters."""

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
from bundle_fix.elf.scan.trampolines import StackUse, find_stack_use
from bundle_fix.loader.hosts.libc import LOADER_NAME
from bundle_fix.loader.hosts.rtld import is_default_directory
from bundle_fix.model.content import Reader
from bundle_fix.model.tree import File
from bundle_fix.plan.modes import is_firmware
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity


def _iter_dynamic_images(context: Context) -> Iterator[tuple[str, Image]]:
    """Yield the paths and images of the dynamic ELF files to check."""
    return ((path, context.bundle.images[path]) for path in context.iter_dynamic_files())


def find_executable_stack(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files that request an executable stack.

    The stack is that of the whole process: from glibc 2.41 on, a plugin with trampolines can only
    be opened by a program that requests an executable stack. So all requests stay if one is needed.
    """
    uses = _find_stack_uses(context)
    reason = next(filter(None, (STACK_NEEDS[use] for use in uses.values())), None)
    for path, image in _iter_dynamic_images(context):
        if path in uses:
            stack = next(s for s in reversed(image.segments) if s.type == c.PT_GNU_STACK)
            letters = zip("RWE", (c.PF_R, c.PF_W, c.PF_X), strict=True)
            flags = "".join(letter for letter, bit in letters if stack.flags & bit)
            yield rule.make_finding(
                path, "requests an executable stack", hint=reason, fixable=reason is None,
                GNU_STACK=flags, code=uses[path].value,
            )  # fmt: skip


STACK_NEEDS = {
    StackUse.NO_TRAMPOLINES: None,
    StackUse.TRAMPOLINES: "Code of the pack builds trampolines for nested functions on the stack:"
    " compile it with -ftrampoline-impl=heap (GCC 14), or without nested functions.",
    StackUse.UNKNOWN: "Link with -z noexecstack if no code runs on the stack; bundle-fix recognizes"
    " such code only on x86-64 and aarch64.",
}
"""For each use of the stack, why a request must stay and what to do; None if it need not stay."""


def _find_stack_uses(context: Context) -> dict[str, StackUse]:
    """Return how each file uses the stack that requests an executable one."""
    uses: dict[str, StackUse] = {}
    for path, image in context.bundle.images.items():
        is_requested = image.is_dynamic and image.requests_executable_stack
        if is_requested and not is_firmware(context.bundle, path):
            with context.bundle.get_content(path).open() as reader:
                uses[path] = find_stack_use(reader, image)
    return uses


def find_text_relocations(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files whose code the loader changes (DT_TEXTREL, DF_TEXTREL)."""
    for path, image in _iter_dynamic_images(context):
        # An empty DT_TEXTREL or a bit of DT_FLAGS (gABI, chapter 5).
        flags = image.find_value(c.DT_FLAGS) or 0
        if image.find_value(c.DT_TEXTREL) is not None or flags & c.DF_TEXTREL:
            yield rule.make_finding(
                path,
                "has text relocations: the loader changes its code",
                flags=list(list_flag_names(image)),
            )


def find_no_relro(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files whose relocated data stays writable."""
    for path, image in _iter_dynamic_images(context):
        if not any(s.type == c.PT_GNU_RELRO for s in image.segments):
            yield rule.make_finding(
                path, "has no RELRO: its relocated pointers stay writable", GNU_RELRO=None
            )


def find_no_pie(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs that are always loaded at the same address."""
    for path, image in _iter_dynamic_images(context):
        if image.is_program and image.header.type == c.ET_EXEC:
            yield rule.make_finding(
                path, "is not a position-independent executable", type=image.type
            )


def find_set_id_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files with a set-uid or set-gid bit."""
    for path, node in context.bundle.tree.iter_files():
        if node.metadata.mode & 0o6000 and isinstance(node, File) and context.only in (None, path):
            yield rule.make_finding(
                path, f"has mode {node.metadata.mode:04o}", mode=f"{node.metadata.mode:04o}"
            )


def find_no_build_id(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files without a build-id."""
    for path, image in _iter_dynamic_images(context):
        with context.bundle.get_content(path).open() as reader:
            if read_build_id(reader, image) is None:
                yield rule.make_finding(path, "has no build-id", notes=_list_notes(reader, image))


def _list_notes(reader: Reader, image: Image) -> list[str]:
    """Return the owners and types of the notes in a file, such as ``GNU 0x1``."""
    found = {
        (note.name.rstrip(b"\0").decode("utf-8", "replace"), note.type)
        for note in read_notes(reader, image)
    }
    return [f"{name} {kind:#x}" for name, kind in sorted(found)]


def find_unusual_interpreters(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs whose interpreter does not lie in a default directory of the loader."""
    for path in context.programs:
        interpreter = context.bundle.images[path].interpreter or ""
        directory, name = posixpath.split(interpreter)
        is_usual = LOADER_NAME.fullmatch(name) and is_default_directory(directory)
        if not (is_usual and interpreter.startswith("/")):
            yield rule.make_finding(
                path, f"requires the interpreter {interpreter}", target=interpreter,
                severity=rule.severity if context.host.files is None else Severity.WARNING,
            )  # fmt: skip


RULES = (
    Rule(
        "BF502", "executable-stack", Severity.WARNING,
        "A file requests an executable stack.",
        "An attacker who overflows a buffer on the stack can execute code there. Hardened kernels"
        " refuse the file, and from glibc 2.41 on dlopen() refuses such a library.",
        "Link with -z noexecstack, or add a .note.GNU-stack section to the object file that lacks"
        " one; it is often an assembler file. bundle-fix fix clears the request if no file of the"
        " pack that requests an executable stack contains code for trampolines (nested functions).",
        "lib/libcodec.so contains code from an assembler file without a .note.GNU-stack section.",
        find_executable_stack,
        repair=RepairKind.CLEAR_STACK,
    ),
    Rule(
        "BF503", "text-relocations", Severity.WARNING,
        "A file has text relocations: the loader changes its code.",
        "Processes cannot share the changed pages, the pages are writable during the start, and"
        " SELinux may refuse the file.",
        "Compile all of its object files with -fPIC.",
        "lib/libold.so was linked from object files that were compiled without -fPIC.",
        find_text_relocations,
    ),
    Rule(
        "BF504", "no-relro", Severity.NOTE,
        "A file has no RELRO: its relocated pointers stay writable.",
        "An attacker who overflows a buffer can overwrite the pointers.",
        "Link with -z relro; add -z now if the longer start-up time is acceptable.",
        "lib/libold.so was linked with -z norelro.",
        find_no_relro,
    ),
    Rule(
        "BF505", "no-pie", Severity.NOTE,
        "A program is not a position-independent executable (PIE).",
        "Its code lies at the same address on every machine, so an attacker knows the address.",
        "Compile with -fPIE and link with -pie.",
        "bin/legacy was linked with -no-pie.",
        find_no_pie,
    ),
    Rule(
        "BF506", "set-id", Severity.WARNING,
        "A file has a set-uid or set-gid bit.",
        "If root unpacks the archive, every user can run the file with the rights of its owner or"
        " group. If another user unpacks it, the bit is lost.",
        "Clear the bit, and set it when the pack is installed.",
        "bin/sandbox has mode 4755.",
        find_set_id_files,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF507", "no-build-id", Severity.NOTE,
        "A program or library has no build-id.",
        "A debugger finds its debug file only by name, and may load that of another build.",
        "Link with --build-id.",
        "bin/server was linked with a linker that does not write a build-id by default.",
        find_no_build_id,
    ),
    Rule(
        "BF508", "unusual-interpreter", Severity.ERROR,
        "The interpreter of a program does not exist on most machines.",
        "The kernel starts the interpreter (the dynamic loader) by its absolute path. If it does"
        " not exist, the start fails with 'No such file or directory', although the program"
        " exists.",
        "Link with the default interpreter of the platform, or set the interpreter when the pack"
        " is installed.",
        "The interpreter of bin/server is /nix/store/...-glibc-2.38/lib/ld-linux-x86-64.so.2.",
        find_unusual_interpreters,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
