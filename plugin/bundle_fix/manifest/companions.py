"""Signatures and checksums beside a single file that an edit makes invalid."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.model.content import Content, make_path_content
from bundle_fix.model.tree import ATTRIBUTE_PREFIX, File, Metadata, Tree

COMPANION_NAME = re.compile(
    r"\.(chk|hmac|asc|sig|sign|gpg|minisig|p7s)$|^(fipscheck|hmaccalc)$"
    r"|md5|sha(\d|sum)|checksum|digest",
    re.IGNORECASE,
)
"""Names of files and directories with signatures or checksums; most directories have none."""


def find_stale_companions(target: Path, before: Path, after: Content) -> Iterator[str]:
    """Yield a remark on each signature and list of checksums of an edited file.

    Args:
        target: the path of the edited file; the files beside it are searched.
        before: the file before the edit.
        after: the edited content.
    """
    try:
        names = [path.name for path in target.parent.iterdir() if COMPANION_NAME.search(path.name)]
        attributes = os.listxattr(before)
    except OSError:
        return
    if not names and not any(name.startswith("security.") for name in attributes):
        return
    # These imports take longer than a small edit.
    from bundle_fix.manifest.checksums import renew_checksums
    from bundle_fix.plan.companions import list_companion_names, list_signed_files

    paths = {name: target.parent / name for name in (*names, *list_companion_names(target.name))}
    siblings = {
        name: File(make_path_content(path), Metadata(0))
        for name, path in paths.items()
        if name != target.name and path.is_file()
    }
    metadata = Metadata(0, extra={f"{ATTRIBUTE_PREFIX}{name}": "" for name in attributes})
    old = Tree({**siblings, target.name: File(make_path_content(before), metadata)})
    new = Tree({**siblings, target.name: File(after, Metadata(0))})
    for signature in list_signed_files(old, [target.name]).values():
        yield f"{signature} is about its old content: sign it again"
    for path in renew_checksums(old, new).paths:
        yield f"{path} contains its old checksum"
