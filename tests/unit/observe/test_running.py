"""Running processes: link maps, the rest of their memory, and what the model predicts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.processes import dump_core, list_with_elfutils, make_server_pack, run_waiting
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.model.errors import BundleFixError
from bundle_fix.observe import running
from bundle_fix.observe.inspector import PRESENT, Inspection, inspect_core, inspect_process


def list_paths(inspection: Inspection) -> list[str | None]:
    return [o.observed.path for o in inspection.comparison.objects]


def list_build_ids(inspection: Inspection) -> dict[str, str | None]:
    objects = [o.observed for o in inspection.comparison.objects]
    return {o.path: o.build_id for o in objects if o.path is not None}


def test_the_link_map_is_the_one_that_the_model_predicts(tmp_path: Path) -> None:
    pack = make_server_pack(tmp_path)
    with run_waiting(pack / "bin/server") as pid:
        found = inspect_process(pid)
    assert found.differences == ()
    assert all(o for o, path in zip(found.predicted, list_paths(found), strict=True) if path)


def test_a_library_that_was_installed_after_the_start_differs_from_the_prediction(
    tmp_path: Path,
) -> None:
    pack = make_server_pack(tmp_path)
    late, library = tmp_path / "late", pack / "lib/libheap.so.4"
    with run_waiting(pack / "bin/server", LD_LIBRARY_PATH=str(late)) as pid:
        build_elf(late / "libheap.so.4", soname="libheap.so.4", tag="late")
        (difference,) = inspect_process(pid).differences
    assert (difference.name, difference.observed) == ("libheap.so.4", str(library))
    assert difference.predicted == str(late / "libheap.so.4")


def test_a_preloaded_allocator_answers_malloc(tmp_path: Path) -> None:
    pack = make_server_pack(tmp_path)
    source = (
        "void *malloc(unsigned long n) { static char b[1 << 20], *p = b; return (p += n) - n; }"
    )
    heap = build_elf(tmp_path / "libheap.so", source=source, flags=["-fno-builtin"])
    with run_waiting(pack / "bin/server", LD_PRELOAD=str(heap)) as pid:
        found = inspect_process(pid)
    assert found.malloc is not None
    assert (found.malloc.provider.observed.path, found.malloc.is_certain) == (str(heap), True)
    rules = [e.rule for e in found.evidence if e is not None]
    assert rules[0] is SearchRule.PRELOAD


def test_without_permission_for_the_memory_the_mapped_files_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make_server_pack(tmp_path)
    with run_waiting(pack / "bin/server") as pid:
        whole = inspect_process(pid)
        monkeypatch.setattr(running, "_open_memory", lambda _: None)
        found = inspect_process(pid)
    assert found.snapshot.remarks == (running.NO_MEMORY,)
    assert list_build_ids(found) == list_build_ids(whole)
    assert found.malloc is None
    assert found.differences == ()


def test_of_an_environment_that_was_overwritten_the_present_one_is_read(tmp_path: Path) -> None:
    # Servers that change their title write over their environment, as Redis does with zeros.
    source = """
    #include <string.h>
    #include <sys/prctl.h>
    #include <unistd.h>
    extern char **environ;
    int main(void) {
        static char *copy[2];
        char c, *old = environ[0];
        copy[0] = strdup(old);
        environ = copy;
        memset(old, 0, strlen(old));
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        write(1, "ready", 5);
        read(0, &c, 1);
        return 0;
    }
    """
    pack = make_server_pack(tmp_path)
    other = build_elf(tmp_path / "old/libheap.so.4", soname="libheap.so.4", tag="")
    program = build_elf(pack / "bin/server", program=True, source=source, needed=["libheap.so.4"])
    with run_waiting(program, LD_LIBRARY_PATH=str(other.parent)) as pid:
        found = inspect_process(pid)
    assert found.snapshot.remarks == (PRESENT,)
    assert found.differences == ()
    library = next(o for o in found.predicted if o is not None and o.name == "libheap.so.4")
    assert library.via is SearchRule.LD_LIBRARY_PATH


def test_an_ended_process_has_no_memory() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(BundleFixError, match=r"it has no memory|has ended"):
            inspect_process(process.pid)


def test_objects_and_build_ids_are_those_of_elfutils(tmp_path: Path) -> None:
    pack = make_server_pack(tmp_path / "pack")
    with run_waiting(pack / "bin/server") as pid:
        expected = list_with_elfutils("--pid", str(pid))
        core = dump_core(pid, tmp_path / "core")
        assert find_build_ids(inspect_process(pid)) == expected
    assert find_build_ids(inspect_core(core)) == list_with_elfutils("--core", core) == expected


def find_build_ids(inspection: Inspection) -> dict[int, str]:
    objects = [o.observed for o in inspection.comparison.objects]
    return {o.address: o.build_id for o in objects if o.build_id}
