"""The directories of RPATH, RUNPATH and LD_LIBRARY_PATH, as absolute paths in the process's view.

Sources: glibc's elf/dl-load.c, fillin_rpath; musl's ldso/dynlink.c, fixup_rpath and path_open.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.objects import LoadedObject, ProcessContext
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep
from bundle_fix.loader.search.tokens import substitute_as_musl, substitute_tokens


class SearchDirectory(NamedTuple):
    """A directory to search: its entry as written, the rule that names it, and its path.

    If the entry names no directory, ``path`` is empty and ``refusal`` is the reason. ``owner`` is
    the label of the object from which the entry is inherited.
    """

    entry: str
    via: SearchRule
    path: str
    refusal: Outcome | None = None
    owner: str = ""

    def build_step(self, place: str, outcome: Outcome, detail: str = "") -> SearchStep:
        """Return the step that tries ``place`` because of this directory."""
        return SearchStep(place, self.via, outcome, self.entry, self.owner, detail)


SEPARATORS = {
    (Libc.GLIBC, SearchRule.LD_LIBRARY_PATH): "[:;]",
    (Libc.MUSL, SearchRule.LD_LIBRARY_PATH): "[:\n]",
    (Libc.MUSL, SearchRule.RPATH): "[:\n]",
    (Libc.MUSL, SearchRule.RUNPATH): "[:\n]",
}
"""The separators of the entries of a search path, a colon in all other cases."""


def expand_search_path(
    context: ProcessContext, text: str, via: SearchRule, owner: LoadedObject, label: str = ""
) -> Iterator[SearchDirectory]:
    """Yield the directories of a search path, each once.

    Args:
        context: the process.
        text: the search path as written in a file or in the environment.
        via: the rule that it belongs to.
        owner: the object whose ``$ORIGIN`` it contains.
        label: the label of the object from which it is inherited.
    """
    if not text:
        return
    libc = context.loader.libc
    seen = set()
    if libc is Libc.MUSL and via is not SearchRule.LD_LIBRARY_PATH:
        # One unknown token invalidates the whole list (fixup_rpath).
        whole = expand_tokens(context, text, owner)
        if isinstance(whole, Outcome):
            yield SearchDirectory(text, via, "", whole, label)
            return
    for entry in re.split(SEPARATORS.get((libc, via), ":"), text):
        # musl skips an empty entry; for glibc it is the working directory.
        if libc is Libc.MUSL and not entry:
            continue
        directory = _expand_entry(context, entry, via, owner)._replace(owner=label)
        if directory.refusal is not None or directory.path not in seen:
            seen.add(directory.path)
            yield directory


def _expand_entry(
    context: ProcessContext, entry: str, via: SearchRule, owner: LoadedObject
) -> SearchDirectory:
    path = entry if has_literal_tokens(context, via) else expand_tokens(context, entry, owner)
    if isinstance(path, Outcome):
        return SearchDirectory(entry, via, "", path)
    if path.startswith("/"):
        return SearchDirectory(entry, via, path)
    start = context.environment.working_directory
    if start is None:
        return SearchDirectory(entry, via, "", Outcome.WORKING_DIRECTORY)
    return SearchDirectory(entry, via, posixpath.join(start, path) if path else start)


def has_literal_tokens(context: ProcessContext, via: SearchRule) -> bool:
    """Return whether tokens are plain text: musl replaces them in RPATH and RUNPATH only."""
    return context.loader.libc is Libc.MUSL and via not in (SearchRule.RPATH, SearchRule.RUNPATH)


def expand_tokens(context: ProcessContext, text: str, owner: LoadedObject) -> str | Outcome:
    """Return the text of ``owner`` with its tokens replaced, or why that is not possible."""
    loader = context.loader
    if "$" not in text:
        return text
    # The path of a privileged program is chosen by its caller, who may make a hard link or a
    # namespace. That of a library is not (glibc: l_type == lt_executable; musl: kernel_mapped).
    is_distrusted = context.secure and owner is context.main
    if loader.libc is Libc.MUSL:
        result = substitute_as_musl(text, owner.directory)
        return Outcome.SECURE_EXECUTION if is_distrusted and isinstance(result, str) else result
    return substitute_tokens(
        text, owner.directory, loader.lib, loader.platform,
        is_secure=context.secure, trusted=loader.trusted if is_distrusted else None,
    )  # fmt: skip
