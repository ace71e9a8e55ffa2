"""Packs that the three specs of Pegasus make from the sample, on a decoy host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import run_on_decoy_host
from .pegasus_tree import make_spec_pack

pytestmark = pytest.mark.xdist_group("sample")


@pytest.fixture(scope="module")
def sample_packs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the packs of the sample by kind; ``separate`` is that of the separate servers."""
    packs = {kind: make_spec_pack(kind, sample) for kind in ("tools", "client", "server")}
    aside = tmp_path_factory.mktemp("combined") / packs["server"].name
    packs["server"].rename(aside)
    separate = make_spec_pack("server", sample, "-D", "servers=separate")
    return {**packs, "server": aside, "separate": separate}


@pytest.mark.parametrize(
    ("kind", "command", "output"),
    [
        ("server", ["bin/pegasus_server", "--demo", "/tmp/db"], "done"),  # noqa: S108
        ("separate", ["bin/pegasus_meta_server", "user1"], "user1: 1.1.pegasus"),
        ("separate", ["bin/pegasus_replica_server"], "in the checkpoint: value"),
        ("tools", ["bin/pegasus_shell/pegasus_shell", "/tmp/db", "get", "x"], "not found"),  # noqa: S108
        ("tools", ["bin/pegasus_bench/pegasus_bench"], "lost 0"),
        ("tools", ["bin/pegasus_kill_test/pegasus_kill_test"], "after the kill: before the kill"),
        ("tools", ["bin/pegasus_pressureclient/pegasus_pressureclient"], "rounds under pressure"),
        ("tools", ["bin/pegasus_rproxy/pegasus_rproxy"], ""),
    ],
)
def test_every_program_of_the_sample_packs_uses_the_libraries_of_its_pack(
    sample: Path, sample_packs: dict[str, Path], kind: str, command: list[str], output: str
) -> None:
    older = sample / "build/latest/host/libtcmalloc_and_profiler.so.4"
    ran = run_on_decoy_host(sample_packs[kind], *command, options=("--decoy", str(older)))
    assert (ran.status, ran.list_errors()) == (0, []), ran.output
    assert output in ran.output
    assert "libtcmalloc_and_profiler 4.4.5" not in ran.output


def test_a_program_built_with_the_client_pack_runs_with_the_server_pack(
    sample_packs: dict[str, Path], tmp_path: Path
) -> None:
    for kind in ("client", "server"):
        (tmp_path / kind).mkdir()
        subprocess.run(["tar", "xf", sample_packs[kind], "-C", tmp_path / kind], check=True)
    (client,), (server,) = (list((tmp_path / kind).iterdir()) for kind in ("client", "server"))
    (tmp_path / "main.cpp").write_text(
        "#include <pegasus/client.h>\n"
        'int main() { return pegasus::client("db").partition_of("user1") == 1 ? 0 : 1; }\n'
    )
    libraries = [f"-l:{name}" for name in ("libdsn_meta_server.so", "libdsn_replica_server.so")]
    command = ["c++", "-std=c++17", f"-I{client}/include", "-o", "main", "main.cpp"]
    command += [f"{client}/lib/libpegasus_client_static.a", f"-L{server}/lib", *libraries]
    command += [f"-Wl,-rpath,{server}/lib", f"-Wl,-rpath-link,{server}/lib"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], cwd=tmp_path, check=True)
