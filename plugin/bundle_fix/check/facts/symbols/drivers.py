"""The drivers of a host that its libraries open at run time, and that need the host's C++ library.

Sources: libglvnd (libGLX_VENDOR.so.0, libEGL_VENDOR.so.0), Mesa (dri/, gbm/, libvulkan_*.so), and
libva and libvdpau, which look for their drivers beside themselves.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from bundle_fix.check.context import Context
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process

_GL = ("libGLX_*.so.0", "libEGL_*.so.0", "dri/*_dri.so")
DRIVER_LOADERS: Mapping[str, tuple[str, ...]] = {
    "libGL.so.1": _GL,
    "libGLX.so.0": _GL,
    "libOpenGL.so.0": _GL,
    "libEGL.so.1": _GL,
    "libGLESv2.so.2": _GL,
    "libgbm.so.1": ("gbm/*_gbm.so", "dri/*_dri.so"),
    "libvulkan.so.1": ("libvulkan_*.so", "libGLX_nvidia.so.0"),
    "libOpenCL.so.1": ("libMesaOpenCL.so.1", "libpocl.so.2", "libnvidia-opencl.so.1"),
    "libva.so.2": ("dri/*_drv_video.so",),
    "libvdpau.so.1": ("vdpau/libvdpau_*.so.1",),
}
"""Libraries that open drivers, with patterns of the drivers' paths from their own directory."""
MAX_DRIVERS = 20
"""Limit of the drivers that are simulated for one process."""


def find_driver_loader(context: Context, process: Process) -> LoadedObject | str | None:
    """Return a library of the host that opens drivers in ``process``, or only its name.

    The name is the one that an object of the pack passes to dlopen().
    """
    for loaded in process.objects:
        is_host = loaded.origin is ObjectOrigin.HOST
        if is_host and posixpath.basename(loaded.name) in DRIVER_LOADERS:
            return loaded
    strings = (
        context.library_strings.get(o.path or "", ()) for o in process.list_bundled_objects()
    )
    names = {name for found in strings for name in found} & DRIVER_LOADERS.keys()
    return min((n for n in names if n not in context.bundle.paths_by_name), default=None)


def map_drivers(context: Context, process: Process) -> Iterator[Process]:
    """Yield what each driver of a host with known files adds to ``process``."""
    found, files = find_driver_loader(context, process), context.host.files
    if isinstance(found, str):
        found = context.deployment.dlopen(process, found, process.main).result
    if found is None or files is None or found.origin is not ObjectOrigin.HOST or not found.path:
        return
    directory = posixpath.dirname(found.path)
    paths = [
        posixpath.join(directory, posixpath.dirname(pattern), name)
        for pattern in DRIVER_LOADERS[posixpath.basename(found.name)]
        for name in files.list_names(posixpath.join(directory, posixpath.dirname(pattern)))
        if fnmatchcase(name, posixpath.basename(pattern))
    ]
    for path in sorted(paths)[:MAX_DRIVERS]:
        yield context.deployment.dlopen_host_file(process, path, found)
