"""Search path entries that lead to files which another package or a vendor installs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.packages import build_deb, build_rpm
from builders.wheel import METADATA, NAME, build_wheel
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.facts.library_tables import find_vendor_stack
from bundle_fix.check.facts.packages.dependencies import find_package_of_library
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.package_host import PackageHost
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check

MODULE = "demo/_x.cpython-311-x86_64-linux-gnu.so"
ALLOCATOR = (
    "void *malloc(unsigned long n) { return (void *)(n & 0); } void free(void *p) { (void)p; }"
)


def check_wheel(directory: Path, *requires: str) -> dict[str, Finding]:
    """Return the findings about a wheel of ``directory`` with Requires-Dist headers, by rule."""
    headers = "".join(f"Requires-Dist: {text}\n" for text in requires)
    text = f"{METADATA['METADATA']}{headers}"
    path = build_wheel(directory, directory.parent / NAME, METADATA=text)
    with open_artifact(path) as artifact:
        found = check_bundle(read_bundle(artifact.tree, NAME), CheckPolicy()).findings
    return {finding.rule: finding for finding in found}


def select_severities(findings: dict[str, Finding], rules: Collection[str]) -> dict[str, str]:
    return {rule: f.severity.value for rule, f in findings.items() if rule in rules}


@pytest.mark.parametrize(
    ("entry", "requires", "expected"),
    [
        ("$ORIGIN/../../../", ["sycl-rt"], {"BF101": "note", "BF204": "note"}),
        ("$ORIGIN/../../..", [], {"BF101": "error", "BF204": "note"}),
        ("$ORIGIN/../../../../lib64/x", ["sycl-rt"], {"BF101": "note", "BF204": "note"}),
        ("$ORIGIN/../../../../../lib", ["sycl-rt"], {"BF101": "error", "BF204": "warning"}),
        ("$ORIGIN/../..", ["sycl-rt"], {"BF101": "error", "BF204": "warning"}),
        ("$ORIGIN/../other/lib", ["other"], {"BF101": "note"}),
        ("$ORIGIN/../other/lib", [], {"BF101": "error"}),
        ("$ORIGIN/../other.libs", ["other"], {"BF101": "note"}),
        ("$ORIGIN/../demo.libs", ["other"], {"BF101": "error", "BF206": "note"}),
        ("$ORIGIN/lib", ["other"], {"BF101": "error", "BF206": "note"}),
        ("$ORIGIN/../lib64", ["other"], {"BF101": "error", "BF206": "note"}),
        ("/opt/rocm-6.2/lib", [], {"BF101": "error", "BF202": "note"}),
        ("/opt/rocmx/lib", [], {"BF101": "error", "BF202": "warning"}),
    ],
)
def test_an_entry_of_a_wheel_that_leads_to_another_one_is_intended(
    tmp_path: Path, entry: str, requires: list[str], expected: dict[str, str]
) -> None:
    build_elf(tmp_path / "x" / MODULE, needed=["libfar.so.9"], runpath=entry)
    found = select_severities(
        check_wheel(tmp_path / "x", *requires), ("BF101", "BF202", "BF204", "BF206")
    )
    assert found == expected


@pytest.mark.parametrize(
    ("name", "requires", "severity"),
    [
        ("libtorch_cpu.so", [], "note"),
        ("libcublas.so.12", ["nvidia-cublas-cu12"], "note"),
        ("libcublas.so.12", [], "note"),
        ("librapids_logger.so", ["rapids-logger"], "note"),
        ("libmkl_rt.so.2", ["mkl"], "note"),
        ("libmkl_rt.so.2", [], "error"),
        ("libsycl-preview.so.9", ["intel-sycl-rt"], "note"),
        ("libfar.so.9", ["far"], "note"),
        ("libfar.so.9", ["farther"], "error"),
        ("libtorchlight.so.1", ["torch"], "error"),
    ],
)
def test_bf101_is_a_note_about_a_library_that_an_import_loads_first(
    tmp_path: Path, name: str, requires: list[str], severity: str
) -> None:
    build_elf(tmp_path / "x" / MODULE, needed=[name])
    assert check_wheel(tmp_path / "x", *requires)["BF101"].severity == severity


@pytest.mark.parametrize(("requires", "severity"), [("torch", "note"), ("numpy", "error")])
def test_bf102_is_a_note_about_a_library_that_an_import_loads_first(
    tmp_path: Path, requires: str, severity: str
) -> None:
    build_elf(tmp_path / "x/demo.libs/libcudart.faf08d9a.so.13", soname="libcudart.so.13")
    build_elf(tmp_path / "x" / MODULE, needed=["libcudart.so.13"])
    assert check_wheel(tmp_path / "x", requires)["BF102"].severity == severity


def test_bf101_is_a_note_about_a_library_of_a_vendor_to_which_an_entry_leads(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "bin/a", program=True, needed=["libhiprtc.so.6"], runpath="/opt/rocm/lib")
    build_elf(tmp_path / "bin/b", program=True, needed=["librocksdb.so.8"], runpath="/opt/rocm/lib")
    assert [(f.path, f.severity) for f in check("BF101")] == [("bin/b", "error"), ("bin/a", "note")]


@pytest.mark.parametrize(
    ("entry", "stack"),
    [
        ("/usr/local/cuda/lib64", "CUDA"),
        ("/usr/local/cuda-12.4/targets/x86_64-linux/lib", "CUDA"),
        ("/opt/intel/oneapi/mkl/latest/lib", "Intel oneAPI"),
        ("/opt/intel/../build/lib", None),
        ("/usr/local/cudax", None),
        ("usr/local/cuda", None),
    ],
)
def test_a_vendor_stack_has_a_directory_of_its_own(entry: str, stack: str | None) -> None:
    found = find_vendor_stack(entry)
    assert (found.name if found else None) == stack


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("libjemalloc.so.2", "libjemalloc2"),
        ("libjemalloc.so.2", "libjemalloc.so.2()(64bit)"),
        ("libjemalloc.so.2", "so:libjemalloc.so.2"),
        ("libjemalloc.so.2", "jemalloc"),
        ("libtcmalloc.so.4", "libgoogle-perftools4t64"),
        ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4t64"),
        ("libglib-2.0.so.0", "libglib2.0-0"),
    ],
)
def test_a_library_is_found_in_the_package_with_its_name(name: str, package: str) -> None:
    assert find_package_of_library(name, ("libc6", "libjemalloc1", package)) is not None
    assert find_package_of_library(name, ("libc6", "libjemalloc1", "libjemallocator")) is None


@pytest.mark.parametrize("kind", ["deb", "rpm"])
@pytest.mark.parametrize(("requires", "count"), [("libjemalloc2", 0), ("libother2", 1)])
def test_bf306_is_silent_about_an_allocator_of_a_required_package(
    tmp_path: Path, kind: str, requires: str, count: int
) -> None:
    root, path = tmp_path / "root", tmp_path / f"x.{kind}"
    build_elf(root / "usr/bin/tool", program=True, needed=["libjemalloc.so.2"])
    if kind == "deb":
        build_deb(root, path, fields=f"Depends: libc6 (>= 2.3),\n {requires} | libnone\n")
    else:
        name = {"libjemalloc2": "libjemalloc.so.2()(64bit)"}.get(requires, requires)
        build_rpm(root, path, tags=f"Requires: libc.so.6\nRequires: {name}")
    with open_artifact(path) as artifact:
        bundle = read_bundle(artifact.tree, path.name)
        result = check_bundle(bundle, CheckPolicy(), PackageHost(artifact.tree))
    assert [f.rule for f in result.findings if f.rule == "BF306"] == ["BF306"] * count


@pytest.mark.parametrize(
    ("entry", "severity"),
    [
        ("/home/ci/lib", "warning"),
        ("/<<PKGBUILDDIR>>/lib", "warning"),
        ("/builddir/build/BUILD/x/lib", "warning"),
        ("/tmp/build/lib", "error"),  # noqa: S108 (only an entry)
        ("$ORIGIN/../../home/ci/lib", "warning"),
        ("/home/app/lib", None),
        ("/usr/lib/tmp", None),
        ("$ORIGIN/../lib", None),
    ],
)
def test_bf208_reports_directories_of_the_build_machine_in_packages(
    tmp_path: Path, entry: str, severity: str | None
) -> None:
    build_elf(tmp_path / "usr/bin/tool", program=True, runpath=entry)
    (tmp_path / "home/app/lib").mkdir(parents=True)
    (tmp_path / ".PKGINFO").touch()
    with open_artifact(tmp_path) as artifact:
        result = check_bundle(read_bundle(artifact.tree, "x"), CheckPolicy())
    found = [f.severity for f in result.findings if f.rule == "BF208"]
    assert found == ([severity] if severity else [])
