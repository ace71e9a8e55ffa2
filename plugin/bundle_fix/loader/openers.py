"""Which objects of a pack open a library by name at run time, where the spec says that it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.dlopen import find_library_name_strings, imports_dlopen


def find_dlopened_names(bundle: Bundle, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """For each object the names, among those that the pack's programs open, that it may open.

    Those that import dlopen and have the name as a string do; where none has, all that import it
    may: the name may come from a setting.

    Args:
        bundle: the pack; its contents must be open.
        names: names of libraries; one with a slash is no matter of a search.
    """
    searched = [name for name in names if "/" not in name]
    if not searched:
        return {}
    strings = {}
    for path, image in bundle.images.items():
        if image.is_dynamic:
            with bundle.get_content(path).open() as reader:
                if imports_dlopen(reader, image):
                    strings[path] = find_library_name_strings(reader, image)
    by_path: dict[str, tuple[str, ...]] = {}
    for name in searched:
        for path in find_dlopen_callers(strings, name):
            by_path[path] = (*by_path.get(path, ()), name)
    return by_path


def find_dlopen_callers(strings: Mapping[str, set[str]], name: str) -> list[str]:
    """The objects that open ``name``, of those that import dlopen, each with the names in it."""
    return [path for path, carried in strings.items() if name in carried] or list(strings)
