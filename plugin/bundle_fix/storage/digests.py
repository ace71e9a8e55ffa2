"""SHA-256 digests of contents, computed in threads: hashlib releases the GIL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial

from bundle_fix.model.content import Content, read_chunks
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.wording import format_count

MAX_THREADS = 8
"""Limit of threads: with more, the memory bandwidth and not the processors sets the speed."""


def compute_sha256(content: Content) -> str:
    """Return the SHA-256 of all bytes of ``content``, in hexadecimal.

    Raises:
        BundleFixError: it cannot be read.
    """
    import hashlib

    digest = hashlib.sha256()
    with content.open() as reader:
        for chunk in read_chunks(reader):
            digest.update(chunk)
    return digest.hexdigest()


def compute_digests(
    contents: Iterable[Content],
    known: Mapping[Content, str] | None = None,
    progress: Progress = no_progress,
) -> Mapping[Content, str]:
    """Return the SHA-256 of each content; equal contents are read once (see `compute_sha256`).

    Args:
        contents: the contents to read.
        known: digests of some of them, which are not read again.
        progress: receives the number of hashed contents.
    """
    digests = dict(known or {})
    # The largest first, so that no thread works on it alone at the end.
    missing = sorted({c for c in contents if c not in digests}, key=lambda c: -c.size)
    if not missing:
        return digests
    from concurrent.futures import ThreadPoolExecutor

    size, number = sum(content.size for content in missing), len(missing)
    step = ProgressStep("hashing", size, format_count(number, "file"), number)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        hashed = track_parts(pool.map(compute_sha256, missing), partial(progress, step))
        return {**digests, **dict(zip(missing, hashed, strict=True))}
