"""BF208: search path entries of packages and images that lead to the build machine."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import Rule
from bundle_fix.loader.runpath import list_runpath_entries
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.tree import InstallLocation
from bundle_fix.policy.severity import Severity

BUILD_DIRECTORY = re.compile(
    r"/(home|root|Users|tmp|var/tmp|dev/shm"  # people
    r"|build|builds|builddir|buildroot|rpmbuild|workspace|__w|github|<<\w+>>"  # build services
    r"|usr/src/packages|usr/src/rpm|var/lib/(jenkins|buildbot|mock|buildkite)[\w-]*"
    r"|croot|nix/store|gnu/store"  # other package managers
    r")(/.*)?"
    r"|.*/(BUILDROOT|feedstock_root|CMakeFiles|<<\w+>>)(/.*)?",
    re.IGNORECASE,
)
"""Directories of build machines: of people, CI services, rpmbuild, mock, sbuild, OBS and conda."""
SHARED_DIRECTORY = re.compile(r"/(tmp|var/tmp|dev/shm)(/.*)?")
"""Directories in which every user may create files (hier(7))."""


def find_entries_of_build_machine(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the entries that are directories of the machine that built the package."""
    view = context.deployment.view
    for path in context.iter_dynamic_files():
        image = context.bundle.images[path]
        for entry in dict.fromkeys(list_runpath_entries(image)):
            base, expanded = expand_entry(entry, "/" + posixpath.dirname(path))
            place = posixpath.normpath(expanded)
            if base is PathBase.WORKING or not BUILD_DIRECTORY.fullmatch(place):
                continue
            # An image may have its programs below /home or /root.
            if place[1:] in context.bundle.tree.directories or view.has_host_directory(place):
                continue
            tag = "RUNPATH" if image.runpath is not None else "RPATH"
            yield rule.make_finding(
                path,
                f"has the {tag} entry {entry}, a directory of the build machine",
                severity=Severity.ERROR if SHARED_DIRECTORY.fullmatch(place) else rule.severity,
                root=Root(RootKind.ENTRY, entry),
                entry=entry,
                tag=tag.lower(),
            )


RULES = (
    Rule(
        "BF208", "build-machine-runpath", Severity.WARNING,
        "A RUNPATH or RPATH entry of an installed package leads to a directory of the build"
        " machine.",
        "The loader searches there first. A user of the target who creates the directory can"
        " replace the libraries of the program; in /tmp everyone can.",
        "Build the package without the entry: install it with the build tool, which sets the"
        " final RPATH, or remove the entry with 'chrpath -d'.",
        "/usr/bin/server of a Debian package has the RUNPATH /home/ci/server/build/lib.",
        find_entries_of_build_machine,
        applies_to=frozenset({InstallLocation.BESIDE_OTHERS, InstallLocation.ROOT}),
    ),
)  # fmt: skip
