"""Installed packages that own files, from dpkg and rpm; one query covers all files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

DEB, RPM = "deb", "rpm"
OS_RELEASE = Path("/etc/os-release")
MERGED = ("/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/")
"""Directories that are symlinks into /usr on a merged system; dpkg may list either path."""
DIVERSION = re.compile(r"(?:diversion by (\S+)|local diversion) (from|to): (.*)")
RPM_FORMAT = r"%{NAME}\t%{EVR}\t%{ARCH}\n"


class Package(Struct, frozen=True):
    """An installed package: its kind (``deb`` or ``rpm``), and its record in the database."""

    kind: str
    name: str
    version: str
    architecture: str


class Distribution(Struct, frozen=True):
    """This machine's distribution by os-release(5): ID (``debian``) and VERSION_ID (``12``)."""

    name: str
    version: str


def read_distribution(path: Path = OS_RELEASE) -> Distribution:
    """Return ID and VERSION_ID of os-release(5); empty if they are missing."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return Distribution("", "")
    found = dict(re.findall(r"^(ID|VERSION_ID)=[\"']?([\w.+~-]*)", text, re.MULTILINE))
    return Distribution(found.get("ID", ""), found.get("VERSION_ID", ""))


def find_owners(paths: Iterable[Path]) -> Mapping[Path, Package]:
    """Return the package that owns each of ``paths``; those without an owner are left out.

    The paths must be absolute and contain no symlinks.
    """
    unique = list(dict.fromkeys(paths))
    found = _query_dpkg(unique)
    return {**found, **_query_rpm([path for path in unique if path not in found])}


def _query_dpkg(paths: Sequence[Path]) -> dict[Path, Package]:
    if not paths or shutil.which("dpkg-query") is None:
        return {}
    by_name = {name: path for path in paths for name in _list_dpkg_paths(path)}
    # dpkg-query interprets each argument as a pattern.
    patterns = [re.sub(r"([\\*?\[])", r"\\\1", name) for name in by_name]
    listed = run_query("dpkg-query", "--search", "--", *patterns)
    owned = _parse_owners(listed.splitlines())
    names = sorted({package for name, package in owned.items() if name in by_name})
    if not names:
        return {}
    # A package may be installed for several architectures: each has a line.
    line_format = r"${binary:Package}\t${Package}\t${Version}\t${Architecture}\n"
    lines = run_query("dpkg-query", "--show", f"--showformat={line_format}", "--", *names)
    packages: dict[str, Package] = {}
    for line in lines.splitlines():
        key, name, version, architecture = line.split("\t")
        packages[key] = packages[f"{name}:{architecture}"] = Package(
            DEB, name, version, architecture
        )
    return {
        by_name[name]: packages[package]
        for name, package in owned.items()
        if name in by_name and package in packages
    }


def _list_dpkg_paths(path: Path) -> list[str]:
    """Return the paths by which dpkg may list a file."""
    name = str(path)
    short = name.removeprefix("/usr")
    return [name, short] if short != name and short.startswith(MERGED) else [name]


def _parse_owners(lines: Iterable[str]) -> dict[str, str]:
    """Return the owner of each path in the output of ``dpkg-query --search``.

    Diversions (dpkg-divert(1)) are undone: the diverted path belongs to the diverting package, and
    the new path of the diverted file to the other packages.
    """
    plain: dict[str, list[str]] = {}
    diverted: dict[str, str] = {}
    origin: tuple[str, str] | None = None
    moved: dict[str, tuple[str, str]] = {}
    for line in lines:
        divert = DIVERSION.fullmatch(line)
        if divert and divert[2] == "from":
            origin = (divert[3], divert[1] or "")
            diverted[divert[3]] = divert[1] or ""
        elif divert and origin is not None:
            moved[divert[3]] = origin
        elif ": " in line and not divert:
            names, _, path = line.partition(": ")
            plain.setdefault(path, []).extend(names.split(", "))
    owned = {}
    for path, listed in plain.items():
        by = diverted.get(path)
        own = [p for p in listed if p.partition(":")[0] == by]
        if by is None or own:
            owned[path] = (own or listed)[0]
    for path, (original, by) in moved.items():
        others = [p for p in plain.get(original, ()) if p.partition(":")[0] != by]
        if others:
            owned[path] = others[0]
    return owned


def _query_rpm(paths: Sequence[Path]) -> dict[Path, Package]:
    if not paths or shutil.which("rpm") is None:
        return {}
    lines = run_query("rpm", "-qf", "--qf", RPM_FORMAT, "--", *map(str, paths)).splitlines()
    if len(lines) != len(paths):
        # A file that several packages own has several lines: query each file separately.
        outputs = [run_query("rpm", "-qf", "--qf", RPM_FORMAT, "--", str(path)) for path in paths]
        lines = [text.partition("\n")[0] for text in outputs]
    found = {}
    for path, line in zip(paths, lines, strict=True):
        fields = line.split("\t")
        # Any other line reports that no package owns the file.
        if len(fields) == 3:
            found[path] = Package(RPM, *fields)
    return found


def run_query(*command: str) -> str:
    """Return the output of a query; the exit code is ignored, as it is 1 if a file has no owner."""
    completed = subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return os.fsdecode(completed.stdout)
