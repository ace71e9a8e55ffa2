"""Where the libraries that a pack's objects still need are on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bundle_fix.bundle import Bundle, make_bundle
from bundle_fix.collect.collection import Collection
from bundle_fix.collect.libraries import add_library
from bundle_fix.elf.image import Image
from bundle_fix.elf.on_disk import image_at
from bundle_fix.errors import BundleFixError
from bundle_fix.loader.cache import cached_libraries
from bundle_fix.loader.libc import belongs_to_libc
from bundle_fix.loader.rtld import default_directories
from bundle_fix.loader.tokens import Base, expand
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import pack_path
from bundle_fix.spec.variables import Values, substitute
from bundle_fix.tree import Tree


@dataclass(frozen=True, slots=True)
class Wanted:
    """A needed name that nothing in the pack provides.

    ``path`` is the object in the pack that needs it, ``source`` the file it was copied from.
    """

    name: str
    path: str
    source: Path
    image: Image


def unmet(bundle: Bundle, sources: Mapping[str, Path | None]) -> Iterator[Wanted]:
    """Every needed name that nothing in ``bundle`` provides, the C library's own left out.

    Args:
        bundle: the pack so far.
        sources: for each path in it the file that it was copied from.
    """
    for path, image in bundle.images.items():
        source = sources[path]
        if source is None:
            continue
        for name in image.needed:
            if not belongs_to_libc(name) and not bundle.providers(name, image):
                yield Wanted(name, path, source, image)


def matching(name: str, patterns: Iterable[str]) -> bool:
    """Whether ``name`` is one of ``patterns``."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def find_wanted(want: Wanted, search: Sequence[Path], where: str) -> Path:
    """The file that this machine's loader would take.

    The order: the object's own RPATH and RUNPATH as they were built, ``search``, ld.so.cache, the
    default directories.

    Raises:
        BundleFixError: there is none of the right class and machine.
    """
    tried = []
    for candidate in _candidates(want, search):
        if _fits(candidate, want.image):
            return candidate
        tried.append(str(candidate.parent))
    looked = ", ".join(dict.fromkeys(tried))
    raise BundleFixError(
        f"{want.name}, which {want.path} needs, is nowhere on this machine (looked in {looked})",
        where=where,
        hint="install it, add its folder to `search`, or leave it to the host with `host`",
    )


def _candidates(want: Wanted, search: Sequence[Path]) -> Iterator[Path]:
    image = want.image
    text = image.runpath if image.runpath is not None else image.rpath
    for entry in text.split(":") if text else ():
        base, place = expand(entry, "")
        if base in (Base.ORIGIN, Base.ROOT):
            yield want.source.parent / place / want.name
    yield from (folder / want.name for folder in search)
    yield from (Path(path) for soname, path in cached_libraries() if soname == want.name)
    yield from (Path(folder, want.name) for folder in default_directories(image))


def _fits(path: Path, like: Image) -> bool:
    try:
        image = image_at(path)
    except BundleFixError:
        return False
    return image is not None and image.architecture == like.architecture


def close(collection: Collection, spec: Spec, values: Values) -> None:
    """Add what the objects still need and ``[closure] bundle`` asks for, until nothing is new."""
    patterns = [substitute(text, values) for text in spec.closure.bundle]
    search = [collection.root / substitute(text, values) for text in spec.closure.search]
    where = spec.where("closure", "bundle")
    folder = pack_path(spec.layout.lib, values, where)
    for pattern in patterns:
        if belongs_to_libc(pattern):
            raise BundleFixError(
                f"{pattern} belongs to the target's own dynamic loader and cannot be bundled",
                where=where,
                hint="leave it out: every target has it",
            )
    done: set[tuple[str, str]] = set()
    while True:
        bundle = make_bundle(Tree(collection.nodes), collection.images)
        sources = {path: origin.source for path, origin in collection.origins.items()}
        wanted = [w for w in unmet(bundle, sources) if (w.path, w.name) not in done]
        wanted = [w for w in wanted if matching(w.name, patterns)]
        if not wanted:
            return
        for want in wanted:
            done.add((want.path, want.name))
            source = find_wanted(want, search, where)
            add_library(collection, source, folder, where, needed_by=want.path)
