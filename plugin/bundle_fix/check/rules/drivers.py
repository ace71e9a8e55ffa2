"""BF116: libraries of graphics drivers, which belong to the host's kernel and hardware."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from enum import Enum

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.policy.severity import Severity


class Driver(Enum):
    """A driver whose libraries must be those of the host."""

    NVIDIA = "NVIDIA's driver"
    MESA = "Mesa's drivers"
    INTEL = "Intel's video driver"


DRIVER_LIBRARIES = {
    Driver.NVIDIA: re.compile(
        r"lib(cuda|cudadebugger|nvcuvid|nvoptix|GLX_nvidia|EGL_nvidia|GLESv[12](_CM)?_nvidia"
        r"|vdpau_nvidia|nvidia-(ml|tls|cfg|fbc|ifr|cbl|glcore|eglcore|glsi|glvkspirv|rtcore|encode"
        r"|opencl|compiler|ptxjitcompiler|fatbinaryloader|nvvm|opticalflow|allocator|ngx|gpucomp"
        r"|nscq|pkcs11(-openssl3)?|tileiras))\.so(\.[\d.]+)?"
    ),
    Driver.MESA: re.compile(
        r"lib(GLX_mesa|EGL_mesa)\.so(\.\d+)*|libgallium(_dri|-[\w.~+-]+)\.so"
        r"|(?!(kms_)?swrast_)\w+_dri\.so|(r600|radeonsi|nouveau|virtio_gpu|d3d12)_drv_video\.so|libvulkan_(?!lvp)\w+\.so"
        r"|libvdpau_(nouveau|r[36]00|radeonsi|virtio_gpu|d3d12)\.so(\.[\d.]+)?"
    ),
    Driver.INTEL: re.compile(r"(iHD|i965)_drv_video\.so"),
}
"""Names of the libraries of each driver.

Sources: the lists of NVIDIA's libnvidia-container (src/nvc_info.c), which mounts them from the host
into containers; Mesa's src/gallium/targets and the package files of openSUSE and Fedora; Intel's
media-driver. Software renderers (swrast, lvp) need no hardware."""
DISPATCHERS = re.compile(r"lib(GL|EGL|GLESv2)\.so(\.[\d.]+)?")
DRIVER_PARTS = {
    Driver.NVIDIA: re.compile(r"libnvidia-(glcore|tls|eglcore)\.so\..*"),
    Driver.MESA: re.compile(r"libglapi\.so\.0|libgallium-.*|libxcb-dri[23]\.so\.0"),
}
"""Needed names of a libGL that is a driver; that of GLVND only opens the host's drivers."""


def find_driver_libraries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries of the pack that belong to a driver."""
    loaded: dict[str, Severity] = {}
    for severity, _, need in context.resolutions:
        if need.result.origin is ObjectOrigin.BUNDLE and need.result.path:
            path = need.result.path
            loaded[path] = min(severity, loaded.get(path, severity), key=lambda s: s.rank)
    for path in context.libraries:
        image = context.bundle.images[path]
        driver = _find_driver(path, image)
        if driver is None:
            continue
        # The libraries of a process must match the kernel module exactly only for NVIDIA.
        severity = rule.severity
        if driver is Driver.NVIDIA:
            severity = loaded.get(path, severity)
        # The stubs of the CUDA toolkit are for the linker, in a directory that nothing searches.
        is_stub = "stubs" in path.split("/") and path not in loaded
        yield rule.make_finding(
            path,
            f"is a library of {driver.value}, which must be the host's",
            severity=Severity.NOTE if is_stub else severity,
            soname=image.soname or posixpath.basename(path),
        )


def _find_driver(path: str, image: Image) -> Driver | None:
    names = {posixpath.basename(path), image.soname or ""}
    for driver, pattern in DRIVER_LIBRARIES.items():
        if any(map(pattern.fullmatch, names)):
            return driver
    if any(map(DISPATCHERS.fullmatch, names)):
        for driver, parts in DRIVER_PARTS.items():
            if any(map(parts.fullmatch, image.needed)):
                return driver
    return None


RULES = (
    Rule(
        "BF116", "driver-library-bundled", Severity.WARNING,
        "The pack contains a library of a graphics driver.",
        "The library must match the kernel module and the hardware of the host. Another copy fails"
        " with 'driver/library version mismatch', or does not find the device.",
        "Remove it from the pack, and pass --host-provides with its name.",
        "A script copied every file that ldd lists, including libcuda.so.1, and bin/server has the"
        " RUNPATH $ORIGIN/../lib.",
        find_driver_libraries,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
