"""Where a finding is, in the words of services that only know files of a repository."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from urllib.parse import quote


def locate_member(artifact: str, path: str) -> str:
    """The path of a member as if its artifact were a folder, from the working directory if below.

    Args:
        artifact: as the user named it.
        path: the member's path in it; empty for the artifact itself.
    """
    whole = os.path.normpath(artifact)
    here = os.getcwd()  # noqa: PTH109 (these are texts, and may not be UTF-8)
    if whole.startswith(here.rstrip("/") + "/"):
        whole = os.path.relpath(whole, here)
    whole = "/" + whole.lstrip("/") if whole.startswith("/") else whole
    return posixpath.join(whole, path) if path else whole


def encode_uri(path: str) -> str:
    """A path as a URI reference (RFC 3986): relative, or with ``file:`` where it is absolute."""
    text = quote(path.encode("utf-8", "surrogateescape"), safe="/@!$&'()*+,;=~")
    return f"file://{text}" if text.startswith("/") else text


def deduplicate_fingerprints(fingerprints: Iterable[str]) -> Iterator[str]:
    """Fingerprints with those that came before replaced by others, the same in every run."""
    seen: dict[str, int] = {}
    for fingerprint in fingerprints:
        seen[fingerprint] = number = seen.get(fingerprint, 0) + 1
        if number == 1:
            yield fingerprint
        else:
            yield hashlib.sha256(f"{fingerprint}\0{number}".encode()).hexdigest()[:32]
