"""The steps of a search: a place, the rule that names it, and the outcome there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct


class SearchRule(Enum):
    """The rule by which the loader finds an object (ld.so(8)); the values are codes for JSON."""

    RPATH = "rpath"
    RUNPATH = "runpath"
    LD_LIBRARY_PATH = "ld_library_path"
    CACHE = "cache"
    DEFAULT = "default"
    DIRECT = "direct"
    LOADED = "loaded"
    PRELOAD = "preload"


SEARCH_RULE_TEXTS: Mapping[SearchRule, str] = {
    SearchRule.RPATH: "RPATH",
    SearchRule.RUNPATH: "RUNPATH",
    SearchRule.LD_LIBRARY_PATH: "LD_LIBRARY_PATH",
    SearchRule.CACHE: "ld.so.cache",
    SearchRule.DEFAULT: "default directories",
    SearchRule.DIRECT: "needed by path",
    SearchRule.LOADED: "interpreter",
    SearchRule.PRELOAD: "preloaded",
}
"""The name of each rule in messages; the kernel loads the object of `SearchRule.LOADED`."""


class Outcome(Enum):
    """The result of one step of a search; the values are codes for JSON."""

    FOUND = "found"
    EXPECTED = "expected"
    ON_HOST = "on_host"
    HOST_COPY = "host_copy"
    NOT_EXPECTED = "not_expected"
    MISSING_INTERPRETER = "missing_interpreter"
    MAIN_INTERPRETER = "interpreter"
    ANY_COPY = "any_copy"
    NOT_THERE = "not_there"
    NOT_LISTED = "not_listed"
    NOT_SEARCHED = "not_searched"
    NO_DIRECTORY = "no_directory"
    NO_DIRECTORY_IN_PACK = "no_directory_in_pack"
    UNRESOLVED_DIRECTORY = "unresolved_directory"
    UNRESOLVED_SYMLINK = "unresolved_symlink"
    SYMLINK_LOOP = "symlink_loop"
    OUTSIDE_PACK = "outside_pack"
    UNREADABLE = "unreadable"
    OTHER_MACHINE = "other_machine"
    LOADER_FAILS = "loader_fails"
    WORKING_DIRECTORY = "working_directory"
    VARIES_BY_HOST = "varies_by_host"
    SECURE_EXECUTION = "secure_execution"
    OTHER_TOKEN = "other_token"  # noqa: S105 (no password)


OUTCOME_TEXTS: Mapping[Outcome, str] = {
    Outcome.FOUND: "found",
    Outcome.EXPECTED: "expected there",
    Outcome.ON_HOST: "on the host",
    Outcome.HOST_COPY: "the host's copy is found",
    Outcome.NOT_EXPECTED: "not expected on the host",
    Outcome.MISSING_INTERPRETER: "missing on the host: the program cannot start",
    Outcome.MAIN_INTERPRETER: "the program's interpreter",
    Outcome.ANY_COPY: "may lead to any copy",
    Outcome.NOT_THERE: "not there",
    Outcome.NOT_LISTED: "not listed",
    Outcome.NOT_SEARCHED: "not searched: -z nodefaultlib",
    Outcome.NO_DIRECTORY: "no such directory",
    Outcome.NO_DIRECTORY_IN_PACK: "no such directory in the pack",
    Outcome.UNRESOLVED_DIRECTORY: "{detail}",
    Outcome.UNRESOLVED_SYMLINK: "a symlink that {detail}",
    Outcome.SYMLINK_LOOP: "a symlink loop",
    Outcome.OUTSIDE_PACK: "outside the pack: the target may have anything there",
    Outcome.UNREADABLE: "{detail}",
    Outcome.OTHER_MACHINE: "skipped: {detail}",
    Outcome.LOADER_FAILS: "{detail}: the search fails here",
    Outcome.WORKING_DIRECTORY: "depends on the working directory of the process",
    Outcome.VARIES_BY_HOST: "differs from host to host",
    Outcome.SECURE_EXECUTION: "ignored: the program is set-uid or set-gid, or has capabilities",
    Outcome.OTHER_TOKEN: "ignored: musl replaces no token but $ORIGIN",
}
"""The sentence of each outcome; ``{detail}`` is the step's own detail."""


class SearchStep(Struct, frozen=True):
    """One place that the loader tries.

    Attributes:
        place: the file or directory for messages; the rule's name if it has no single place.
        via: the rule that names the place.
        outcome: the result at that place.
        entry: the entry of RPATH, RUNPATH or LD_LIBRARY_PATH as written; for the cache the file
            that lists the library: ``ld.so.cache`` or ``ld.so.conf``.
        owner: the object that has the entry, if that is not the one that needs the name.
        detail: completes the outcome's sentence.
    """

    place: str
    via: SearchRule
    outcome: Outcome
    entry: str = ""
    owner: str = ""
    detail: str = ""

    @property
    def verdict(self) -> str:
        """The outcome as a sentence."""
        return OUTCOME_TEXTS[self.outcome].format(detail=self.detail)


def build_rule_step(rule: SearchRule, outcome: Outcome) -> SearchStep:
    """Return the step of a rule as a whole, without a single place."""
    return SearchStep(SEARCH_RULE_TEXTS[rule], rule, outcome)
