"""BF201: objects without RUNPATH and RPATH that need libraries of the pack."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import find_search_root
from bundle_fix.check.facts.start_scripts import find_start_script
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity


def find_missing_runpaths(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects without RUNPATH and RPATH that need libraries of the pack."""
    for path, image in context.bundle.images.items():
        if image.runpath is not None or image.rpath is not None:
            continue
        names = [
            name
            for name in image.needed
            if "/" not in name
            and not is_part_of_libc(name)
            and context.bundle.find_providers(name, image)
        ]
        # No RUNPATH is needed if an inherited RPATH or a default directory leads to the libraries.
        if not names or _are_all_found(context, path, names):
            continue
        severity = context.get_load_severity(path) if image.is_program else Severity.WARNING
        is_found_otherwise = _are_found_in_opener(context, path, names)
        if is_found_otherwise or _are_all_started_by_script(context, path, names):
            severity = Severity.NOTE
        yield rule.make_finding(
            path,
            f"has no RUNPATH, but needs {join_names(names, 3)} of the pack",
            severity=severity,
            root=find_search_root(
                context.bundle.tree, context.bundle.find_providers(names[0], image), names[0]
            ),
            needed=names,
        )


def _are_all_found(context: Context, path: str, names: list[str]) -> bool:
    """Return whether the search for each name leads to the pack in every process.

    A name that another object has loaded before does not count, because another program may not
    load that object; the search is repeated for it.
    """
    needs = [need for need in context.resolutions_by_object.get(path, ()) if need.name in names]
    found = {need.name for need in needs}
    return found == set(names) and all(
        need.result.origin is ObjectOrigin.BUNDLE
        and (
            not need.already_loaded
            or context.deployment.repeat_search(need).origin is ObjectOrigin.BUNDLE
        )
        for need in needs
    )


def _are_found_in_opener(context: Context, path: str, names: list[str]) -> bool:
    """Return whether the process that opens a plugin has loaded the libraries that it lacks."""
    if path not in context.plugins or path in context.loaded_at_start:
        return False
    return not any(
        need.requester.path == path
        and need.name in names
        and need.result.origin is not ObjectOrigin.BUNDLE
        for _, _, need in context.resolutions
    )


def _are_all_started_by_script(context: Context, path: str, names: list[str]) -> bool:
    """Return whether a script leads all programs of the pack to the needed names of an object."""
    is_loaded = path in context.loaded_at_start
    processes = [
        process
        for process in context.programs.values()
        if not is_loaded or path in {o.path for o in process.list_bundled_objects()}
    ]
    return bool(processes) and all(find_start_script(context, processes, n) for n in names)


RULES = (
    Rule(
        "BF201", "no-runpath", Severity.ERROR,
        "An object needs libraries of the pack, but has neither RUNPATH nor RPATH.",
        "The loader searches for the libraries only on the host. It finds them in the pack only if"
        " another object has loaded them before.",
        "Add a RUNPATH that leads to the libraries.",
        "bin/server needs lib/libdsn_utils.so and has no RUNPATH. On the build machine,"
        " LD_LIBRARY_PATH hid the problem.",
        find_missing_runpaths,
        applies_to=RELOCATABLE,
        repair=RepairKind.FIND_NAME,
    ),
)  # fmt: skip
