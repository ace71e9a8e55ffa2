"""BF1xx: the files to which needed names resolve."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.check.facts.library_sources import find_library_source, is_loaded_by_import
from bundle_fix.check.facts.privileges import find_prefix_for_name, list_refused_entries
from bundle_fix.check.facts.resolutions import (
    find_copy_with_name,
    find_search_root,
    find_worst_resolutions,
    is_name_of_other_libc,
    make_need_evidence,
)
from bundle_fix.check.facts.start_scripts import find_start_script
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.loader.hosts.libc import (
    COMMON_LIBRARIES,
    GLIBC_LIBRARIES,
    LOADER_NAME,
    MUSLLINUX_LIBRARIES,
    TARGETS_WITHOUT,
    Libc,
    is_part_of_libc,
)
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.tree import InstallLocation
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

FIX_SEARCH_PATH = "Add a symlink or a RUNPATH entry that leads to the pack's copy."
FIX_NAME_WITH_SLASH = (
    "The loader never searches for a name with a slash. Replace it with the soname of the library"
    " ('bundle-fix elf --replace-needed')."
)


def find_missing_names(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed names that neither the pack nor the host provides."""
    for (path, name), (severity, need, processes) in find_worst_resolutions(
        context, ObjectOrigin.MISSING
    ).items():
        image = need.requester.image
        if is_name_of_other_libc(need, context.get_libc(processes[0].entry)):
            continue
        provided = context.bundle.find_providers(posixpath.basename(name), image) if image else ()
        if image is not None and name == image.interpreter:
            message = f"requires the interpreter {name}, which does not exist on the host"
            hint = "Run it on a host of the same machine and C library."
            problem = MissingName(message, hint, Root(RootKind.LIBRARY, name))
        elif not provided:
            problem = _describe_absent_library(context, name, need, processes)
        elif _is_reported_with_privileges(need):
            continue
        else:
            problem = _describe_unsearched_copy(context, path, name, provided, processes)
        yield rule.make_finding(
            path,
            problem.message,
            severity=Severity.NOTE if problem.is_mild else severity,
            hint=problem.hint,
            root=problem.root,
            fixable=bool(provided),
            **make_need_evidence(need, processes),
        )


class MissingName(Struct, frozen=True):
    """A needed name that is not found; ``is_mild``: something else probably leads to the file."""

    message: str
    hint: str
    root: Root | None
    is_mild: bool = False


def _describe_unsearched_copy(
    context: Context, path: str, name: str, provided: tuple[str, ...], processes: list[Process]
) -> MissingName:
    """Describe a name that the pack provides in directories that are not searched."""
    script = find_start_script(context, processes, name)
    return MissingName(
        f"needs {name}; the pack has {_locate_copy(context, provided, name)}, but in none of the"
        " searched directories" + (f" unless {script} starts the program" if script else ""),
        FIX_NAME_WITH_SLASH if "/" in name else FIX_SEARCH_PATH,
        find_search_root(context.bundle.tree, provided, name),
        bool(script)
        or _is_opened_first(context, provided, name, processes)
        or _is_for_programs_elsewhere(context, path, provided),
    )


def _describe_absent_library(
    context: Context, name: str, need: Resolution, processes: list[Process]
) -> MissingName:
    """Describe a name that the pack does not provide."""
    root = Root(RootKind.LIBRARY, name)
    source = find_library_source(context, need)
    if source is not None:
        return MissingName(f"needs {name}, {source.relation}", source.hint, root, is_mild=True)
    libc = context.get_libc(processes[0].entry)
    message = f"needs {name}, which is neither in the pack nor expected on the host"
    message += _describe_targets(name, libc) + _describe_similar(context, need)
    return MissingName(message, f"Add {name} to the pack, or pass --host-provides {name}.", root)


def _describe_targets(name: str, libc: Libc) -> str:
    """Return a remark on targets that are known not to have a library."""
    last = posixpath.basename(name)
    if libc is Libc.MUSL:
        if last in GLIBC_LIBRARIES or LOADER_NAME.fullmatch(last):
            return " (it belongs to glibc; musl does not provide it)"
        is_optional = last in COMMON_LIBRARIES and last not in MUSLLINUX_LIBRARIES
        return " (Alpine's base image does not install it)" if is_optional else ""
    targets = TARGETS_WITHOUT.get(last)
    return f" ({targets} do not install it)" if targets else ""


def _describe_similar(context: Context, need: Resolution) -> str:
    """Return a remark on a library of the pack for another machine or of another version."""
    for path in context.bundle.paths_by_name.get(need.name, ()):
        image = context.bundle.images[path]
        return f" ({path} is {image.format.bits}-bit {image.machine})"
    similar = context.names_by_stem.get(get_library_stem(need.name), ())
    return f" (the pack has {', '.join(sorted(similar))})" if similar else ""


