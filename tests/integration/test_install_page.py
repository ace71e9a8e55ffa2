"""The commands of docs/install.md, with a release on this machine in the place of the real one."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.pages import find_snippet
from bundle_fix import __version__
from integration.conftest import ROOT, require_program
from integration.releases import make_release

PAGE = (ROOT / "docs/install.md").read_text()
URL = re.compile(r"https://github\.com/your-organisation/bundle-fix/releases/download/v([0-9.]+)")


def run_shell(script: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-e", "-c", script], cwd=cwd, check=False, env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("page", ["install.md", "ci.md"])
def test_the_pages_name_this_version(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = {*URL.findall(text), *re.findall(r"bundle-fix-([0-9.]+)-linux", text)}
    assert named == {__version__}


def test_the_tarball_is_downloaded_verified_and_run(tmp_path: Path) -> None:
    require_program("curl", "the page downloads with it")
    tarball = make_release(tmp_path / "release")
    script = URL.sub((tmp_path / "release").as_uri(), find_snippet(PAGE, "sh", "SHA256SUMS"))
    work = tmp_path / "work"
    work.mkdir()
    ran = run_shell(script, work)
    lines = [f"{tarball.name}: OK", f"bundle-fix {__version__}"]
    assert (ran.returncode, ran.stdout.splitlines()) == (0, lines), ran.stderr
    tarball.write_bytes(tarball.read_bytes() + b"\0")
    shutil.rmtree(work)
    work.mkdir()
    ran = run_shell(script, work)
    assert (ran.returncode, ran.stdout) == (1, f"{tarball.name}: FAILED\n")


def test_the_first_stage_of_the_image_unpacks_only_the_right_file(tmp_path: Path) -> None:
    require_program("curl", "the page downloads with it")
    tarball = make_release(tmp_path / "release")
    text = find_snippet(PAGE, "dockerfile", "FROM").replace(" /", f" {tmp_path}/")
    (command,) = re.findall(r"^RUN ((?:.*\\\n)*.*\n)", text, re.MULTILINE)
    for name in ("tmp", "opt"):
        (tmp_path / name).mkdir()
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    program = tmp_path / "opt/bundle-fix/bin/bundle-fix"
    for pinned in ("0" * 64, digest):
        assert not program.exists()
        values = {"BUNDLE_FIX_URL": tarball.as_uri(), "BUNDLE_FIX_SHA256": pinned}
        ran = run_shell(command, tmp_path, **values)
        assert ran.returncode == int(pinned != digest), ran.stderr
    assert program.exists()


@pytest.fixture
def engine() -> str:
    """A container engine that works here."""
    for name in ("podman", "docker"):
        if (
            shutil.which(name)
            and not subprocess.run(
                [name, "info"], capture_output=True, check=False, timeout=60
            ).returncode
        ):
            return name
    pytest.skip("a container image needs podman or docker, with its daemon")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server with the files of ``tmp_path``."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_the_image_is_built_and_runs(engine: str, server: str, tmp_path: Path) -> None:
    tarball = make_release(tmp_path / "release", program="echo it runs")
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    (tmp_path / "Containerfile").write_text(find_snippet(PAGE, "dockerfile", "FROM"))
    image = f"bundle-fix-test-{digest[:12]}"
    build = [engine, "build", "--network=host", "-q", "-t", image, "-f", "Containerfile"]
    build += ["--build-arg", f"BUNDLE_FIX_URL={server}/release/{tarball.name}"]
    build += ["--build-arg", f"BUNDLE_FIX_SHA256={digest}", "."]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    if built.returncode and re.search(r"pull|registry|lookup|manifest", built.stderr):
        pytest.skip(f"the base images are not available: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    try:
        command = [engine, "run", "--rm", image, "bundle-fix"]
        assert subprocess.check_output(command, text=True) == "it runs\n"
    finally:
        subprocess.run([engine, "rmi", "-f", image], capture_output=True, check=False)
