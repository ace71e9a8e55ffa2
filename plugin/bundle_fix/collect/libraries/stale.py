"""Libraries that a glob may have swept in from an earlier build."""

from __future__ import annotations

import glob
from collections.abc import Iterator

from bundle_fix.collect.collection import Collection
from bundle_fix.collect.libraries.closure import matching
from bundle_fix.model.tree import File
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values, substitute


def leftovers(collection: Collection, spec: Spec, values: Values) -> Iterator[str]:
    """Remarks on globs of ``[[libraries]]`` that find what is needed, and beside it what is not.

    Where nothing that a glob finds is needed, it is a glob of plugins.
    """
    needed = {name.rpartition("/")[2] for i in collection.images.values() for name in i.needed}
    opened = [substitute(text, values) for text in spec.closure.dlopen]
    for number, entry in enumerate(spec.libraries):
        if entry.source is None or not glob.has_magic(entry.source):
            continue
        at = spec.locate_key("libraries", number, "from")
        names = {
            path: collection.images[path].soname or path.rpartition("/")[2]
            for path, origin in collection.origins.items()
            if origin.asked == at and isinstance(collection.nodes[path], File)
        }
        idle = [n for n in names.values() if n not in needed and not matching(n, opened)]
        if idle and len(idle) < len(names):
            yield (
                f"{at}: nothing in the pack needs {', '.join(sorted(idle))}, which `from` finds"
                " beside what is needed (from an earlier build? then remove it, or `exclude` it)"
            )