def find_host_copies(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed names that the pack provides but that resolve to the host's copy."""
    worst = find_worst_resolutions(context, ObjectOrigin.HOST)
    for (path, name), (severity, need, processes) in worst.items():
        libc = context.get_libc(processes[0].entry)
        if need.requester.image is None or is_part_of_libc(posixpath.basename(name), libc):
            continue
        # The host's own libraries need the host's copies; BF107 is about LD_LIBRARY_PATH.
        if (
            need.requester.origin is ObjectOrigin.HOST
            or need.result.via is SearchRule.LD_LIBRARY_PATH
        ):
            continue
        provided = context.bundle.find_providers(posixpath.basename(name), need.requester.image)
        if not provided or _is_brought_by_dependency(context, need):
            continue
        if _is_reported_with_privileges(need):
            continue
        message = f"needs {name}; the pack has {_locate_copy(context, provided, name)}, but the"
        message += f" host's {need.result.path} is loaded"
        script = find_start_script(context, processes, name)
        message += f" unless {script} starts the program" if script else ""
        is_opened = _is_opened_first(context, provided, name, processes)
        is_mild = bool(script) or is_opened or is_loaded_by_import(context, need)
        found_severity = Severity.NOTE if is_mild else severity
        prefix = find_prefix_for_name(context, need)
        if prefix is not None:
            found_severity = Severity.WARNING
            message += f" unless the pack is installed at {prefix}"
        yield rule.make_finding(
            path,
            message,
            severity=found_severity,
            hint=FIX_NAME_WITH_SLASH if "/" in name else None,
            root=find_search_root(context.bundle.tree, provided, name),
            provided=list(provided),
            loaded=need.result.path,
            **make_need_evidence(need, processes),
        )


def _is_brought_by_dependency(context: Context, need: Resolution) -> bool:
    """Return whether a package that this one depends on installs the copy that is loaded."""
    is_package = context.bundle.tree.location is InstallLocation.BESIDE_OTHERS
    return is_package and context.is_brought_by_dependency(need.result)


def _is_reported_with_privileges(need: Resolution) -> bool:
    """Return whether BF207 reports a name that the entries of a privileged program lead to."""
    image = need.requester.image
    is_program = image is not None and image.is_program and "/" not in need.name
    return is_program and bool(list_refused_entries([need]))


def _is_opened_first(
    context: Context, provided: tuple[str, ...], name: str, processes: list[Process]
) -> bool:
    """Return whether objects of the pack open its copies of a needed name of a plugin by name.

    The launcher of a JDK opens libjvm.so by its path; the libraries that need it are loaded later
    and find it in the process. Without programs, the object that opens the plugin must do so.
    """
    if any(process.entry in context.programs for process in processes):
        return False
    callers = {
        opener.caller.label
        for process in processes
        for opener in context.openers.find_by_name(process.entry)
    }
    return all(
        path not in context.loaded_at_start
        and posixpath.basename(path) == name
        and any(
            context.programs or opener.caller.label in callers
            for opener in context.openers.find_by_name(path)
        )
        for path in provided
    )


def _is_for_programs_elsewhere(context: Context, path: str, provided: tuple[str, ...]) -> bool:
    """Return whether only programs of other packages can load a library, with one beside it.

    The directory is private, so these programs have a RUNPATH that leads there, and may have
    loaded both: systemd does so with libsystemd-core and libsystemd-shared.
    """
    is_package = context.bundle.tree.location is InstallLocation.BESIDE_OTHERS
    directories = {posixpath.dirname(other) for other in (path, *provided)}
    return is_package and path not in context.loaded_at_start and len(directories) == 1


def _locate_copy(context: Context, provided: tuple[str, ...], name: str) -> str:
    """Return the path of the pack's copy under the needed name, or describe its other name."""
    path = find_copy_with_name(context.bundle.tree, provided, posixpath.basename(name))
    return path or f"it under another name ({provided[0]})"


def find_names_left_to_host(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries that the pack lacks and that most hosts, but not all, provide."""
    users: dict[str, list[str]] = {}
    libcs: dict[str, Libc] = {}
    for (path, name), (_, need, processes) in find_worst_resolutions(
        context, ObjectOrigin.HOST
    ).items():
        image = need.requester.image
        if image is None or need.result.via is SearchRule.DIRECT or context.is_on_host(name):
            continue
        if not context.bundle.find_providers(name, image):
            users.setdefault(name, []).append(path)
            libcs[name] = context.get_libc(processes[0].entry)
    is_musllinux = context.bundle.libc_of_tags is Libc.MUSL
    for name, paths in users.items():
        is_usual = name in MUSLLINUX_LIBRARIES if is_musllinux else name not in TARGETS_WITHOUT
        yield rule.make_finding(
            paths[0],
            f"needs {name}, which is left to the host{_describe_targets(name, libcs[name])}",
            severity=rule.severity if is_usual else Severity.WARNING,
            hint=f"Add {name} to the pack, or pass --host-provides {name}.",
            root=Root(RootKind.HOST_LIBRARY, name),
            needed=name,
            needed_by=paths,
        )


RULES = (
    Rule(
        "BF101", "not-found", Severity.ERROR,
        "A needed name is neither in the pack nor expected on the host.",
        "The loader ends the program before main, or dlopen() fails: 'cannot open shared object"
        " file'.",
        "Add the library to the pack, or declare that the host provides it.",
        "bin/server needs libboost_regex.so.1.74.0. The pack does not contain it, and no"
        " distribution is known to provide it.",
        find_missing_names,
        has_diff_rule=True,
        repair=RepairKind.FIND_NAME,
    ),
    Rule(
        "BF102", "host-wins", Severity.ERROR,
        "The pack provides a needed name, but the host's copy is loaded.",
        "The program runs with a library for which it was not built. Two copies of an allocator in"
        " one process crash in free().",
        FIX_SEARCH_PATH,
        "bin/server needs libtcmalloc.so.4. The pack contains the file as libtcmalloc.so, so the"
        " older libtcmalloc.so.4 in /lib64 is loaded.",
        find_host_copies,
        has_diff_rule=True,
        repair=RepairKind.FIND_NAME,
    ),
    Rule(
        "BF110", "left-to-host", Severity.NOTE,
        "The pack lacks a needed library that most hosts, but not all, provide.",
        "The program does not start on a host without the library, or with an older version.",
        "Add the library to the pack, or declare that the host provides it.",
        "bin/server needs libstdc++.so.6, and the pack does not contain it.",
        find_names_left_to_host,
        applies_to=RELOCATABLE,
        has_diff_rule=True,
        concerns_whole_pack=True,
    ),
)  # fmt: skip
