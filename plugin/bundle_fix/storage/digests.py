"""SHA-256 of contents, several at a time: hashing leaves Python's lock to others."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from functools import partial

from bundle_fix.model.content import Content, read_chunks
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.wording import format_count

MAX_THREADS = 8
"""More threads than this wait for memory, not for processors."""


def compute_sha256(content: Content) -> str:
    """The SHA-256 of all bytes of ``content``, in hexadecimal.

    Raises:
        BundleFixError: it cannot be read.
    """
    import hashlib

    digest = hashlib.sha256()
    with content.open() as reader:
        for piece in read_chunks(reader):
            digest.update(piece)
    return digest.hexdigest()


def make_hashing_step(contents: Collection[Content]) -> ProgressStep:
    """The step of the work in which they are hashed."""
    size, number = sum(content.size for content in contents), len(contents)
    return ProgressStep("hashing", size, format_count(number, "file"), number)


def compute_digests(
    contents: Iterable[Content],
    known: Mapping[Content, str] | None = None,
    progress: Progress = no_progress,
) -> Mapping[Content, str]:
    """The SHA-256 of each content, each read once; see `compute_sha256`.

    Args:
        contents: what to read.
        known: digests of some of them, which are not read again.
        progress: is told how many are read.
    """
    found = dict(known or {})
    # The largest first, so that no thread is left with it at the end.
    wanted = sorted({c for c in contents if c not in found}, key=lambda c: -c.size)
    if not wanted:
        return found
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        hashed = track_parts(
            pool.map(compute_sha256, wanted), partial(progress, make_hashing_step(wanted))
        )
        return {**found, **dict(zip(wanted, hashed, strict=True))}
