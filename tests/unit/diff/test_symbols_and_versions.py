"""Symbols that a library lost, and newer versions that are wanted of the host."""

from __future__ import annotations

from pathlib import Path

from builders.elf import elf, object_with_versions
from bundle_fix.diff.compare import Difference

from .conftest import Compare

R = "$ORIGIN/../lib"
TWO = "int kept(void) { return 1; }\nint dropped(void) { return 2; }\n"
ONE = "int kept(void) { return 1; }\n"
USER = "int dropped(void);\nint main(void) { return dropped(); }\n"


def library(folder: Path, source: str, soname: str | None = "libx.so.1") -> Path:
    return elf(folder / "lib/libx.so.1", soname=soname, source=source)


def lost(found: Difference) -> list[tuple[str, list[str]]]:
    return [(f.severity, f.evidence["symbols"]) for f in found.findings if f.rule == "BF704"]


def test_a_symbol_that_an_outsider_may_use_is_worse(tmp_path: Path, compare: Compare) -> None:
    library(tmp_path / "old", TWO)
    library(tmp_path / "new", ONE)
    found = compare()
    assert (lost(found), found.failed) == ([("error", ["dropped"])], True)
    (altered,) = found.members.changed
    change = altered.find_change("symbols")
    assert change is not None
    assert (change.old, change.new) == (("dropped",), ())
    assert lost(compare(tmp_path / "new", tmp_path / "old")) == []


def test_a_library_of_another_soname_promises_nothing(tmp_path: Path, compare: Compare) -> None:
    library(tmp_path / "old", TWO)
    elf(tmp_path / "new/lib/libx.so.2", soname="libx.so.2", source=ONE)
    found = compare()
    assert (lost(found), found.failed) == ([], False)


def test_a_weak_symbol_has_a_definition_at_its_users_and_is_a_note(
    tmp_path: Path, compare: Compare
) -> None:
    library(tmp_path / "old", ONE + "__attribute__((weak)) int spare(void) { return 3; }\n")
    library(tmp_path / "new", ONE)
    found = compare()
    assert (lost(found), found.failed) == ([("note", ["spare"])], False)


def against(folder: Path) -> list[str]:
    """Flags that link against the library with both symbols, by its name."""
    library(folder / "link", TWO, None)
    return [f"-L{folder}/link/lib", "-l:libx.so.1"]


def test_who_still_wants_it_is_named_even_without_a_soname(
    tmp_path: Path, compare: Compare
) -> None:
    for name, source in (("old", TWO), ("new", ONE)):
        library(tmp_path / name, source, None)
        elf(
            tmp_path / name / "bin/x", program=True, source=USER, flags=against(tmp_path), runpath=R
        )
    (message,) = [f.message for f in compare().findings if f.rule == "BF704"]
    assert message == "has lost 1 symbol: dropped (used by bin/x)"


def test_a_symbol_that_moved_to_another_library_of_the_process_is_found_there(
    tmp_path: Path, compare: Compare
) -> None:
    for name, source, other in (("old", TWO, ""), ("new", ONE, "int dropped(void) { return 2; }")):
        library(tmp_path / name, source, None)
        second = elf(tmp_path / name / "lib/liby.so.1", soname="liby.so.1", source=f"{other}\n")
        flags = [*against(tmp_path), str(second)]
        elf(tmp_path / name / "bin/x", program=True, source=USER, flags=flags, runpath=R)
    assert lost(compare()) == []


def test_versions_count_as_the_loader_counts_them(tmp_path: Path, compare: Compare) -> None:
    for name, versions in (("old", ["V1", "V2"]), ("new", ["V2", "V3"])):
        object_with_versions(tmp_path / name / "lib/libv.so.1", "libv.so.1", "f", versions)
    # f1 and f2 are what the versions of f are defined by, and stay.
    # f@V1 has no default that could stand in for it; f@@V2 is found as f@V2.
    assert lost(compare()) == [("error", ["f@V1"])]
    elf(tmp_path / "new/lib/libv.so.1", soname="libv.so.1", source="int f(void) { return 1; }\n")
    assert lost(compare()) == [("error", ["f1", "f2"])]


def test_a_symbol_that_had_no_version_is_found_under_the_default_one(
    tmp_path: Path, compare: Compare
) -> None:
    elf(tmp_path / "old/lib/libv.so.1", soname="libv.so.1", source="int f(void) { return 1; }\n")
    object_with_versions(tmp_path / "new/lib/libv.so.1", "libv.so.1", "f", ["V1", "V2"])
    assert lost(compare()) == []


def test_a_newer_glibc_that_is_wanted_is_worse(tmp_path: Path, compare: Compare) -> None:
    elf(tmp_path / "old/bin/x", program=True)
    object_with_versions(tmp_path / "libm/libm.so.6", "libm.so.6", "sooner", ["GLIBC_2.99"])
    source = "int sooner(void);\nint main(void) { return sooner(); }\n"
    elf(
        tmp_path / "new/bin/x",
        program=True,
        source=source,
        flags=[str(tmp_path / "libm/libm.so.6")],
    )
    found = compare()
    (finding,) = [f for f in found.findings if f.rule == "BF705"]
    assert (finding.severity, finding.path, found.failed) == ("error", "bin/x", True)
    assert finding.message.startswith("wants GLIBC_2.99 of the host; the newest that the old pack")
    after = found.required_versions["GLIBC"][1]
    assert after is not None
    assert after.version == "2.99"
    allowed = compare(glibc="2.99")
    assert [f.severity for f in allowed.findings if f.rule == "BF705"] == ["note"]
    assert list(compare(tmp_path / "new", tmp_path / "old").findings) == []


def test_a_library_of_the_pack_may_want_newer_versions_of_another(
    tmp_path: Path, compare: Compare
) -> None:
    for name, version in (("old", "GCC_3.0"), ("new", "GCC_7.0")):
        folder = tmp_path / name
        object_with_versions(folder / "lib/libgcc_s.so.1", "libgcc_s.so.1", "unwind", [version])
        source = "int unwind(void);\nint main(void) { return unwind(); }\n"
        flags = [str(folder / "lib/libgcc_s.so.1")]
        elf(folder / "bin/x", program=True, source=source, flags=flags, runpath=R)
    assert "BF705" not in {f.rule for f in compare().findings}
