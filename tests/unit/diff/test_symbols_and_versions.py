"""Removed symbols of libraries, and newer versions required of the host."""

from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf, build_versioned_library
from bundle_fix.diff.compare import Difference

from .conftest import Compare

R = "$ORIGIN/../lib"
TWO = "int kept(void) { return 1; }\nint dropped(void) { return 2; }\n"
ONE = "int kept(void) { return 1; }\n"
USER = "int dropped(void);\nint main(void) { return dropped(); }\n"


def build_library(directory: Path, source: str, soname: str | None = "libx.so.1") -> Path:
    return build_elf(directory / "lib/libx.so.1", soname=soname, source=source)


def list_removed_symbols(found: Difference) -> list[tuple[str, list[str]]]:
    return [(f.severity, f.evidence["symbols"]) for f in found.findings if f.rule == "BF704"]


def test_a_removed_public_symbol_is_an_error(tmp_path: Path, compare: Compare) -> None:
    build_library(tmp_path / "old", TWO)
    build_library(tmp_path / "new", ONE)
    found = compare()
    assert (list_removed_symbols(found), found.failed) == ([("error", ["dropped"])], True)
    (altered,) = found.members.changed
    change = altered.find_change("symbols")
    assert change is not None
    assert (change.old, change.new) == (("dropped",), ())
    assert list_removed_symbols(compare(tmp_path / "new", tmp_path / "old")) == []


def test_a_library_with_a_new_soname_may_remove_symbols(tmp_path: Path, compare: Compare) -> None:
    build_library(tmp_path / "old", TWO)
    build_elf(tmp_path / "new/lib/libx.so.2", soname="libx.so.2", source=ONE)
    found = compare()
    assert (list_removed_symbols(found), found.failed) == ([], False)


def test_a_removed_weak_symbol_is_a_note(tmp_path: Path, compare: Compare) -> None:
    build_library(tmp_path / "old", ONE + "__attribute__((weak)) int spare(void) { return 3; }\n")
    build_library(tmp_path / "new", ONE)
    found = compare()
    assert (list_removed_symbols(found), found.failed) == ([("note", ["spare"])], False)


def make_linker_flags(directory: Path) -> list[str]:
    """Return the flags to link against the library with both symbols, by its name."""
    build_library(directory / "link", TWO, None)
    return [f"-L{directory}/link/lib", "-l:libx.so.1"]


def test_a_user_of_a_removed_symbol_is_named_even_without_a_soname(
    tmp_path: Path, compare: Compare
) -> None:
    for name, source in (("old", TWO), ("new", ONE)):
        build_library(tmp_path / name, source, None)
        build_elf(
            tmp_path / name / "bin/x",
            program=True,
            source=USER,
            flags=make_linker_flags(tmp_path),
            runpath=R,
        )
    (message,) = [f.message for f in compare().findings if f.rule == "BF704"]
    assert message == "no longer exports 1 symbol: dropped (used by bin/x)"


def test_a_symbol_that_moved_to_another_library_of_the_process_is_found(
    tmp_path: Path, compare: Compare
) -> None:
    for name, source, other in (("old", TWO, ""), ("new", ONE, "int dropped(void) { return 2; }")):
        build_library(tmp_path / name, source, None)
        second = build_elf(
            tmp_path / name / "lib/liby.so.1", soname="liby.so.1", source=f"{other}\n"
        )
        flags = [*make_linker_flags(tmp_path), str(second)]
        build_elf(tmp_path / name / "bin/x", program=True, source=USER, flags=flags, runpath=R)
    assert list_removed_symbols(compare()) == []


def test_symbol_versions_match_as_in_the_loader(tmp_path: Path, compare: Compare) -> None:
    for name, versions in (("old", ["V1", "V2"]), ("new", ["V2", "V3"])):
        build_versioned_library(tmp_path / name / "lib/libv.so.1", "libv.so.1", "f", versions)
    # f1 and f2, which define the versions of f, remain.
    # f@V1 has no default version in its place; f@@V2 is found as f@V2.
    assert list_removed_symbols(compare()) == [("error", ["f@V1"])]
    build_elf(
        tmp_path / "new/lib/libv.so.1", soname="libv.so.1", source="int f(void) { return 1; }\n"
    )
    assert list_removed_symbols(compare()) == [("error", ["f1", "f2"])]


def test_a_symbol_without_a_version_matches_the_default_version(
    tmp_path: Path, compare: Compare
) -> None:
    build_elf(
        tmp_path / "old/lib/libv.so.1", soname="libv.so.1", source="int f(void) { return 1; }\n"
    )
    build_versioned_library(tmp_path / "new/lib/libv.so.1", "libv.so.1", "f", ["V1", "V2"])
    assert list_removed_symbols(compare()) == []


def test_a_newer_required_glibc_is_an_error(tmp_path: Path, compare: Compare) -> None:
    build_elf(tmp_path / "old/bin/x", program=True)
    build_versioned_library(tmp_path / "libm/libm.so.6", "libm.so.6", "sooner", ["GLIBC_2.99"])
    source = "int sooner(void);\nint main(void) { return sooner(); }\n"
    build_elf(
        tmp_path / "new/bin/x",
        program=True,
        source=source,
        flags=[str(tmp_path / "libm/libm.so.6")],
    )
    found = compare()
    (finding,) = [f for f in found.findings if f.rule == "BF705"]
    assert (finding.severity, finding.path, found.failed) == ("error", "bin/x", True)
    assert finding.message.startswith("requires GLIBC_2.99 from the host; the old pack required")
    after = found.required_versions["GLIBC"][1]
    assert after is not None
    assert after.version == "2.99"
    allowed = compare(glibc="2.99")
    assert [f.severity for f in allowed.findings if f.rule == "BF705"] == ["note"]
    assert list(compare(tmp_path / "new", tmp_path / "old").findings) == []


def test_newer_versions_of_a_bundled_library_are_not_reported(
    tmp_path: Path, compare: Compare
) -> None:
    for name, version in (("old", "GCC_3.0"), ("new", "GCC_7.0")):
        directory = tmp_path / name
        build_versioned_library(
            directory / "lib/libgcc_s.so.1", "libgcc_s.so.1", "unwind", [version]
        )
        source = "int unwind(void);\nint main(void) { return unwind(); }\n"
        flags = [str(directory / "lib/libgcc_s.so.1")]
        build_elf(directory / "bin/x", program=True, source=source, flags=flags, runpath=R)
    assert "BF705" not in {f.rule for f in compare().findings}


def test_a_plugin_is_named_that_uses_a_symbol_which_its_program_no_longer_exports(
    tmp_path: Path, compare: Compare
) -> None:
    plugin = "extern int gone; int f(void) { return gone; }"
    for name, exports in (("old", "int gone, kept;"), ("new", "int kept;")):
        source = f"{exports} int main(void) {{ return 0; }}"
        build_elf(tmp_path / name / "bin/x", program=True, source=source, flags=["-rdynamic"])
        build_elf(tmp_path / name / "plugins/p.so", source=plugin)
    (finding,) = [f for f in compare().findings if f.rule == "BF704"]
    assert (finding.path, finding.evidence["used_by"]) == ("bin/x", {"gone": "plugins/p.so"})
    build_elf(tmp_path / "new/plugins/q.so", source="int gone;")
    assert [f for f in compare().findings if f.rule == "BF704"] == []
