"""Libraries of an earlier build that a glob may match."""

from __future__ import annotations

import glob
from collections.abc import Iterator

from bundle_fix.collect.pack_builder import PackBuilder
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.tree import File
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values, substitute_variables


def report_stale_libraries(builder: PackBuilder, spec: Spec, values: Values) -> Iterator[str]:
    """Yield remarks on globs of ``[[libraries]]`` that match needed and unneeded libraries.

    A glob of which no match is needed is not reported: it matches plugins. In a pack without
    programs all libraries may be for programs elsewhere.
    """
    if not any(image.is_program for image in builder.images.values()):
        return
    needed = {name.rpartition("/")[2] for i in builder.images.values() for name in i.needed}
    dlopened = [substitute_variables(text, values) for text in spec.closure.dlopen]
    for number, entry in enumerate(spec.libraries):
        if entry.source is None or not glob.has_magic(entry.source):
            continue
        position = spec.locate_key("libraries", number, "from")
        names = {
            path: builder.images[path].soname or path.rpartition("/")[2]
            for path, origin in builder.origins.items()
            if origin.requested_by == position and isinstance(builder.nodes[path], File)
        }
        unused = [n for n in names.values() if n not in needed and not matches_any(n, dlopened)]
        if unused and len(unused) < len(names):
            yield (
                f"{position}: `from` matches {', '.join(sorted(unused))}, which no object needs;"
                " if it is from an earlier build, remove it or add it to `exclude`"
            )
