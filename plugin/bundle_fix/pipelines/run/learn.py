"""Proposals for a spec: the libraries that a run opened and the spec does not declare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli
from msgspec import Struct

from bundle_fix.model.errors import BundleFixError
from bundle_fix.run.observation import Load, LoadOrigin
from bundle_fix.run.record.loader_record import LoadCall
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.storage.atomic import create_pending_file

HEADER = re.compile(r"^[ \t]*\[[ \t]*closure[ \t]*\][^\n]*\n", re.MULTILINE)
KEY = re.compile(r"^[ \t]*dlopen[ \t]*=[ \t]*", re.MULTILINE)
TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


class Proposals(Struct, frozen=True):
    """What a spec lacks.

    Attributes:
        names: names of libraries that were opened, for ``[closure] dlopen``.
        files: absolute paths of the host's libraries that were opened, for ``[[files]]``.
    """

    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def learn_spec(path: Path, loads: Iterable[Load], libraries: str) -> Proposals:
    """Add the libraries that a run opened to the spec at ``path``.

    Args:
        path: the spec; it is replaced if there is anything to add.
        loads: the loads of the run.
        libraries: the directory of the pack for libraries, with a slash at its end.

    Returns:
        What was added.

    Raises:
        BundleFixError: the spec is invalid, or ``[closure]`` is written in an unusual form.
    """
    spec = load_spec(path)
    known = {str(name) for name in spec.closure.dlopen}
    data = tomli.loads(spec.toml)
    sources = {entry.get("from") for entry in data.get("files", ()) if isinstance(entry, dict)}
    proposals = _find_proposals(loads, known, sources)
    text = spec.toml
    if proposals.names:
        text = add_dlopen_names(text, data, proposals.names, str(path))
    for file in proposals.files:
        text = text.rstrip("\n") + f"\n\n[[files]]\nfrom = {json.dumps(file)}\n"
        text += f"to = {json.dumps(libraries)}\n"
    if text != spec.toml:
        with create_pending_file(path) as pending:
            pending.file.write(text.encode("utf-8"))
            pending.commit(like=path)
    return proposals


def _find_proposals(loads: Iterable[Load], known: set[str], sources: set[str | None]) -> Proposals:
    """Return the names and files that were opened and are not declared yet."""
    opened = [load for load in loads if load.call is LoadCall.DLOPEN and not load.at_start]
    found = [load for load in opened if load.origin is not LoadOrigin.MISSING]
    names = {load.name for load in found if "/" not in load.name} - known
    files = {
        load.name
        for load in found
        if load.name.startswith("/") and load.origin in (LoadOrigin.HOST, LoadOrigin.DECOY)
    }
    return Proposals(tuple(sorted(names)), tuple(sorted(files - sources)))


def add_dlopen_names(text: str, data: Any, names: Iterable[str], where: str) -> str:
    """Return the text of a spec with more names in ``[closure] dlopen``.

    Args:
        text: the spec; its comments and its other lines are kept.
        data: the spec, parsed.
        names: the names to add.
        where: the path of the spec, for the error message.

    Raises:
        BundleFixError: the key is not in a ``[closure]`` table of its own.
    """
    closure = data.get("closure", {})
    values = [*closure.get("dlopen", ()), *names]
    line = f"dlopen = {json.dumps(values, ensure_ascii=False)}"
    if "closure" not in data:
        return text.rstrip("\n") + f"\n\n[closure]\n{line}\n"
    header = HEADER.search(text)
    if header is not None and "dlopen" not in closure:
        return text[: header.end()] + f"{line}\n" + text[header.end() :]
    if header is not None:
        end = following.start() if (following := TABLE.search(text, header.end())) else len(text)
        key = KEY.search(text, header.end(), end)
        if key is not None and (stop := _find_value_end(text, key.end())) is not None:
            return text[: key.start()] + line + text[stop:]
    raise BundleFixError(
        f"cannot add {', '.join(names)} to [closure] dlopen", where=where,
        hint="write the key in a [closure] table of its own",
    )  # fmt: skip


def _find_value_end(text: str, start: int) -> int | None:
    """Return the offset just past the array that begins at ``start``."""
    end = start
    while (end := text.find("]", end) + 1) > 0:
        try:
            tomli.loads(f"value = {text[start:end]}")
        except tomli.TOMLDecodeError:
            continue
        return end
    return None
