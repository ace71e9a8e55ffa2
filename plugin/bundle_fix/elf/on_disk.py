"""Images of ELF files on this machine's disk."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.content import PathContent
from bundle_fix.elf.image import DamagedElfError, Image, is_elf, read_image
from bundle_fix.errors import BundleFixError


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
    with PathContent(real, real.stat().st_size).open() as reader:
        if not is_elf(reader):
            return None
        try:
            return read_image(reader)
        except DamagedElfError as error:
            raise BundleFixError(
                f"the ELF file is damaged: {error.message}",
                where=str(real),
                hint="replace it by a sound copy",
            ) from error
