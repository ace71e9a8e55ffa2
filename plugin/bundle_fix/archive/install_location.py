"""Where what is in an archive goes on a target, told by what is in it."""

from __future__ import annotations

import re

from bundle_fix.model.tree import File, InstallLocation, Symlink, Tree

RELEASES = ("etc/os-release", "usr/lib/os-release", "etc/alpine-release", "etc/debian_version")
"""Files that say which distribution a root file system is of (os-release(5))."""
LOADER = re.compile(
    r"(usr/)?lib\w{0,3}/([\w-]+-linux-[\w]+/)?ld(64|-linux|-musl|-\d)[\w.-]*\.so[\w.]*"
)
IMAGE_MARKS = ("index.json", "manifest.json")
"""Files of which a container image has one, but not every archive that has one is an image."""
PACKAGE_MARKS = (".PKGINFO", ".BUILDINFO", "install/slack-desc")
"""What packages have that are nothing but tarballs: of Arch Linux, Alpine Linux, Slackware."""


def find_install_location(tree: Tree) -> InstallLocation:
    """Where the content of a tarball or folder goes: it may be a root file system, or a package."""
    if any(mark in tree.nodes for mark in PACKAGE_MARKS):
        return InstallLocation.BESIDE_OTHERS
    # An image of a distribution has both; a pack that brings a loader has no os-release.
    if any(isinstance(tree.nodes.get(path), File | Symlink) for path in RELEASES) and any(
        map(LOADER.fullmatch, tree.nodes)
    ):
        return InstallLocation.ROOT
    return InstallLocation.ANYWHERE
