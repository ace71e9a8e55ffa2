"""Count the editors that edit real files, and the reasons of refusals, for docs/elf-editing.md.

Run from the project's directory as ``python -m benchmarks.count_editors PATH...``. A path is an ELF
file, or a directory with ELF files, wheels and npm packages below it. Each file gets a RUNPATH that
is 100 characters longer; patchelf is not used.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.model.content import BytesContent, Content, PathContent
from bundle_fix.model.errors import BundleFixError

CHANGES = Changes(runpath="$ORIGIN/../lib:/opt/" + "x" * 100)
OWN_EDITORS = ("inplace", "segment")
"""The values of ``--editor`` that are tried, one after the other."""
MAGIC = b"\x7fELF"


def list_contents(path: Path) -> Iterator[tuple[str, Content]]:
    """Yield name and content of each ELF file at ``path``: itself, members, files below it."""
    if path.is_symlink():
        return
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from list_contents(child)
    elif path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                yield from keep_elf(f"{path}/{info.filename}", archive.read(info))
    elif path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield from keep_elf(f"{path}/{member.name}", file.read())
    elif path.is_file():
        with path.open("rb") as file:
            if file.read(4) == MAGIC:
                yield str(path), PathContent(path, path.stat().st_size)


def keep_elf(name: str, data: bytes) -> Iterator[tuple[str, Content]]:
    """Yield the file if it is an ELF file."""
    if data.startswith(MAGIC):
        yield name, BytesContent(data)


def find_editor(content: Content, scratch: Path) -> str:
    """Return the editor that edits a file, or the last reason why none does."""
    reason = ""
    for editor in OWN_EDITORS:
        try:
            return edit_file(content, CHANGES, scratch, editor).editor
        except EditRefusedError as error:
            reason = error.message
        except BundleFixError as error:
            return error.message
    return reason


def main() -> int:
    """Print the number of files by editor or reason."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        for argument in sys.argv[1:]:
            for name, content in list_contents(Path(argument)):
                found = find_editor(content, Path(directory))
                counts[found] += 1
                if found.startswith("every editor failed"):
                    sys.stdout.write(f"{name}: {found}\n")
    for found, count in counts.most_common():
        sys.stdout.write(f"{count:6} {found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
