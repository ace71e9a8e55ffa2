"""The directories that RPATH, RUNPATH and LD_LIBRARY_PATH name, as paths in a process's view."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from bundle_fix.loader.hosts.rtld import GLIBC, MUSL
from bundle_fix.loader.objects import Outcome, ProcessContext, SearchStep
from bundle_fix.loader.search.tokens import Refusal, substitute_as_musl, substitute_tokens


class SearchDirectory(NamedTuple):
    """A directory to search: its text, the rule that names it, and its path in the view.

    Where the text names no directory, ``path`` is empty and ``refusal`` says why. ``owner`` is the
    object that it was inherited from.
    """

    entry: str
    via: str
    path: str
    refusal: Outcome | None = None
    owner: str = ""

    def make_step(self, place: str, outcome: Outcome, detail: str = "") -> SearchStep:
        """The step of looking at ``place`` for this directory's sake."""
        return SearchStep(place, self.via, outcome, self.entry, self.owner, detail)


SEPARATORS = {
    (GLIBC, "ld_library_path"): "[:;]",
    (MUSL, "ld_library_path"): "[:\n]",
    (MUSL, "rpath"): "[:\n]",
    (MUSL, "runpath"): "[:\n]",
}
"""What divides the entries of a list; a colon where nothing is said."""


def expand_search_path(
    setting: ProcessContext, text: str, via: str, home: str, owner: str = ""
) -> Iterator[SearchDirectory]:
    """The directories that a list names, each once.

    Args:
        setting: where the process runs.
        text: the list, as it stands in a file or in the environment.
        via: the rule that it belongs to.
        home: what ``$ORIGIN`` means in it.
        owner: the object that it was inherited from.
    """
    if not text:
        return
    flavour = setting.loader.flavour
    seen = set()
    if flavour == MUSL and via != "ld_library_path":
        whole = substitute_as_musl(text, home)
        if isinstance(whole, Refusal):
            yield SearchDirectory(text, via, "", Outcome(whole.value), owner)
            return
    for entry in re.split(SEPARATORS.get((flavour, via), ":"), text):
        # For musl an empty entry is none; for glibc it is the working directory.
        if flavour == MUSL and not entry:
            continue
        directory = _expand_entry(setting, entry, via, home)._replace(owner=owner)
        if directory.refusal is not None or directory.path not in seen:
            seen.add(directory.path)
            yield directory


def _expand_entry(setting: ProcessContext, entry: str, via: str, home: str) -> SearchDirectory:
    path = entry if keeps_tokens(setting, via) else expand_tokens(setting, entry, home)
    if isinstance(path, Refusal):
        return SearchDirectory(entry, via, "", Outcome(path.value))
    if path.startswith("/"):
        return SearchDirectory(entry, via, path)
    start = setting.environment.working_directory
    if start is None:
        return SearchDirectory(entry, via, "", Outcome.WORKING_DIRECTORY)
    return SearchDirectory(entry, via, posixpath.join(start, path) if path else start)


def keeps_tokens(setting: ProcessContext, via: str) -> bool:
    """Whether a text is taken as it stands: musl replaces tokens in search paths alone."""
    return setting.loader.flavour == MUSL and via not in ("rpath", "runpath")


def expand_tokens(setting: ProcessContext, text: str, home: str) -> str | Refusal:
    """``text`` with its tokens replaced for one process."""
    loader = setting.loader
    if "$" not in text:
        return text
    if loader.flavour == MUSL:
        return substitute_as_musl(text, home)
    trusted = loader.trusted if setting.secure else None
    return substitute_tokens(text, home, loader.lib, loader.platform, trusted=trusted)
