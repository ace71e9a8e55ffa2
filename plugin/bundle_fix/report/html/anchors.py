"""Anchors: the ids of the parts of a report, the same in every report on the same thing."""

from __future__ import annotations

import hashlib
import re

from bundle_fix.report.finding_record import FindingRecord

UNSAFE = re.compile(r"[^A-Za-z0-9._+]+")
LONGEST = 80
"""Characters of one part of an anchor."""


class Anchors:
    """Gives every part of a document an id of its own.

    Args:
        prefix: the start of all ids, for the second and further artifacts of a document.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.known: set[str] = set()

    def _join_parts(self, *parts: str) -> str:
        """Return the id of texts, which another part may have."""
        return self.prefix + "-".join(filter(None, map(format_anchor, parts)))

    def create(self, *parts: str) -> str:
        """Return an id made of texts: ``BF102-bin-server`` for ``BF102`` and ``bin/server``.

        If another part has the id already, the digest of the texts makes the difference.
        """
        anchor = self._join_parts(*parts)
        if anchor in self.known:
            text = "\0".join(parts).encode("utf-8", "surrogatepass")
            anchor = f"{anchor}-{hashlib.sha256(text).hexdigest()[:8]}"
        number, unique = 1, anchor
        while unique in self.known:
            number += 1
            unique = f"{anchor}-{number}"
        self.known.add(unique)
        return unique

    def create_for_finding(self, finding: FindingRecord) -> str:
        """Return the id of a finding; the first one of a rule and a file has no subject in it."""
        short = self._join_parts(finding.rule, finding.path)
        if short not in self.known:
            return self.create(finding.rule, finding.path)
        return self.create(finding.rule, finding.path, finding.subject)


def format_anchor(text: str) -> str:
    """Return a text with letters, digits, ``.``, ``_``, ``+`` and ``-`` only."""
    return UNSAFE.sub("-", text).strip("-")[:LONGEST]
