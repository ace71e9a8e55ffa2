"""BF114: directories of plugins that are compiled into an object as absolute paths."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.rules.undefined import COMPILER_LIBRARIES
from bundle_fix.check.wording import join_names
from bundle_fix.elf.scan.absolute_paths import contains_string, list_directory_paths
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.model.content import read_exactly
from bundle_fix.model.tree import Tree
from bundle_fix.policy.severity import Severity

COMMON_PARTS = frozenset({
    "bin", "drivers", "engines", "extensions", "ext", "lib", "lib32", "lib64", "libexec", "loaders",
    "local", "modules", "opt", "plugin", "plugins", "private", "sbin", "security", "usr",
})  # fmt: skip
"""Names of directories that do not identify a project (Filesystem Hierarchy Standard; autoconf)."""
COMMON_PART = re.compile(r"[\d.]+|[a-z0-9_]+-(?:[a-z]+-)?linux-(?:gnu|musl)\w*")
"""A version, or the machine of a multiarch directory."""
DATA_PARTS = frozenset({
    "dev", "doc", "docs", "etc", "include", "info", "man", "proc", "run", "share", "src", "sys",
    "var",
})  # fmt: skip
"""Directories without libraries: documentation, settings, sources (same sources)."""
ROOTS = frozenset({
    "app", "build", "builds", "data", "gnu", "home", "install", "lib", "lib32", "lib64", "mnt",
    "nix", "opt", "root", "snap", "srv", "tmp", "usr", "work", "workspace",
})  # fmt: skip
"""The first parts of paths on a file system (same standard, build services, package managers).

Other strings with slashes are keys and resources, such as Qt's /QtQuick/Controls/Styles.
"""
SCRIPT_SUFFIXES = (".conf", ".env", ".py", ".sh")
MAX_SCRIPT, MAX_SCRIPTS = 64 << 10, 1000
"""Bytes of a script, and number of scripts, that are searched for the name of a directory."""


def find_compiled_in_directories(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the plugin directories of the pack that an object opens at an absolute path instead."""
    directories = _list_plugin_directories(context)
    found: dict[str, dict[str, list[str]]] = {}
    for path in _list_users_of_dlopen(context) if directories else ():
        paths = context.facts.read_fact(path, list_directory_paths)
        image = context.bundle.images[path]
        search_path = f"{image.runpath or ''}:{image.rpath or ''}".split(":")
        for compiled_in in sorted(paths - set(search_path)):
            directory = _find_directory(compiled_in, directories)
            if not directory or _is_relocated(compiled_in, paths, context.host.pack_path):
                continue
            if path.startswith(f"{directory}/"):
                continue  # The directory of the project, not that of its plugins.
            if not _is_found_beside(context, path, directory):
                found.setdefault(directory, {}).setdefault(path, []).append(compiled_in)
    for directory, users in found.items():
        path, entries = min(users.items(), key=lambda user: user[0] not in context.dlopen_importers)
        is_set = _is_named_in_script(context.bundle.tree, posixpath.basename(directory))
        yield rule.make_finding(
            path,
            f"contains the plugin directory {join_names(entries)}; the pack has its own plugins in"
            f" {directory}" + (", which a script names" if is_set else ""),
            severity=Severity.NOTE if is_set else None,
            entry=directory,
            compiled_in=entries,
            used_by=list(users),
            provided=sorted(directories[directory]),
        )


def _list_plugin_directories(context: Context) -> Mapping[str, Sequence[str]]:
    """Return the plugins below each directory of the pack that contains any."""
    found: dict[str, list[str]] = {}
    for plugin in context.plugins:
        parent = posixpath.dirname(plugin)
        while parent:
            found.setdefault(parent, []).append(plugin)
            parent = posixpath.dirname(parent)
    return found


def _list_users_of_dlopen(context: Context) -> list[str]:
    """Return the objects of the pack in processes in which an object may import dlopen."""
    importers = set(context.dlopen_importers)
    found: dict[str, None] = {}
    for process in (*context.programs.values(), *context.plugins.values()):
        if any(loaded.path in importers or _may_import(loaded) for loaded in process.objects):
            found |= dict.fromkeys(loaded.label for loaded in process.list_bundled_objects())
    return list(found)


def _may_import(loaded: LoadedObject) -> bool:
    """Return whether an object of the host may open plugins, as libgmodule-2.0.so.0 does."""
    is_runtime = is_part_of_libc(loaded.name) or COMPILER_LIBRARIES.fullmatch(loaded.name)
    return loaded.origin is ObjectOrigin.HOST and not is_runtime


def _find_directory(path: str, directories: Mapping[str, Sequence[str]]) -> str | None:
    """Return the plugin directory of the pack with the same last parts as an absolute path.

    One of these parts must identify a project.
    """
    parts = path.strip("/").split("/")
    if parts[0] not in ROOTS or not DATA_PARTS.isdisjoint(parts):
        return None
    own = next((at for at, part in enumerate(reversed(parts), 1) if not _is_common(part)), None)
    if own is None:
        return None
    matches = [d for d in directories if d.split("/")[-own:] == parts[-own:]]
    return min(matches, key=lambda directory: (directory.count("/"), directory), default=None)


def _is_common(part: str) -> bool:
    return part in COMMON_PARTS or COMMON_PART.fullmatch(part) is not None


def _is_relocated(path: str, others: frozenset[str], pack_path: str) -> bool:
    """Return whether a path is in the pack at its place, or an object derives it from its own.

    PostgreSQL, for example, compares the compiled-in path of its bin directory with the real one
    (src/port/path.c, make_relative_path).
    """
    parts = path.split("/")
    prefixes = ("/".join(parts[:at]) for at in range(2, len(parts)))
    return path.startswith(f"{pack_path}/") or any(f"{prefix}/bin" in others for prefix in prefixes)


def _is_found_beside(context: Context, path: str, directory: str) -> bool:
    """Return whether an object finds a directory relative to its own path, given by dladdr(3).

    GStreamer, for example, contains the relative path as well (gst/gstregistry.c,
    priv_gst_get_relocated_libgstreamer).
    """
    undefined = context.facts.read_undefined_symbols(path)
    if all(symbol.name != b"dladdr" for symbol in undefined):
        return False
    relative = posixpath.relpath(directory, posixpath.dirname(path))
    with context.bundle.get_content(path).open() as reader:
        return contains_string(reader, context.bundle.images[path], relative)


def _is_named_in_script(tree: Tree, name: str) -> bool:
    """Return whether a script or a setting contains ``name``, probably for a variable."""
    left = MAX_SCRIPTS
    for path, file in tree.iter_files():
        if file.content.size > MAX_SCRIPT or left == 0:
            continue
        with file.content.open() as reader:
            is_script = path.endswith(SCRIPT_SUFFIXES) or reader.pread(0, 2) == b"#!"
            if is_script:
                left -= 1
                if name.encode() in (read_exactly(reader, 0, file.content.size) or b""):
                    return True
    return False


RULES = (
    Rule(
        "BF114", "compiled-in-plugin-directory", Severity.WARNING,
        "An object contains the absolute path of a plugin directory that the pack has as well.",
        "The object opens its plugins at the absolute path. The host's plugins are loaded into the"
        " process, built for another version of the library, or none is found.",
        "Set the variable with which the library replaces the path in a start script (such as"
        " OPENSSL_MODULES, SASL_PATH, QT_PLUGIN_PATH), or build it for a relative path.",
        "lib/libcrypto.so.3 contains /usr/lib/x86_64-linux-gnu/ossl-modules, and the pack contains"
        " lib/ossl-modules/legacy.so.",
        find_compiled_in_directories,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
