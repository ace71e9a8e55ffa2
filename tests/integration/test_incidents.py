"""Incidents of Pegasus's packs, each prevented by ``pack`` and repaired or reported by ``fix``.

Every incident is tested with a spec (the pack is correct, or the spec is refused with the line) and
with a repair of the bad tarball (fixed, or refused with a finding).
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from builders.pack import make_tarball
from bundle_fix.cli.main import main

SERVER = '[[files]]\nfrom = "server"\nto = "bin/"\n'


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command, and the members of the artifact that it wrote."""

    status: int
    output: str
    members: dict[str, str]

    def is_refused_at(self, line: int) -> bool:
        """Return whether the spec was refused at this line, and nothing was written."""
        position = rf"^bundle-fix: error: \S*bundle\.toml:{line}:\d+: "
        return (
            self.status == 2 and not self.members and bool(re.search(position, self.output, re.M))
        )

    def has_only_findings(self, *rules: str) -> bool:
        """Return whether nothing was written because of findings of these rules."""
        reported = all(f" {rule} " in self.output for rule in rules)
        return self.status == 1 and not self.members and reported


class Bench:
    """Runs of commands in one directory."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys

    def run(self, *command: str | Path, out: Path) -> Outcome:
        status = main([str(word) for word in command])
        printed = self.capsys.readouterr()
        members = {}
        if out.exists():
            with tarfile.open(out) as archive:
                members = {
                    m.name.split("/", 1)[1]: m.linkname if m.issym() else "file"
                    for m in archive
                    if not m.isdir() and not m.name.endswith("/bundle-manifest.json")
                }
            subprocess.run(["tar", "xf", out, "-C", self.root], check=True)
        return Outcome(status, " ".join(printed.err.split(" ")) + printed.out, members)

    def pack(self, text: str) -> Outcome:
        """Pack the directory with a spec that has this text from its third line on."""
        (self.root / "bundle.toml").write_text(f'[bundle]\nname = "pack"\n{text}')
        out = self.root / "pack.tar"
        return self.run("pack", self.root / "bundle.toml", "-o", out, out=out)

    def fix(self, *options: str | Path) -> Outcome:
        """Fix a tarball of the directory ``bad``."""
        bad, out = make_tarball(self.root / "bad", self.root / "bad.tar"), self.root / "fixed.tar"
        return self.run("fix", bad, "-o", out, *options, out=out)

    def run_program(self, program: str = "bin/server", top: str = "pack") -> str:
        """Run a program of the last pack in an unrelated directory, and return its output."""
        done = subprocess.run(
            [self.root / top / program],
            cwd="/",
            env={},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, capsys)


# --- a library stored under its development name, or under its real name without soname symlink


@pytest.mark.parametrize("name", ["libtcmalloc.so", "libtcmalloc.so.4.6.11"])
class TestALibraryWithoutItsSoname:
    def test_is_packed_with_a_soname_symlink(self, bench: Bench, name: str) -> None:
        build_elf(bench.root / "server", program=True, needed=["libtcmalloc.so.4"])
        build_elf(bench.root / "out" / name, soname="libtcmalloc.so.4", tag="shipped")
        for entry in (f'from = "out/{name}"', 'name = "libtcmalloc.so.4"\nsearch = ["out"]'):
            result = bench.pack(f"{SERVER}[[libraries]]\n{entry}\n")
            assert (result.status, result.members["lib/libtcmalloc.so.4"]) == (0, name)
            assert bench.run_program() == "shipped\nmain\n"

    def test_gets_a_soname_symlink_from_fix(self, bench: Bench, name: str) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libtcmalloc.so.4"], runpath="."
        )
        build_elf(bench.root / "bad/bin" / name, soname="libtcmalloc.so.4", tag="shipped")
        result = bench.fix()
        assert (result.status, result.members["bin/libtcmalloc.so.4"]) == (0, name)
        assert bench.run_program() == "shipped\nmain\n"


# --- a library of the wrong ELF class or architecture


@pytest.mark.parametrize("machine", ["i386", "aarch64"])
class TestALibraryOfAnotherMachine:
    def test_is_skipped_by_name_and_refused_by_path(self, bench: Bench, machine: str) -> None:
        build_elf(bench.root / "server", program=True, needed=["libz.so.1"])
        build_elf(bench.root / "first/libz.so.1", soname="libz.so.1", toolchain=CROSS[machine])
        build_elf(bench.root / "second/libz.so.1", soname="libz.so.1", tag="right")
        by_name = '[[libraries]]\nname = "libz.so.1"\nsearch = ["first", "second"]\n'
        assert bench.pack(SERVER + by_name).status == 0
        assert bench.run_program() == "right\nmain\n"
        (bench.root / "pack.tar").unlink()
        result = bench.pack(f'{SERVER}[[libraries]]\nfrom = "first/libz.so.1"\n')
        assert result.is_refused_at(7)
        assert f"is for {machine}, but the pack's programs are for x86_64" in result.output

    def test_is_reported_by_fix(self, bench: Bench, machine: str) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libz.so.1"], runpath="$ORIGIN"
        )
        build_elf(bench.root / "bad/bin/libz.so.1", soname="libz.so.1", toolchain=CROSS[machine])
        result = bench.fix()
        assert result.has_only_findings("BF407")
        assert f"{machine}; the programs are for 64-bit x86_64" in " ".join(result.output.split())


# --- a dependency of a dependency forgotten


@pytest.mark.parametrize(
    ("middle", "forgotten"),
    [
        ("libdsn_replica_server.so", "librocksdb.so.8"),
        ("libdsn_meta_server.so", "libdsn_utils.so"),
        ("libhdfs.so.0.0.0", "libboost_regex.so.1.74.0"),
        ("libzookeeper_mt.so.2", "libsasl2.so.2"),
    ],
)
class TestADependencyOfADependency:
    def test_is_reported_or_bundled(self, bench: Bench, middle: str, forgotten: str) -> None:
        build_elf(bench.root / "server", program=True, needed=[middle])
        build_elf(bench.root / "out" / middle, soname=middle, needed=[forgotten])
        build_elf(bench.root / "elsewhere" / forgotten, soname=forgotten)
        text = f'{SERVER}[[libraries]]\nfrom = "out/*"\n[closure]\nsearch = ["elsewhere"]\n'
        without = bench.pack(text)
        assert without.status in (1, 2)
        assert not without.members
        assert forgotten in without.output
        assert middle in without.output
        result = bench.pack(f'{text}bundle = ["{forgotten}"]\n')
        assert (result.status, f"lib/{forgotten}" in result.members) == (0, True)
        assert forgotten in bench.run_program()

    def test_is_reported_by_fix(self, bench: Bench, middle: str, forgotten: str) -> None:
        build_elf(bench.root / "bad/bin/server", program=True, needed=[middle], runpath="$ORIGIN")
        build_elf(bench.root / "bad/bin" / middle, soname=middle, needed=[forgotten])
        result = bench.fix()
        assert result.has_only_findings("BF101")
        assert f"needs {forgotten}, which is neither in the pack nor expected on the host" in (
            " ".join(result.output.split())
        )


class TestAPluginDirectory:
    """libsasl2 opens the files of a directory with dlopen: no needed name refers to them."""

    DLOPEN = '[closure]\ndlopen = ["libgssapiv2.so.2"]\n'

    def test_is_packed_if_the_spec_lists_it(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True, needed=["libsasl2.so.2"])
        build_elf(bench.root / "out/libsasl2.so.2", soname="libsasl2.so.2")
        build_elf(bench.root / "out/sasl2/libgssapiv2.so.2", needed=["libsasl2.so.2"])
        text = f'{SERVER}[[libraries]]\nfrom = "out/*.so*"\n'
        assert bench.pack(text + self.DLOPEN).status in (1, 2)
        plugins = '[[libraries]]\nfrom = "out/sasl2/*.so*"\nto = "lib/sasl2/"\n'
        result = bench.pack(text + plugins)
        assert (result.status, "lib/sasl2/libgssapiv2.so.2" in result.members) == (0, True)
        plugin = bench.root / "pack/lib/sasl2/libgssapiv2.so.2"
        listed = subprocess.run(["ldd", plugin], capture_output=True, text=True, check=True)
        assert re.search(rf"libsasl2\.so\.2 => {bench.root}/pack/lib/", listed.stdout)

    def test_is_reported_by_fix_if_a_plugin_is_missing(self, bench: Bench) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libsasl2.so.2"], runpath="$ORIGIN"
        )
        build_elf(bench.root / "bad/bin/libsasl2.so.2", soname="libsasl2.so.2")
        spec = bench.root / "bundle.toml"
        spec.write_text(f'[bundle]\nname = "x"\n{self.DLOPEN}')
        result = bench.fix("--spec", spec)
        assert result.has_only_findings("BF109")


# --- a version number in a spec that changes with an upgrade


class TestAVersionThatWasUpgraded:
    def test_is_refused_by_exact_name_and_found_by_a_glob(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True, needed=["librocksdb.so.9"])
        build_elf(bench.root / "out/librocksdb.so.9.1", soname="librocksdb.so.9")
        result = bench.pack(f'{SERVER}[[libraries]]\nname = "librocksdb.so.8"\nsearch = ["out"]\n')
        assert result.is_refused_at(7)
        assert "(did you mean `librocksdb.so.9`?)" in result.output
        assert bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/librocksdb.so*"\n').status == 0

    def test_is_reported_by_fix(self, bench: Bench) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["librocksdb.so.9"], runpath="."
        )
        build_elf(bench.root / "bad/bin/librocksdb.so.8", soname="librocksdb.so.8")
        assert bench.fix().has_only_findings("BF101")


# --- found in lib64 on one distribution and in lib on another


@pytest.mark.parametrize("lib", ["lib", "lib64"])
class TestLibAndLib64:
    def test_are_both_searched(self, bench: Bench, lib: str) -> None:
        build_elf(bench.root / "server", program=True, needed=["libx.so.1"])
        build_elf(bench.root / "out" / lib / "libx.so.1", soname="libx.so.1", tag="ours")
        by_name = 'name = "libx.so.1"\nsearch = ["out/lib", "out/lib64"]'
        for entry in (by_name, 'from = "out/lib*/libx.so.1"'):
            assert bench.pack(f"{SERVER}[[libraries]]\n{entry}\n").status == 0
            assert bench.run_program() == "ours\nmain\n"

    def test_get_the_matching_runpath_from_fix(self, bench: Bench, lib: str) -> None:
        build_elf(
            bench.root / "bad/bin/server",
            program=True, needed=["libx.so.1"], runpath="$ORIGIN/../lib",
        )  # fmt: skip
        build_elf(bench.root / "bad" / lib / "libx.so.1", soname="libx.so.1", tag="ours")
        assert bench.fix().status == 0
        assert bench.run_program() == "ours\nmain\n"


# --- libjvm.so comes from the host's JDK


class TestTheJdksLibrary:
    def test_must_be_declared(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True, needed=["libjvm.so"])
        result = bench.pack(SERVER)
        assert result.status in (1, 2)
        assert not result.members
        assert "libjvm.so" in result.output
        result = bench.pack(f'{SERVER}[closure]\nhost = ["libjvm.so"]\n')
        assert (result.status, list(result.members)) == (0, ["bin/server"])

    def test_must_also_be_declared_for_fix(self, bench: Bench) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libjvm.so"], runpath="$ORIGIN"
        )
        assert bench.fix().has_only_findings("BF101")
        assert bench.fix("--host-provides", "libjvm.so").status == 0


# --- an optional library that nothing needs


class TestALibraryThatNothingNeeds:
    def test_is_not_required(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True)
        result = bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/libicu*.so*"\n')
        assert result.is_refused_at(7)
        assert "`optional = true`" in result.output
        optional = '[[libraries]]\nfrom = "out/libicu*.so*"\noptional = true\n'
        closure = '[closure]\nbundle = ["libicu*.so.*"]\n'
        for text in (optional, closure):
            result = bench.pack(SERVER + text)
            assert (result.status, list(result.members)) == (0, ["bin/server"])

    def test_is_not_reported_by_fix(self, bench: Bench) -> None:
        build_elf(bench.root / "bad/bin/server", program=True)
        assert bench.fix().status == 0


# --- a stale entry for which the script prints ERROR and continues


class TestAStaleEntry:
    def test_stops_the_pack_and_every_stale_line_is_reported(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True)
        stale = [
            '[[files]]\nfrom = "old.ini"\nto = "bin/"\n',
            '[[libraries]]\nfrom = "libold.so"\n',
        ]
        result = bench.pack(SERVER + "".join(stale))
        assert result.is_refused_at(7)
        assert result.is_refused_at(10)

    def test_is_reported_by_fix_as_a_missing_library(self, bench: Bench) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libold.so"], runpath="$ORIGIN"
        )
        assert bench.fix().has_only_findings("BF101")


# --- a copy that fails is ignored


class TestAFailedCopy:
    @pytest.mark.parametrize("kind", ["dangling", "fifo", "damaged"])
    def test_stops_the_pack_and_the_line_is_reported(self, bench: Bench, kind: str) -> None:
        build_elf(bench.root / "server", program=True)
        path = bench.root / "out/libx.so.1"
        path.parent.mkdir()
        if kind == "dangling":
            path.symlink_to("gone")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.write_bytes((bench.root / "server").read_bytes()[:100])
        for table, more in (("files", 'to = "x/"\n'), ("libraries", "")):
            if (kind, table) == ("damaged", "files"):
                continue
            result = bench.pack(f'{SERVER}[[{table}]]\nfrom = "out/libx.so.1"\n{more}')
            assert result.is_refused_at(7), result.output

    def test_leaves_a_truncated_file_that_fix_refuses(self, bench: Bench) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libx.so.1"], runpath="$ORIGIN"
        )
        whole = build_elf(bench.root / "bad/bin/libx.so.1", soname="libx.so.1")
        whole.write_bytes(whole.read_bytes()[: 64 + 56])
        result = bench.fix()
        assert (result.status, result.members) == (2, {})
        assert "bin/libx.so.1: the ELF file is damaged" in result.output


# --- files from an earlier build that match a glob


class TestALibraryFromAnEarlierBuild:
    @pytest.mark.parametrize("soname", ["libx.so.3", "libx.so.4"])
    def test_is_refused_and_both_files_are_named(self, bench: Bench, soname: str) -> None:
        build_elf(bench.root / "server", program=True, needed=["libx.so.4"])
        build_elf(bench.root / "out/libx.so.4.6", soname="libx.so.4")
        build_elf(bench.root / "out/libx.so.3.9", soname=soname, tag="stale")
        result = bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/libx.so*"\n')
        assert result.is_refused_at(7)
        assert re.search(
            r"libx\.so\.3\.9 and \S+libx\.so\.4\.6 are two versions of one", result.output
        )

    def test_is_reported_if_nothing_needs_it(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True, needed=["libdsn_utils.so"])
        build_elf(bench.root / "out/libdsn_utils.so", soname="libdsn_utils.so")
        text = f'{SERVER}[[libraries]]\nfrom = "out/libdsn_*.so"\n'
        assert "earlier build" not in bench.pack(text).output
        build_elf(bench.root / "out/libdsn_gone.so", soname="libdsn_gone.so")
        result = bench.pack(text)
        assert result.status == 0
        assert re.search(
            r"bundle\.toml:7:8: `from` matches libdsn_gone\.so, which no object needs;",
            result.output,
        )
        plugins = f'{text}[closure]\ndlopen = ["libdsn_gone.so"]\n'
        assert "earlier build" not in bench.pack(plugins).output

    def test_is_not_reported_in_a_pack_of_libraries_only(self, bench: Bench) -> None:
        build_elf(bench.root / "out/libx.so.4", soname="libx.so.4")
        build_elf(bench.root / "out/liby.so.1", soname="liby.so.1", needed=["libx.so.4"])
        result = bench.pack('[[libraries]]\nfrom = "out/*.so*"\n')
        assert (result.status, "earlier build" in result.output) == (0, False)

    def test_is_reported_by_fix_if_the_choice_is_ambiguous(self, bench: Bench) -> None:
        build_elf(
            bench.root / "bad/bin/server", program=True, needed=["libx.so.4"], runpath="$ORIGIN"
        )
        build_elf(bench.root / "bad/bin/libx.so.4.6", soname="libx.so.4")
        build_elf(bench.root / "bad/bin/libx.so.4.5", soname="libx.so.4", tag="stale")
        result = bench.fix()
        assert result.has_only_findings("BF102")
        assert "libx.so.4.5" in result.output
        assert "libx.so.4.6" in result.output


# --- two servers, of which the script handled only one


class TestTheSecondServer:
    def test_is_also_checked_by_pack(self, bench: Bench) -> None:
        build_elf(bench.root / "meta", program=True)
        build_elf(bench.root / "replica", program=True, needed=["librocksdb.so.8"])
        result = bench.pack(
            "".join(f'[[files]]\nfrom = "{n}"\nto = "bin/"\n' for n in ("meta", "replica"))
        )
        assert result.status in (1, 2)
        assert not result.members
        assert "bin/replica" in result.output
        assert "librocksdb.so.8" in result.output
        assert "bin/meta" not in result.output

    def test_is_also_checked_by_fix(self, bench: Bench) -> None:
        build_elf(bench.root / "bad/bin/meta", program=True, runpath="$ORIGIN")
        build_elf(bench.root / "bad/bin/replica", program=True, needed=["librocksdb.so.8"])
        result = bench.fix()
        assert result.has_only_findings("BF101")
        assert "bin/replica needs librocksdb.so.8" in " ".join(result.output.split())


# --- a library whose symlinks were copied as files


class TestThreeCopies:
    NAMES = ("libhdfs.so", "libhdfs.so.0", "libhdfs.so.0.0.0")

    def test_are_packed_as_one_file_with_two_symlinks(self, bench: Bench) -> None:
        build_elf(bench.root / "server", program=True, needed=["libhdfs.so.0"])
        for name in self.NAMES:
            build_elf(bench.root / "out" / name, soname="libhdfs.so.0", tag="hdfs")
        result = bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/libhdfs*"\n')
        assert result.status == 0
        assert result.members == {
            "bin/server": "file",
            "lib/libhdfs.so": "libhdfs.so.0.0.0",
            "lib/libhdfs.so.0": "libhdfs.so.0.0.0",
            "lib/libhdfs.so.0.0.0": "file",
        }
        assert bench.run_program() == "hdfs\nmain\n"

    def test_keep_their_names_and_bytes_in_fix(self, bench: Bench) -> None:
        build_elf(bench.root / "bad/bin/server", program=True, needed=["libhdfs.so.0"], runpath=".")
        for name in self.NAMES:
            build_elf(bench.root / "bad/bin" / name, soname="libhdfs.so.0", tag="hdfs")
        result = bench.fix()
        assert result.status == 0
        copies = {path: kind for path, kind in result.members.items() if "libhdfs" in path}
        assert copies == {f"bin/{name}": "file" for name in self.NAMES}
        assert bench.run_program() == "hdfs\nmain\n"
