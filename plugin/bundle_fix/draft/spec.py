"""Draft of a first spec that packs an install tree, or an existing pack, again."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bundle_fix.archive.formats import DIRECTORY, ELF, SUFFIXES
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import open_artifact
from bundle_fix.draft.needs import find_needs
from bundle_fix.draft.survey import survey_tree
from bundle_fix.draft.text import SpecDraft
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import MANIFEST_NAME
from bundle_fix.spec.sources import read_builtin

FORMATS = ("tar.gz", "tar.zst", "tar.xz", "tar")
GENERIC_NAMES = re.compile(
    "(install|_?install|inst|stage|staging|build|dist|out|output|root|usr|local|prefix|latest|tree"
    "|release|debug|tmp|target)",
    re.IGNORECASE,
)
"""Directory names that do not name a product; the pack gets the name of a parent directory."""


def draft_spec(
    artifact: Path, spec: Path, title: str, limits: Limits = DEFAULT_LIMITS,
    progress: Progress = no_progress,
) -> SpecDraft:  # fmt: skip
    """Return a first spec that packs ``artifact`` again.

    Args:
        artifact: a directory; or a tarball, wheel or zip archive, which must be unpacked before
            the spec is used.
        spec: the path that the spec will have.
        title: the artifact's name, as the user gave it.
        limits: the limits for reading the artifact.
        progress: receives the number of bytes read.

    Raises:
        BundleFixError: the artifact cannot be read, or it contains nothing to pack.
    """
    with open_artifact(artifact, limits, progress) as opened:
        if opened.format == ELF:
            raise BundleFixError(
                "is a single file, not a tree", where=title,
                hint="pass the directory that contains it",
            )  # fmt: skip
        bundle = read_bundle(opened.tree, title)
        is_directory = opened.format == DIRECTORY
        root = artifact.resolve() if is_directory else None
        # Every pack gets a new manifest.
        survey = survey_tree(bundle, {MANIFEST_NAME, *_find_spec_in_tree(spec, root)})
        if not (survey.programs or survey.files or survey.libraries):
            raise BundleFixError(
                "contains no files to pack", where=title, hint="build and install first"
            )
        top = opened.tree.top
        return SpecDraft(
            title=title,
            name=_choose_pack_name(artifact.resolve(), is_directory=is_directory, top=top),
            format=opened.format if opened.format in FORMATS else "tar.gz",
            tree=_build_tree_template(root, spec.resolve().parent),
            survey=survey,
            needs=find_needs(bundle, root),
            glibc=read_builtin("glibc", {}).value,
        )


def _find_spec_in_tree(spec: Path, root: Path | None) -> tuple[str, ...]:
    """Return the path of the spec relative to the tree, or nothing if it is outside."""
    path = spec.resolve()
    if root is None or not path.is_relative_to(root):
        return ()
    return (str(path.relative_to(root)),)


def _build_tree_template(root: Path | None, spec_directory: Path) -> str:
    """Return a template of the tree's directory, relative to the spec if that is short.

    Raises:
        BundleFixError: the path contains unprintable characters.
    """
    if root is None or root == spec_directory:
        return "."
    relative = os.path.relpath(root, spec_directory)
    is_far = relative.startswith("../../..")
    prefix, text = ("", str(root)) if is_far else ("{here}", f"/{relative}")
    if not text.isprintable():
        raise BundleFixError(
            "the path contains unprintable characters, which a spec cannot contain",
            where=str(root), hint="rename the directory",
        )  # fmt: skip
    return prefix + text.replace("{", "{{").replace("}", "}}")


def _choose_pack_name(path: Path, *, is_directory: bool, top: str) -> str:
    """Return a name for the pack: of the archive, or of the nearest directory that names a product.

    Args:
        path: the artifact.
        is_directory: whether it is a directory.
        top: the archive's top directory, for an archive whose name is only a suffix.
    """
    names = [path.name, *(parent.name for parent in path.parents)]
    if not is_directory:
        suffix = next((s for s in SUFFIXES if path.name.endswith(s)), "")
        stem = path.name.removesuffix(suffix)
        names = [stem.removesuffix(".fixed") or top]
    name = next((name for name in names if name and not GENERIC_NAMES.fullmatch(name)), "pack")
    return re.sub(r"[^\w.+-]", "-", name, flags=re.ASCII).strip(".-") or "pack"
