"""Which package of this machine owns a file: asked of dpkg, then of rpm, for all files at once."""

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
"""Folders that are links into /usr on a merged system; dpkg may know a file by either path."""
DIVERSION = re.compile(r"(?:diversion by (\S+)|local diversion) (from|to): (.*)")
RPM_FORMAT = r"%{NAME}\t%{EVR}\t%{ARCH}\n"


class Package(Struct, frozen=True):
    """An installed package: its kind (``deb`` or ``rpm``), and what its database says of it."""

    kind: str
    name: str
    version: str
    architecture: str


class Distribution(Struct, frozen=True):
    """This machine's distribution, in the words of os-release(5): ``debian`` and ``12``."""

    name: str
    version: str


def distribution(path: Path = OS_RELEASE) -> Distribution:
    """What the machine's os-release says; empty where it says nothing."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return Distribution("", "")
    found = dict(re.findall(r"^(ID|VERSION_ID)=[\"']?([\w.+~-]*)", text, re.MULTILINE))
    return Distribution(found.get("ID", ""), found.get("VERSION_ID", ""))


def owners(paths: Iterable[Path]) -> Mapping[Path, Package]:
    """The package that owns each of ``paths``, absolute and without links, where there is one."""
    wanted = list(dict.fromkeys(paths))
    found = _of_dpkg(wanted)
    return {**found, **_of_rpm([path for path in wanted if path not in found])}


def _of_dpkg(paths: Sequence[Path]) -> dict[Path, Package]:
    if not paths or shutil.which("dpkg-query") is None:
        return {}
    by_name = {name: path for path in paths for name in _names(path)}
    # A name is a pattern to dpkg-query.
    asked = [re.sub(r"([\\*?\[])", r"\\\1", name) for name in by_name]
    listed = query("dpkg-query", "--search", "--", *asked)
    owned = _owned(listed.splitlines())
    wanted = sorted({package for name, package in owned.items() if name in by_name})
    if not wanted:
        return {}
    # The file's own package may be installed for several architectures: each has its own line.
    shape = r"${binary:Package}\t${Package}\t${Version}\t${Architecture}\n"
    told = query("dpkg-query", "--show", f"--showformat={shape}", "--", *wanted).splitlines()
    packages: dict[str, Package] = {}
    for line in told:
        key, name, version, architecture = line.split("\t")
        packages[key] = packages[f"{name}:{architecture}"] = Package(
            DEB, name, version, architecture
        )
    return {
        by_name[name]: packages[package]
        for name, package in owned.items()
        if name in by_name and package in packages
    }


def _names(path: Path) -> list[str]:
    """The paths by which dpkg may know a file."""
    name = str(path)
    short = name.removeprefix("/usr")
    return [name, short] if short != name and short.startswith(MERGED) else [name]


def _owned(lines: Iterable[str]) -> dict[str, str]:
    """What ``dpkg-query --search`` tells: path to package, diversions undone (dpkg-divert(1)).

    A diverted path is the diverting package's; what it was moved to is the others'.
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


def _of_rpm(paths: Sequence[Path]) -> dict[Path, Package]:
    if not paths or shutil.which("rpm") is None:
        return {}
    lines = query("rpm", "-qf", "--qf", RPM_FORMAT, "--", *map(str, paths)).splitlines()
    if len(lines) != len(paths):
        # A file of several packages has several lines: ask for each by itself.
        each = [query("rpm", "-qf", "--qf", RPM_FORMAT, "--", str(path)) for path in paths]
        lines = [text.partition("\n")[0] for text in each]
    found = {}
    for path, line in zip(paths, lines, strict=True):
        told = line.split("\t")
        if len(told) == 3:
            found[path] = Package(RPM, *told)
    return found


def query(*command: str) -> str:
    """What a query prints; it fails where only some of the files are known."""
    done = subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return os.fsdecode(done.stdout)
