"""Locations and fingerprints for CI services, which only know the files of a repository."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from urllib.parse import quote


def locate_member(artifact: str, path: str) -> str:
    """Return the path of a member as if its artifact were a directory.

    The path is relative to the working directory if the artifact is below it.

    Args:
        artifact: its path, as given by the user.
        path: the member's path in the artifact; empty for the artifact itself.
    """
    location = os.path.normpath(artifact)
    working_directory = os.getcwd()  # noqa: PTH109 (paths are strings here, maybe not UTF-8)
    if location.startswith(working_directory.rstrip("/") + "/"):
        location = os.path.relpath(location, working_directory)
    if location.startswith("/"):
        # POSIX lets a path begin with two slashes, but a URI would read a host name there.
        location = "/" + location.lstrip("/")
    return posixpath.join(location, path) if path else location


def encode_uri(path: str) -> str:
    """Return a path as a URI reference (RFC 3986): relative, or ``file:`` if it is absolute."""
    text = quote(path.encode("utf-8", "surrogateescape"), safe="/@!$&'()*+,;=~")
    return f"file://{text}" if text.startswith("/") else text


def deduplicate_fingerprints(fingerprints: Iterable[str]) -> Iterator[str]:
    """Yield the fingerprints, each repeated one replaced; the result is the same in every run."""
    counts: dict[str, int] = {}
    for fingerprint in fingerprints:
        counts[fingerprint] = number = counts.get(fingerprint, 0) + 1
        if number == 1:
            yield fingerprint
        else:
            yield hashlib.sha256(f"{fingerprint}\0{number}".encode()).hexdigest()[:32]
