"""Images of files that may be ELF files, on this machine's disk or elsewhere."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.elf.read.image import DamagedElfError, Image, is_elf, read_image
from bundle_fix.model.content import Content, PathContent, Reader
from bundle_fix.model.errors import BundleFixError


def image_at(path: Path) -> Image | None:
    """The image of the ELF file at ``path``, links followed; None where there is none.

    Raises:
        BundleFixError: the file is damaged or cannot be read.
    """
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    if not real.is_file():
        return None
    return image_of(PathContent(real, real.stat().st_size), str(real))


def image_of(content: Content, where: str) -> Image | None:
    """The image of an ELF file; None where it is of another kind.

    Args:
        content: the file.
        where: its name, for messages.

    Raises:
        BundleFixError: the file is damaged or cannot be read.
    """
    with content.open() as reader:
        return image_in(reader, where)


def image_in(reader: Reader, where: str) -> Image | None:
    """`image_of` a file that is open."""
    if not is_elf(reader):
        return None
    try:
        return read_image(reader)
    except DamagedElfError as error:
        raise BundleFixError(
            f"the ELF file is damaged: {error.message}",
            where=where,
            hint="replace it by a sound copy",
        ) from error
