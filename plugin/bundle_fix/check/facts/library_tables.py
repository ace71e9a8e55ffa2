"""Tables of libraries that no pack contains: those of vendor stacks and of Python packages.

Sources: the installation guides of ROCm, CUDA and oneAPI for their directories; for the libraries
the wheels on PyPI, such as pyarrow 26.0, PySide6 6.12, librmm 26.10, tbb 2023.2, intel-openmp,
intel-sycl-rt and intel-cmplr-lib-ur 2026.2.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.model.library_names import matches_any

CUDA_LIBRARIES = (
    "libcublas*", "libcudart*", "libcudnn*", "libcudss*", "libcufft*", "libcufile*", "libcupti*",
    "libcurand*", "libcusolver*", "libcusparse*", "libcutensor*", "libnccl*", "libnpp*",
    "libnvJitLink*", "libnvToolsExt*", "libnvfatbin*", "libnvinfer*", "libnvjpeg*",
    "libnvonnxparser*", "libnvrtc*", "libnvshmem*", "libnvvm*",
)  # fmt: skip
MKL_LIBRARIES = ("libmkl_*",)
SYCL_LIBRARIES = ("libsycl.*", "libsycl-*", "libpi_*")
UNIFIED_RUNTIME_LIBRARIES = ("libur_*",)
INTEL_RUNTIME_LIBRARIES = (
    "libimf.*", "libintlc.*", "libirc.*", "libirng.*", "libsvml.*", "libifcore*", "libifport*",
)  # fmt: skip
ONETBB_LIBRARIES = ("libtbb*",)

OPTIONAL_PLUGIN = re.compile(
    r"(^|.*[/_.-])(backends?|bootstrap|codecs?|drivers?|engines?|gstreamer-1\.0|imageformats|modules|"
    r"platforms|plugins?|providers?|qml|sqldrivers|transports?)([/_.-].*|$)",
    re.IGNORECASE,
)
"""Directories and files of plugins that a library opens if they load: those of Qt, GStreamer, GDAL,
OpenSSL, SASL, VLC, ONNX Runtime (``libonnxruntime_providers_cuda.so``) and NVSHMEM
(``nvshmem_transport_ibrc.so.3``)."""


class VendorStack(Struct, frozen=True):
    """A stack that its vendor installs in a directory of the target.

    Attributes:
        name: its name.
        directory: a regular expression for its directory.
        libraries: patterns of the names of its libraries.
    """

    name: str
    directory: re.Pattern[str]
    libraries: Sequence[str]


VENDOR_STACKS = (
    VendorStack(
        "ROCm", re.compile(r"/opt/(rocm(-[\d.]+)?|amdgpu(-pro)?)"),
        (
            "libMIOpen*", "libamd_*", "libamdhip*", "libhip*", "libhsa*", "libmigraphx*",
            "librccl*", "librocalution*", "librocblas*", "librocfft*", "librocm*",
            "librocprofiler*", "librocrand*", "librocsolver*", "librocsparse*", "libroctracer*",
            "libroctx*",
        ),
    ),
    VendorStack(
        "CUDA", re.compile(r"/usr/local/(cuda(-[\d.]+)?|nvidia)|/opt/(cuda(-[\d.]+)?|nvidia)"),
        (*CUDA_LIBRARIES, "libcuda.*", "libnvidia-*"),
    ),
    VendorStack(
        "Intel oneAPI", re.compile(r"/opt/intel"),
        (
            *MKL_LIBRARIES, *SYCL_LIBRARIES, *UNIFIED_RUNTIME_LIBRARIES, *INTEL_RUNTIME_LIBRARIES,
            *ONETBB_LIBRARIES, "libccl*", "libdnnl*", "libiomp5*", "libipp*", "libmpi*",
            "libopenvino*",
        ),
    ),
)  # fmt: skip
"""Stacks with licences or kernel drivers because of which no package can contain them."""

PYTHON_PACKAGES: Mapping[str, Sequence[str]] = {
    "torch": ("libtorch.*", "libtorch_*", "libc10.*", "libc10_*", "libshm.*", *CUDA_LIBRARIES),
    "tensorflow*": ("libtensorflow*", "_pywrap_tensorflow*"),
    "paddlepaddle*": ("libpaddle.*", "libphi*"),
    "pyarrow": ("libarrow*", "libparquet.*", "libgandiva.*"),
    "shiboken6": ("libshiboken6.*",),
    "pyside6*": ("libpyside6.*", "libpyside6qml.*"),
    "apache-tvm-ffi": ("libtvm_ffi*",),
    "libcudf-*": ("libcudf.*",),
    "librmm-*": ("librmm.*", "librapids_logger.*"),
    "rapids-logger": ("librapids_logger.*",),
    "libraft-*": ("libraft.*",),
    "libucx-*": ("libucp.*", "libucs.*", "libuct.*", "libucm.*"),
}
"""Patterns of Python packages, and of the libraries that their import loads.

An extension module that is imported later gets these libraries by their sonames, without a search.
torch preloads those of CUDA (torch/__init__.py, _preload_cuda_deps).
"""

DATA_PACKAGES: Mapping[str, Sequence[str]] = {
    "nvidia-*": CUDA_LIBRARIES,
    "intel-sycl-rt": SYCL_LIBRARIES,
    "intel-cmplr-lib-ur": UNIFIED_RUNTIME_LIBRARIES,
    "intel-cmplr-lib-rt": INTEL_RUNTIME_LIBRARIES,
    "intel-openmp": ("libiomp5.*", "libiompstubs5.*", "libomptarget.*"),
    "mkl": MKL_LIBRARIES,
    "tbb": ONETBB_LIBRARIES,
}
"""Patterns of Python packages without a module to import, and of the libraries that they install.

Other packages find these by their search path.
"""

SYSTEM_PACKAGES: Mapping[str, Sequence[str]] = {
    "libgoogle-perftools*": ("libtcmalloc*", "libprofiler*"),
    "gperftools*": ("libtcmalloc*", "libprofiler*"),
    "libtbb*": ONETBB_LIBRARIES,
    "tbb": ONETBB_LIBRARIES,
    "zlib*": ("libz.*",),
}
"""Patterns of distribution packages whose names do not contain those of their libraries."""


def find_vendor_stack(entry: str) -> VendorStack | None:
    """Return the vendor stack whose directory contains an absolute search path entry."""
    parts = posixpath.normpath(entry).split("/")
    parents = ["/".join(parts[:end]) for end in range(2, len(parts) + 1)]
    matches = (stack for stack in VENDOR_STACKS if any(map(stack.directory.fullmatch, parents)))
    return next(matches, None) if entry.startswith("/") else None


def iter_packages_with(name: str, table: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the patterns of the packages in ``table`` that contain a library."""
    return (package for package, libraries in table.items() if matches_any(name, libraries))


def is_optional_plugin(path: str) -> bool:
    """Return whether a library of a wheel is a plugin that need not load, judging by its path."""
    is_module = ".cpython-" in path or ".abi3." in path
    below = path.partition("/")[2]
    return not is_module and OPTIONAL_PLUGIN.fullmatch(below) is not None
