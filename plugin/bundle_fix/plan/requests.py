"""Requests for repairs: the changes that the findings of a check ask for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct


class RepairKind(Enum):
    """The change that repairs a finding; the subject of a request is given for each."""

    FIND_NAME = "find_name"
    """An object finds a needed name in the pack; subject: the name."""
    REMOVE_ENTRY = "remove_entry"
    """An entry of an object's RUNPATH or RPATH is removed; subject: the entry."""
    ADD_SONAME = "add_soname"
    """A library gets its soname as a file name; subject: the path of that name."""
    REPAIR_SYMLINK = "repair_symlink"
    """A symlink gets a target that exists."""
    RETARGET_SYMLINK = "retarget_symlink"
    """A symlink leads to the version of a library that its name says."""
    REPLACE_SYMLINK = "replace_symlink"
    """A link that an installation loses becomes a copy of its target."""
    RESTORE_SYMLINK = "restore_symlink"
    """A text file that stands for a symlink becomes a symlink, or a copy of its target."""
    REPAIR_MODE = "repair_mode"
    """A member gets a mode with which it can be used."""
    CLEAR_STACK = "clear_stack"
    """An object no longer requests an executable stack."""
    RENEW_RECORD = "renew_record"
    """The RECORD of a wheel lists its files as they are."""


class RepairRequest(Struct, frozen=True):
    """One change that a finding asks for.

    Attributes:
        kind: the kind of change.
        path: the member that the finding is about.
        subject: the detail of the member, see `RepairKind`.
        rule: the code of the rule that found it.
    """

    kind: RepairKind
    path: str
    subject: str
    rule: str


class RepairRequests:
    """The requests of one check, by kind, path and subject.

    A plan made for them contains no other change, and names the rules that asked for each.
    """

    def __init__(self, requests: Iterable[RepairRequest] = ()) -> None:
        self._rules: dict[tuple[RepairKind, str], dict[str, dict[str, None]]] = {}
        for request in requests:
            subjects = self._rules.setdefault((request.kind, request.path), {})
            subjects.setdefault(request.subject, {})[request.rule] = None

    def list_subjects(self, kind: RepairKind, path: str) -> Mapping[str, tuple[str, ...]]:
        """Return the subjects of the requests for a member, each with the rules that ask."""
        subjects = self._rules.get((kind, path), {})
        return {subject: tuple(rules) for subject, rules in subjects.items()}

    def find_rules(self, kind: RepairKind, path: str) -> tuple[str, ...]:
        """Return the codes of the rules that ask for a kind of change of a member."""
        subjects = self._rules.get((kind, path), {})
        return tuple(dict.fromkeys(rule for rules in subjects.values() for rule in rules))

    def find_rules_for_name(self, name: str) -> tuple[str, ...]:
        """Return the codes of the rules by which some object must find a file name."""
        return tuple(
            dict.fromkeys(
                rule
                for (kind, _), subjects in self._rules.items()
                if kind is RepairKind.FIND_NAME
                for subject, rules in subjects.items()
                if posixpath.basename(subject) == name
                for rule in rules
            )
        )
