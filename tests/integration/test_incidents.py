"""What really happened to Pegasus's packs: each cannot come from a spec, and is mended or told.

Every incident is here twice: by a spec (the pack is right, or the spec is refused with the line to
look at) and by a repair of the bad tarball (mended, or refused with the finding).
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.elf import CROSS, elf
from builders.pack import make_tarball
from bundle_fix.cli.main import main

SERVER = '[[files]]\nfrom = "server"\nto = "bin/"\n'


@dataclass(frozen=True)
class Outcome:
    """What a command did: its status, what it said, and the members of what it wrote."""

    status: int
    said: str
    members: dict[str, str]

    def refused_at(self, line: int) -> bool:
        """Whether the spec was refused, with this line named and nothing written."""
        place = rf"^bundle-fix: error: \S*bundle\.toml:{line}:\d+: "
        return self.status == 2 and not self.members and bool(re.search(place, self.said, re.M))

    def found(self, *rules: str) -> bool:
        """Whether findings of these rules kept the artifact from being written."""
        told = all(f" {rule} " in self.said for rule in rules)
        return self.status == 1 and not self.members and told


class Bench:
    """Runs commands in a folder: only tests need such a thing."""

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
        """Pack the folder by a spec with this text, whose first line is its third."""
        (self.root / "bundle.toml").write_text(f'[bundle]\nname = "pack"\n{text}')
        out = self.root / "pack.tar"
        return self.run("pack", self.root / "bundle.toml", "-o", out, out=out)

    def fix(self, *options: str | Path) -> Outcome:
        """Mend a tarball of the folder ``bad``."""
        bad, out = make_tarball(self.root / "bad", self.root / "bad.tar"), self.root / "fixed.tar"
        return self.run("fix", bad, "-o", out, *options, out=out)

    def starts(self, program: str = "bin/server", top: str = "pack") -> str:
        """What a program of what was written last prints, started from elsewhere."""
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


# --- a library stored under its development name, or under its real name with no soname link


@pytest.mark.parametrize("name", ["libtcmalloc.so", "libtcmalloc.so.4.6.11"])
class TestALibraryWithoutItsSoname:
    def test_lands_under_its_soname_too(self, bench: Bench, name: str) -> None:
        elf(bench.root / "server", program=True, needed=["libtcmalloc.so.4"])
        elf(bench.root / "out" / name, soname="libtcmalloc.so.4", tag="shipped")
        for entry in (f'from = "out/{name}"', 'name = "libtcmalloc.so.4"\nsearch = ["out"]'):
            made = bench.pack(f"{SERVER}[[libraries]]\n{entry}\n")
            assert (made.status, made.members["lib/libtcmalloc.so.4"]) == (0, name)
            assert bench.starts() == "shipped\nmain\n"

    def test_gets_the_link_in_a_repair(self, bench: Bench, name: str) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libtcmalloc.so.4"], runpath=".")
        elf(bench.root / "bad/bin" / name, soname="libtcmalloc.so.4", tag="shipped")
        made = bench.fix()
        assert (made.status, made.members["bin/libtcmalloc.so.4"]) == (0, name)
        assert bench.starts() == "shipped\nmain\n"


# --- a library picked in the wrong bitness or architecture


@pytest.mark.parametrize("machine", ["i386", "aarch64"])
class TestALibraryOfAnotherMachine:
    def test_is_passed_over_by_name_and_refused_by_path(self, bench: Bench, machine: str) -> None:
        elf(bench.root / "server", program=True, needed=["libz.so.1"])
        elf(bench.root / "first/libz.so.1", soname="libz.so.1", toolchain=CROSS[machine])
        elf(bench.root / "second/libz.so.1", soname="libz.so.1", tag="right")
        by_name = '[[libraries]]\nname = "libz.so.1"\nsearch = ["first", "second"]\n'
        assert bench.pack(SERVER + by_name).status == 0
        assert bench.starts() == "right\nmain\n"
        (bench.root / "pack.tar").unlink()
        made = bench.pack(f'{SERVER}[[libraries]]\nfrom = "first/libz.so.1"\n')
        assert made.refused_at(7)
        assert f"is for {machine}, the pack's programs are for x86_64" in made.said

    def test_is_told_in_a_repair(self, bench: Bench, machine: str) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libz.so.1"], runpath="$ORIGIN")
        elf(bench.root / "bad/bin/libz.so.1", soname="libz.so.1", toolchain=CROSS[machine])
        made = bench.fix()
        assert made.found("BF407")
        assert f"{machine}; the programs are for 64-bit x86_64" in " ".join(made.said.split())


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
    def test_is_asked_for_or_comes_by_itself(
        self, bench: Bench, middle: str, forgotten: str
    ) -> None:
        elf(bench.root / "server", program=True, needed=[middle])
        elf(bench.root / "out" / middle, soname=middle, needed=[forgotten])
        elf(bench.root / "elsewhere" / forgotten, soname=forgotten)
        text = f'{SERVER}[[libraries]]\nfrom = "out/*"\n[closure]\nsearch = ["elsewhere"]\n'
        without = bench.pack(text)
        assert without.status in (1, 2)
        assert not without.members
        assert forgotten in without.said
        assert middle in without.said
        made = bench.pack(f'{text}bundle = ["{forgotten}"]\n')
        assert (made.status, f"lib/{forgotten}" in made.members) == (0, True)
        assert forgotten in bench.starts()

    def test_is_told_in_a_repair(self, bench: Bench, middle: str, forgotten: str) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=[middle], runpath="$ORIGIN")
        elf(bench.root / "bad/bin" / middle, soname=middle, needed=[forgotten])
        made = bench.fix()
        assert made.found("BF101")
        assert f"needs {forgotten}, which is neither in the pack nor expected on the host" in (
            " ".join(made.said.split())
        )


class TestAPluginDirectory:
    """libsasl2 opens what lies in a folder: no needed name leads there."""

    DLOPEN = '[closure]\ndlopen = ["libgssapiv2.so.2"]\n'

    def test_is_packed_where_it_is_asked_for(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True, needed=["libsasl2.so.2"])
        elf(bench.root / "out/libsasl2.so.2", soname="libsasl2.so.2")
        elf(bench.root / "out/sasl2/libgssapiv2.so.2", needed=["libsasl2.so.2"])
        text = f'{SERVER}[[libraries]]\nfrom = "out/*.so*"\n'
        assert bench.pack(text + self.DLOPEN).status in (1, 2)
        plugins = '[[libraries]]\nfrom = "out/sasl2/*.so*"\nto = "lib/sasl2/"\n'
        made = bench.pack(text + plugins)
        assert (made.status, "lib/sasl2/libgssapiv2.so.2" in made.members) == (0, True)
        plugin = bench.root / "pack/lib/sasl2/libgssapiv2.so.2"
        listed = subprocess.run(["ldd", plugin], capture_output=True, text=True, check=True)
        assert re.search(rf"libsasl2\.so\.2 => {bench.root}/pack/lib/", listed.stdout)

    def test_that_is_missing_is_told_in_a_repair(self, bench: Bench) -> None:
        elf(
            bench.root / "bad/bin/server", program=True, needed=["libsasl2.so.2"], runpath="$ORIGIN"
        )
        elf(bench.root / "bad/bin/libsasl2.so.2", soname="libsasl2.so.2")
        spec = bench.root / "bundle.toml"
        spec.write_text(f'[bundle]\nname = "x"\n{self.DLOPEN}')
        made = bench.fix("--spec", spec)
        assert made.found("BF109")


# --- a version number written down, and gone after an upgrade


class TestAVersionThatWasUpgraded:
    def test_is_refused_where_it_is_written_down_and_taken_by_a_glob(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True, needed=["librocksdb.so.9"])
        elf(bench.root / "out/librocksdb.so.9.1", soname="librocksdb.so.9")
        made = bench.pack(f'{SERVER}[[libraries]]\nname = "librocksdb.so.8"\nsearch = ["out"]\n')
        assert made.refused_at(7)
        assert "(did you mean `librocksdb.so.9`?)" in made.said
        assert bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/librocksdb.so*"\n').status == 0

    def test_is_told_in_a_repair(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["librocksdb.so.9"], runpath=".")
        elf(bench.root / "bad/bin/librocksdb.so.8", soname="librocksdb.so.8")
        assert bench.fix().found("BF101")


# --- found in lib64 on one distribution and in lib on another


@pytest.mark.parametrize("lib", ["lib", "lib64"])
class TestLibAndLib64:
    def test_are_both_searched(self, bench: Bench, lib: str) -> None:
        elf(bench.root / "server", program=True, needed=["libx.so.1"])
        elf(bench.root / "out" / lib / "libx.so.1", soname="libx.so.1", tag="ours")
        by_name = 'name = "libx.so.1"\nsearch = ["out/lib", "out/lib64"]'
        for entry in (by_name, 'from = "out/lib*/libx.so.1"'):
            assert bench.pack(f"{SERVER}[[libraries]]\n{entry}\n").status == 0
            assert bench.starts() == "ours\nmain\n"

    def test_the_runpath_follows_in_a_repair(self, bench: Bench, lib: str) -> None:
        elf(
            bench.root / "bad/bin/server",
            program=True, needed=["libx.so.1"], runpath="$ORIGIN/../lib",
        )  # fmt: skip
        elf(bench.root / "bad" / lib / "libx.so.1", soname="libx.so.1", tag="ours")
        assert bench.fix().status == 0
        assert bench.starts() == "ours\nmain\n"


# --- libjvm.so comes from the host's JDK


class TestTheJdksLibrary:
    def test_has_to_be_declared(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True, needed=["libjvm.so"])
        made = bench.pack(SERVER)
        assert made.status in (1, 2)
        assert not made.members
        assert "libjvm.so" in made.said
        made = bench.pack(f'{SERVER}[closure]\nhost = ["libjvm.so"]\n')
        assert (made.status, list(made.members)) == (0, ["bin/server"])

    def test_has_to_be_declared_in_a_repair_too(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libjvm.so"], runpath="$ORIGIN")
        assert bench.fix().found("BF101")
        assert bench.fix("--host-provides", "libjvm.so").status == 0


# --- an optional library demanded although nothing needs it


class TestALibraryThatNothingNeeds:
    def test_is_not_demanded(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True)
        made = bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/libicu*.so*"\n')
        assert made.refused_at(7)
        assert "`optional = true`" in made.said
        optional = '[[libraries]]\nfrom = "out/libicu*.so*"\noptional = true\n'
        closure = '[closure]\nbundle = ["libicu*.so.*"]\n'
        for text in (optional, closure):
            made = bench.pack(SERVER + text)
            assert (made.status, list(made.members)) == (0, ["bin/server"])

    def test_is_not_missed_in_a_repair(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True)
        assert bench.fix().status == 0


# --- a stale entry prints ERROR, and the script goes on


class TestAStaleEntry:
    def test_ends_the_pack_with_its_line_and_so_does_every_other(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True)
        stale = [
            '[[files]]\nfrom = "old.ini"\nto = "bin/"\n',
            '[[libraries]]\nfrom = "libold.so"\n',
        ]
        made = bench.pack(SERVER + "".join(stale))
        assert made.refused_at(7)
        assert made.refused_at(10)

    def test_is_told_by_what_is_missing_in_a_repair(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libold.so"], runpath="$ORIGIN")
        assert bench.fix().found("BF101")


# --- a copy that fails is ignored


class TestAFailedCopy:
    @pytest.mark.parametrize("kind", ["dangling", "fifo", "damaged"])
    def test_ends_the_pack_with_its_line(self, bench: Bench, kind: str) -> None:
        elf(bench.root / "server", program=True)
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
            made = bench.pack(f'{SERVER}[[{table}]]\nfrom = "out/libx.so.1"\n{more}')
            assert made.refused_at(7), made.said

    def test_leaves_half_a_file_which_a_repair_refuses(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libx.so.1"], runpath="$ORIGIN")
        whole = elf(bench.root / "bad/bin/libx.so.1", soname="libx.so.1")
        whole.write_bytes(whole.read_bytes()[: 64 + 56])
        made = bench.fix()
        assert (made.status, made.members) == (2, {})
        assert "bin/libx.so.1: the ELF file is damaged" in made.said


# --- files from an earlier build, swept in by a glob


class TestALibraryFromAnEarlierBuild:
    @pytest.mark.parametrize("soname", ["libx.so.3", "libx.so.4"])
    def test_is_refused_with_both_named(self, bench: Bench, soname: str) -> None:
        elf(bench.root / "server", program=True, needed=["libx.so.4"])
        elf(bench.root / "out/libx.so.4.6", soname="libx.so.4")
        elf(bench.root / "out/libx.so.3.9", soname=soname, tag="stale")
        made = bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/libx.so*"\n')
        assert made.refused_at(7)
        assert re.search(r"libx\.so\.3\.9 and \S+libx\.so\.4\.6 are two versions of one", made.said)

    def test_that_nothing_needs_any_more_is_told(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True, needed=["libdsn_utils.so"])
        elf(bench.root / "out/libdsn_utils.so", soname="libdsn_utils.so")
        text = f'{SERVER}[[libraries]]\nfrom = "out/libdsn_*.so"\n'
        assert "earlier build" not in bench.pack(text).said
        elf(bench.root / "out/libdsn_gone.so", soname="libdsn_gone.so")
        made = bench.pack(text)
        assert made.status == 0
        assert re.search(r"bundle\.toml:7:8: nothing in the pack needs libdsn_gone\.so", made.said)
        plugins = f'{text}[closure]\ndlopen = ["libdsn_gone.so"]\n'
        assert "earlier build" not in bench.pack(plugins).said

    def test_is_told_in_a_repair_where_nothing_decides(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libx.so.4"], runpath="$ORIGIN")
        elf(bench.root / "bad/bin/libx.so.4.6", soname="libx.so.4")
        elf(bench.root / "bad/bin/libx.so.4.5", soname="libx.so.4", tag="stale")
        made = bench.fix()
        assert made.found("BF102")
        assert "libx.so.4.5" in made.said
        assert "libx.so.4.6" in made.said


# --- two servers, and only one was looked at


class TestTheSecondServer:
    def test_is_looked_at_too(self, bench: Bench) -> None:
        elf(bench.root / "meta", program=True)
        elf(bench.root / "replica", program=True, needed=["librocksdb.so.8"])
        made = bench.pack(
            "".join(f'[[files]]\nfrom = "{n}"\nto = "bin/"\n' for n in ("meta", "replica"))
        )
        assert made.status in (1, 2)
        assert not made.members
        assert "bin/replica" in made.said
        assert "librocksdb.so.8" in made.said
        assert "bin/meta" not in made.said

    def test_is_looked_at_in_a_repair_too(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/meta", program=True, runpath="$ORIGIN")
        elf(bench.root / "bad/bin/replica", program=True, needed=["librocksdb.so.8"])
        made = bench.fix()
        assert made.found("BF101")
        assert "bin/replica needs librocksdb.so.8" in " ".join(made.said.split())


# --- a library dereferenced into three full copies


class TestThreeCopies:
    NAMES = ("libhdfs.so", "libhdfs.so.0", "libhdfs.so.0.0.0")

    def test_land_as_one_file_with_two_links(self, bench: Bench) -> None:
        elf(bench.root / "server", program=True, needed=["libhdfs.so.0"])
        for name in self.NAMES:
            elf(bench.root / "out" / name, soname="libhdfs.so.0", tag="hdfs")
        made = bench.pack(f'{SERVER}[[libraries]]\nfrom = "out/libhdfs*"\n')
        assert made.status == 0
        assert made.members == {
            "bin/server": "file",
            "lib/libhdfs.so": "libhdfs.so.0.0.0",
            "lib/libhdfs.so.0": "libhdfs.so.0.0.0",
            "lib/libhdfs.so.0.0.0": "file",
        }
        assert bench.starts() == "hdfs\nmain\n"

    def test_become_one_file_with_two_links_in_a_repair(self, bench: Bench) -> None:
        elf(bench.root / "bad/bin/server", program=True, needed=["libhdfs.so.0"], runpath=".")
        for name in self.NAMES:
            elf(bench.root / "bad/bin" / name, soname="libhdfs.so.0", tag="hdfs")
        made = bench.fix()
        assert made.status == 0
        kinds = sorted(kind for path, kind in made.members.items() if "libhdfs" in path)
        assert [kind == "file" for kind in kinds].count(True) == 1
        assert bench.starts() == "hdfs\nmain\n"
