"""Makes a first spec of a build's install tree, or of a pack."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bundle_fix.archive.formats import DIRECTORY, ELF, SUFFIXES
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import open_artifact
from bundle_fix.draft.needs import needs_of
from bundle_fix.draft.survey import survey
from bundle_fix.draft.text import Draft, draft_text
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.spec.sources import read_builtin

FORMATS = ("tar.gz", "tar.zst", "tar.xz", "tar")
NOT_TELLING = re.compile(
    "(install|_?install|inst|stage|staging|build|dist|out|output|root|usr|local|prefix|latest|tree"
    "|release|debug|tmp|target)",
    re.IGNORECASE,
)
"""Names of folders that say nothing of what is in them: that of the folder above is taken then."""
MADE_ANEW = "bundle-manifest.json"
"""What a pack has and every pack gets anew."""


def first_spec(
    artifact: Path, spec: Path, title: str, limits: Limits = DEFAULT_LIMITS,
    progress: Progress = no_progress,
) -> str:  # fmt: skip
    """The text of a first spec that packs ``artifact`` again.

    Args:
        artifact: a folder, or a tarball, wheel or zip archive, which is taken to be unpacked where
            the spec is used.
        spec: where the spec will lie.
        title: the artifact's name, as the user gave it.
        limits: how much may be in it.
        progress: is told how much of it is read.

    Raises:
        BundleFixError: it cannot be read, or there is nothing to pack in it.
    """
    with open_artifact(artifact, limits, progress) as opened:
        if opened.format == ELF:
            raise BundleFixError(
                "is a single file, not a tree", where=title, hint="name the folder that it is in"
            )
        bundle = read_bundle(opened.tree, title)
        is_folder = opened.format == DIRECTORY
        root = artifact.resolve() if is_folder else None
        found = survey(bundle, {MADE_ANEW, *_inside(spec, root)})
        if not (found.programs or found.files or found.libraries):
            raise BundleFixError("there is nothing in it to pack", where=title, hint="build first")
        return draft_text(
            Draft(
                title=title,
                name=_name(artifact.resolve(), is_folder=is_folder, top=opened.tree.top),
                format=opened.format if opened.format in FORMATS else "tar.gz",
                tree=_tree(root, spec.resolve().parent),
                survey=found,
                needs=needs_of(bundle, root),
                glibc=read_builtin("glibc", {}).value,
            )
        )


def _inside(spec: Path, root: Path | None) -> tuple[str, ...]:
    """The spec's own path in the tree, if it lies there."""
    path = spec.resolve()
    inside = root is not None and path.is_relative_to(root)
    return (str(path.relative_to(root)),) if inside and root is not None else ()


def _tree(root: Path | None, here: Path) -> str:
    """The folder that is packed, as a template: relative to the spec's own where that is short."""
    if root is None or root == here:
        return "."
    relative = os.path.relpath(root, here)
    text = str(root) if relative.startswith("../../..") else f"{{here}}/{relative}"
    if not text.isprintable():
        raise BundleFixError(
            "the folder's path cannot be written in a spec", where=str(root), hint="rename it"
        )
    prefix = "{here}" if text.startswith("{here}") else ""
    return prefix + text[len(prefix) :].replace("{", "{{").replace("}", "}}")


def _name(path: Path, *, is_folder: bool, top: str) -> str:
    """A name for the pack: an archive's own, or that of the folder, unless it tells nothing."""
    names = [path.name, *(above.name for above in path.parents)]
    if not is_folder:
        suffix = next((s for s in SUFFIXES if path.name.endswith(s)), "")
        stem = path.name.removesuffix(suffix)
        names = [stem.removesuffix(".fixed") or top]
    telling = next((name for name in names if name and not NOT_TELLING.fullmatch(name)), "pack")
    return re.sub(r"[^\w.+-]", "-", telling, flags=re.ASCII).strip(".-") or "pack"
