"""BF116: libraries of graphics drivers."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .packs import build_server


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("libcuda.so.1", "error"),
        ("libnvidia-ml.so.1", "error"),
        ("libnvidia-ptxjitcompiler.so.570.86.15", "error"),
        ("libnvidia-pkcs11-openssl3.so.570.86.15", "error"),
        ("libnvidia-nscq.so.2.0", "error"),
        ("libGLX_mesa.so.0", "warning"),
        ("libvulkan_radeon.so", "warning"),
        ("libvulkan_intel_hasvk.so", "warning"),
        ("radeonsi_drv_video.so", "warning"),
        ("iHD_drv_video.so", "warning"),
        ("libvdpau_d3d12.so.1", "warning"),
    ],
)
def test_bf116_reports_a_driver_that_a_program_loads(
    tmp_path: Path, check: Check, name: str, severity: str
) -> None:
    build_elf(tmp_path / "lib" / name, soname=name)
    build_server(tmp_path, name)
    assert [(f.path, f.severity) for f in check("BF116")] == [(f"lib/{name}", severity)]


def test_bf116_is_a_note_about_the_stubs_of_the_linker(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/stubs/libcuda.so", soname="libcuda.so.1")
    assert [f.severity for f in check("BF116")] == ["note"]


def test_bf116_reports_only_a_libgl_that_contains_a_driver(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "glvnd/libGL.so.1", soname="libGL.so.1", needed=["libGLX.so.0"])
    build_elf(tmp_path / "mesa/libGL.so.1", soname="libGL.so.1", needed=["libglapi.so.0"])
    assert [f.path for f in check("BF116")] == ["mesa/libGL.so.1"]


@pytest.mark.parametrize(
    "name",
    [
        "libvulkan.so.1",
        "libvulkan_lvp.so",
        "swrast_dri.so",
        "libcudart.so.12",
        "libva.so.2",
        "libnvidia-egl-wayland.so.1",
        "libnvidia-ml-wrapper.so.1",
        "libOpenCL.so.1",
        "libgbm.so.1",
    ],
)
def test_bf116_is_silent_about_loaders_and_software_renderers(
    tmp_path: Path, check: Check, name: str
) -> None:
    build_elf(tmp_path / "lib" / name, soname=name)
    assert check("BF116") == []
