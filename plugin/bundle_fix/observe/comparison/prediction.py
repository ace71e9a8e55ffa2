"""The objects that the model of the loader predicts for a running process, and the differences."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from msgspec import Struct

from bundle_fix.loader.bundle import build_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.host import Environment
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Tree
from bundle_fix.observe.objects import ObservedObject
from bundle_fix.observe.snapshot import Aux, ProcessSnapshot

PRIVILEGED_MODE, MODE = 0o4755, 0o755


class PredictionDifference(Struct, frozen=True):
    """A library for which the model predicts another file than the process has loaded.

    ``predicted`` and ``observed`` are paths; None for no file.
    """

    name: str
    predicted: str | None
    observed: str | None


def predict_process(snapshot: ProcessSnapshot, objects: Sequence[ObservedObject]) -> Process | None:
    """Return what the loader maps at the start, in the environment and root of the process.

    None if the program, its environment or its files are unknown, or it has no loader.
    """
    main = next((o for o in objects if o.is_main), None)
    if main is None or main.path is None or main.loaded is None or snapshot.root is None:
        return None
    image, variables = main.loaded.image, snapshot.environment
    if variables is None or not main.loaded.is_complete or not image.is_program:
        return None
    directory, name = posixpath.split(main.path)
    # In secure-execution mode the loader ignores variables.
    mode = PRIVILEGED_MODE if snapshot.vector.get(Aux.SECURE) else MODE
    tree = Tree({name: File(BytesContent(b""), Metadata(mode))})
    host = RealHost(DirectoryFiles(snapshot.root), directory, running=True)
    environment = Environment(
        variables.get("LD_LIBRARY_PATH", ""),
        variables.get("LD_PRELOAD", ""),
        snapshot.working_directory,
    )
    deployment = Deployment(build_bundle(tree, {name: image}), host, environment)
    try:
        return deployment.map_process(name)
    except BundleFixError:
        return None


def match_predicted_objects(
    process: Process | None, objects: Sequence[ObservedObject]
) -> tuple[LoadedObject | None, ...]:
    """Return for each observed object the predicted one, or None."""
    by_path = {o.real_path: o for o in process.objects} if process is not None else {}
    return tuple(
        by_path.get(o.path) if o.path is not None and o.namespace in (0, None) else None
        for o in objects
    )


def find_differences(
    process: Process | None, objects: Sequence[ObservedObject]
) -> Iterator[PredictionDifference]:
    """Yield the libraries that the process loaded from another file than predicted, or not at all.

    Objects that the process opened later are not predicted and are left out.
    """
    loaded = [o for o in objects if o.namespace in (0, None)]
    paths = {o.path for o in loaded}
    by_name: dict[str, ObservedObject] = {}
    for o in loaded:
        for name in o.names:
            by_name.setdefault(name, o)
    for predicted in process.objects if process is not None else ():
        path = None if predicted.origin is ObjectOrigin.MISSING else predicted.real_path
        if path in paths and path is not None:
            continue
        name = posixpath.basename(predicted.name)
        same = by_name.get(name)
        if path is not None or same is not None:
            yield PredictionDifference(name, path, same.path if same is not None else None)
