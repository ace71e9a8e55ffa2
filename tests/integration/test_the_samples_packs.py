"""The packs that the three specs of Pegasus make of the sample, run on a hostile host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import on_hostile_host
from .pegasus_tree import pack

pytestmark = pytest.mark.xdist_group("sample")


@pytest.fixture(scope="module")
def sample_packs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packs of the sample, by kind; ``separate`` is the server's with separate servers."""
    packs = {kind: pack(kind, sample) for kind in ("tools", "client", "server")}
    aside = tmp_path_factory.mktemp("combined") / packs["server"].name
    packs["server"].rename(aside)
    separate = pack("server", sample, "-D", "servers=separate")
    return {**packs, "server": aside, "separate": separate}


@pytest.mark.parametrize(
    ("kind", "command", "said"),
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
def test_every_program_of_the_samples_packs_runs_what_the_pack_ships(
    sample: Path, sample_packs: dict[str, Path], kind: str, command: list[str], said: str
) -> None:
    older = sample / "build/latest/host/libtcmalloc_and_profiler.so.4"
    ran = on_hostile_host(sample_packs[kind], *command, options=("--decoy-tcmalloc", str(older)))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert said in ran.stdout
    assert "libtcmalloc_and_profiler 4.4.5" not in ran.stdout


def test_a_program_is_built_with_the_clients_pack_and_runs_with_the_servers(
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
