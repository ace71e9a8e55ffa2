"""Detection of packages and root file systems, whose files belong at the root of a target."""

from __future__ import annotations

import re

from bundle_fix.archive.packages.npm import is_npm_package
from bundle_fix.archive.wheel import is_wheel
from bundle_fix.model.tree import File, InstallLocation, Symlink, Tree

RELEASE_FILES = ("etc/os-release", "usr/lib/os-release", "etc/alpine-release", "etc/debian_version")
"""Files that name the distribution of a root file system (os-release(5))."""
LOADER = re.compile(
    r"(usr/)?lib\w{0,3}/([\w-]+-linux-[\w]+/)?ld(64|-linux|-musl|-\d)[\w.-]*\.so[\w.]*"
)
IMAGE_MARKS = ("index.json", "manifest.json")
"""Files of which a container image has one; other archives may have them as well."""
CONDA_INDEX = "info/index.json"
CONDA_LISTS = ("info/paths.json", "info/files")
"""Metadata files of a conda package: its index, and the lists of its files, new and old."""
PACKAGE_MARKS = (".PKGINFO", ".BUILDINFO", "install/slack-desc")
"""Metadata files of packages that are plain tarballs: Arch Linux, Alpine Linux, Slackware."""


def find_install_location(tree: Tree) -> InstallLocation:
    """Return the location that the members of a tarball or directory are unpacked to."""
    if any(mark in tree.nodes for mark in PACKAGE_MARKS):
        return InstallLocation.BESIDE_OTHERS
    # A root file system has both; a pack that contains a dynamic loader has no os-release.
    if any(isinstance(tree.nodes.get(path), File | Symlink) for path in RELEASE_FILES) and any(
        map(LOADER.fullmatch, tree.nodes)
    ):
        return InstallLocation.ROOT
    return InstallLocation.ANYWHERE


def is_conda_package(tree: Tree) -> bool:
    """Return whether ``tree`` is a conda package, which is linked into a prefix beside others."""
    return CONDA_INDEX in tree.nodes and any(name in tree.nodes for name in CONDA_LISTS)


def is_installed_with_default_modes(tree: Tree) -> bool:
    """Return whether the installer sets the modes of files and directories, except execute bits.

    pip and uv install a wheel's files with the modes that the umask allows, and keep the execute
    bits (pip's set_extracted_file_to_default_mode_plus_executable). npm adds read bits for everyone
    and removes the bits of its umask, 022 (pacote's fetcher.js, #entryMode).
    """
    return not tree.keeps_symlinks and (is_wheel(tree) or is_npm_package(tree))
