"""Properties of the comparison of any two trees."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bundle_fix.check.context import Context
from bundle_fix.diff.compare import Difference, compare_snapshots
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.loader.bundle import build_bundle
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree
from bundle_fix.policy.policy import CheckPolicy

NAMES = st.sampled_from(["a", "b", "lib", "x.so.1", "x.so.2", "x-1.2", "x-1.3"])
FILES = st.builds(
    lambda data, mode: File(BytesContent(data), Metadata(mode)),
    st.sampled_from([b"", b"one", b"two", b"longer"]), st.sampled_from([0o644, 0o755]),
)  # fmt: skip
LINKS = st.builds(lambda target: Symlink(target, Metadata(0o777)), NAMES)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    nodes: dict[str, Node] = {}
    for directory in draw(st.lists(NAMES, max_size=3, unique=True)):
        nodes[directory] = Directory(Metadata(0o755))
        for name in draw(st.lists(NAMES, max_size=4, unique=True)):
            nodes[f"{directory}/{name}"] = draw(FILES | LINKS)
    top = draw(st.sampled_from(["", "pack-1", "./pack-2"]))
    return Tree(nodes, top)


def compare_trees(old: Tree, new: Tree) -> Difference:
    before, after = (
        Snapshot("x", Context(build_bundle(tree, {}), CheckPolicy(), build_adversarial_host()))
        for tree in (old, new)
    )
    return compare_snapshots(before, after, ())


@given(tree=trees())
@settings(deadline=None)
def test_a_tree_does_not_differ_from_itself(tree: Tree) -> None:
    found = compare_trees(tree, tree)
    members = found.members
    assert (members.added, members.removed, members.changed) == ((), (), ())
    assert not found.failed


@given(old=trees(), new=trees())
@settings(deadline=None, max_examples=200)
def test_every_path_is_reported_at_most_once_and_every_change_of_content_at_all(
    old: Tree, new: Tree
) -> None:
    members = compare_trees(old, new).members
    new_paths = [m.path for m in members.added] + [a.path for a in members.changed]
    assert len(new_paths) == len(set(new_paths))
    old_paths = [m.path for m in members.removed] + [a.old_path for a in members.changed]
    assert len(old_paths) == len(set(old_paths))
    before = sorted(node.content.data for _, node in old.iter_files())  # type: ignore[attr-defined]
    after = sorted(node.content.data for _, node in new.iter_files())  # type: ignore[attr-defined]
    changed = [a for a in members.changed if {c.attribute for c in a.changes} - {"path", "mode"}]
    lone = [m for m in (*members.added, *members.removed) if m.kind == "file"]
    if before != after:
        assert changed or lone


@given(old=trees(), new=trees())
@settings(deadline=None)
def test_the_reverse_comparison_reports_as_many_members(old: Tree, new: Tree) -> None:
    forth, back = compare_trees(old, new).members, compare_trees(new, old).members
    assert len(forth.added) + len(forth.removed) == len(back.added) + len(back.removed)
    assert forth.same == back.same
