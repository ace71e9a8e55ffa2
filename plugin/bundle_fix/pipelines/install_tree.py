"""The install pipeline: repair the files that a build system installed, in place.

Files of other packages in that directory are never changed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.inplace_directory import stage_update
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding, filter_by_severity
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rule import RuleFamily
from bundle_fix.check.rules.wheel import WHEEL_SCHEME
from bundle_fix.collect.libraries.closure import complete_closure
from bundle_fix.collect.libraries.partial_tree import get_path_below, read_tree_of_members
from bundle_fix.collect.pack_builder import Origin, PackBuilder
from bundle_fix.loader.bundle import Bundle, build_bundle, read_bundle
from bundle_fix.loader.hosts.real_host import find_names_on_this_machine
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, Node, Tree
from bundle_fix.pipelines.apply import Action, apply_plan
from bundle_fix.pipelines.fix import FixResult, Options
from bundle_fix.plan.naming.wheel import make_wheel_plan
from bundle_fix.plan.planner import Plan, make_plan
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.spec.epoch import DEFAULT_EPOCH, find_explicit_epoch
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values
from bundle_fix.storage.staging import create_scratch_directory

SKIPPED_DIRECTORIES = frozenset({"build", "venv", "node_modules", "__pycache__"})
"""Names of directories in a source tree that contain no code of the project."""


class Closure(Struct, frozen=True):
    """The closure that a spec asks for; the libraries go into the directory ``libdir``."""

    spec: Spec
    values: Values
    libdir: str


class Installation(Struct, frozen=True):
    """An installation, as the build system describes it.

    Attributes:
        root: the installation root.
        members: the installed files; None if all files below the root belong to it.
        added: the paths that an earlier repair added; they are removed, or added again.
        built: the files of the libraries that the build makes, by their path below the root. None
            of them may come from the host.
        partial: whether this is one component of several, so that libraries may follow later.
        for_wheel: whether the root becomes a wheel, which cannot contain symlinks.
        host_like_this: whether the target has this machine's libraries in its default directories.
        closure: the closure of the spec, if there is one.
        sources: directories whose Python code may name libraries of a wheel.
        elsewhere: directories of a wheel that pip installs elsewhere, such as its scripts.
    """

    root: Path
    members: tuple[Path, ...] | None = None
    added: tuple[str, ...] = ()
    built: Mapping[str, Path] = field(default_factory=dict)
    partial: bool = False
    for_wheel: bool = False
    host_like_this: bool = False
    closure: Closure | None = None
    sources: tuple[Path, ...] = ()
    elsewhere: tuple[Path, ...] = ()


class InstallResult(Struct, frozen=True):
    """The result of a repair in place: the paths of the installation, and those it added."""

    fixed: FixResult
    own: tuple[str, ...]
    added: tuple[str, ...]


class Contents(Struct, frozen=True):
    """The contents of an installation root before the repair.

    Attributes:
        before: all files that were read, with those that an earlier repair added.
        tree: the same without the paths of ``former``.
        own: the paths that this installation put there.
        former: the paths that an earlier repair added.
    """

    before: Tree
    tree: Tree
    own: frozenset[str]
    former: frozenset[str]


def fix_installation(installation: Installation, options: Options) -> InstallResult:
    """Repair an installation in place; if that is not possible, nothing changes.

    Raises:
        BundleFixError: a file of it cannot be read or written.
    """
    contents = _read_contents(installation)
    bundle, added, remarks = _complete_closure(
        read_bundle(contents.tree, str(installation.root)),
        installation,
        options.policy.host,
        contents.former,
    )
    policy = _make_policy(installation, bundle, options.policy)
    plan = _plan_installation(installation, bundle, contents, options, policy)
    with create_scratch_directory() as scratch:
        applied = apply_plan(plan, options.editor, scratch)
        applied = replace(
            applied, actions=(*added, *applied.actions), remarks=(*remarks, *applied.remarks)
        )
        if plan.is_empty and not added and not contents.former:
            verdict = _check_installation(bundle, installation, contents, policy)
            result = FixResult(applied, verdict, None if verdict.failed else installation.root)
            return InstallResult(result, tuple(sorted(contents.own)), ())
        _ensure_free(applied.tree, contents.before, installation.root)
        with stage_update(contents.before, applied.tree, installation.root) as staged:
            written = read_bundle(staged.tree, str(installation.root))
            verdict = _check_installation(written, installation, contents, policy)
            result = FixResult(applied, verdict, installation.root)
            if result.failed and not options.force:
                return _keep_former(replace(result, written=None), contents)
            staged.commit()
    new = applied.tree.nodes.keys() - contents.tree.nodes.keys()
    kept = contents.own & applied.tree.nodes.keys()
    return InstallResult(result, tuple(sorted(kept | new)), tuple(sorted(new)))


def _read_contents(installation: Installation) -> Contents:
    """Read the installation root, or the given members of it.

    Raises:
        BundleFixError: the root is missing, or a file cannot be read.
    """
    if not installation.root.is_dir():
        raise BundleFixError("no such directory", where=str(installation.root))
    before, own = _read_installation(installation)
    former = _find_earlier_additions(installation, before)
    tree = Tree({path: node for path, node in before.nodes.items() if path not in former})
    return Contents(before, tree, own - former, former)


def _plan_installation(
    installation: Installation,
    bundle: Bundle,
    contents: Contents,
    options: Options,
    policy: CheckPolicy,
) -> Plan:
    if installation.for_wheel:
        return make_wheel_plan(
            bundle, options.pinned, list(_find_python_files(installation.sources))
        )
    own = contents.own | (bundle.tree.nodes.keys() - contents.tree.nodes)
    return make_plan(bundle, options.pinned, own=own, dlopened=policy.dlopen)


def _check_installation(
    bundle: Bundle, installation: Installation, contents: Contents, policy: CheckPolicy
) -> CheckResult:
    """Check the installed files, and those that pip would separate from their libraries."""
    verdict = _keep_own_findings(check_bundle(bundle, policy), contents.tree, contents.own)
    findings = (*_find_separated_libraries(installation.elsewhere, bundle), *verdict.findings)
    failed = bool(filter_by_severity(findings, policy.fail_on))
    return replace(verdict, findings=findings, failed=failed)


def _keep_former(result: FixResult, contents: Contents) -> InstallResult:
    """Return the result of a repair that changed nothing: earlier additions stay."""
    own, former = contents.own | contents.former, contents.former
    return InstallResult(result, tuple(sorted(own)), tuple(sorted(former)))


def _ensure_free(after: Tree, before: Tree, root: Path) -> None:
    """Raise `BundleFixError` if a file of another package would be replaced."""
    for path in after.nodes.keys() - before.nodes.keys():
        if os.path.lexists(root / path):
            raise BundleFixError(
                "the file exists already and belongs to another installation",
                where=str(root / path), hint="remove it, or install its new version first",
            )  # fmt: skip


def _read_installation(installation: Installation) -> tuple[Tree, frozenset[str]]:
    if installation.members is None:
        tree = read_directory(installation.root)
        files = (p for p, node in tree.nodes.items() if not isinstance(node, Directory))
        return tree, frozenset(files)
    members = (*installation.members, *(installation.root / path for path in installation.added))
    return read_tree_of_members(
        installation.root, members, installation.built, partial=installation.partial
    )


def _find_earlier_additions(installation: Installation, tree: Tree) -> frozenset[str]:
    """Return the paths that an earlier repair added and this installation did not install."""
    installed = {get_path_below(installation.root, member) for member in installation.members or ()}
    return frozenset(
        path for path in installation.added if path in tree.nodes and path not in installed
    )


def _complete_closure(
    bundle: Bundle, installation: Installation, host: Sequence[str], former: Iterable[str]
) -> tuple[Bundle, list[Action], list[str]]:
    """Return the bundle with the closure of the spec, the additions, and remarks on the spec."""
    if installation.closure is None:
        return bundle, [], []
    closure = installation.closure
    layout = replace(closure.spec.layout, lib=f"{closure.libdir}/")
    spec = replace(closure.spec, layout=layout)
    files = ((p, node) for p, node in bundle.tree.nodes.items() if not isinstance(node, Directory))
    nodes: dict[str, Node] = dict(files)
    origins = {path: Origin(installation.root / path, path) for path in nodes}
    collection = PackBuilder(closure.values.root, nodes, dict(bundle.images), origins)
    top = os.path.realpath(installation.root)
    removed = frozenset(posixpath.join(top, path) for path in former)
    remarks = complete_closure(collection, spec, closure.values, host, removed)
    if installation.partial:
        # Another component may need files that this one does not.
        remarks = []
    new = {path: o for path, o in collection.origins.items() if path not in bundle.tree.nodes}
    epoch = find_explicit_epoch(spec, closure.values)
    nodes |= {path: _set_date(nodes[path], origin, epoch) for path, origin in new.items()}
    added = [
        Action(p, f"added: from {o.source}, needed by {o.requested_by}") for p, o in new.items()
    ]
    tree = Tree({**bundle.tree.nodes, **nodes})
    return build_bundle(tree, collection.images), added, remarks


def _set_date(node: Node, origin: Origin, epoch: int | None) -> Node:
    """Return an added member, dated ``epoch`` or as its source, but not before 1980.

    The members of a zip archive, and so of a wheel, cannot be older (APPNOTE 4.4.6).
    """
    source = 0.0 if origin.source is None else origin.source.stat().st_mtime
    mtime = max(DEFAULT_EPOCH, source if epoch is None else epoch)
    return replace(node, metadata=replace(node.metadata, mtime=mtime))


def _find_python_files(directories: Iterable[Path]) -> Iterator[Path]:
    """Yield the Python files below ``directories``, which the build backend adds to the wheel."""
    for top in directories:
        for directory, names, files in os.walk(top):
            names[:] = (n for n in names if n not in SKIPPED_DIRECTORIES and not n.startswith("."))
            yield from (Path(directory, name) for name in files if name.endswith((".py", ".pyi")))


def _make_policy(installation: Installation, bundle: Bundle, policy: CheckPolicy) -> CheckPolicy:
    if not installation.host_like_this:
        return policy
    built = {posixpath.basename(path) for path in installation.built}
    provided = [name for name in find_names_on_this_machine(bundle) if name not in built]
    return replace(policy, host=(*policy.host, *provided))


def _keep_own_findings(verdict: CheckResult, tree: Tree, own: Container[str]) -> CheckResult:
    """Keep the findings about the installation; about other files only those on resolution."""
    kept = tuple(
        f for f in verdict.findings
        if RULES_BY_CODE[f.rule].family is RuleFamily.RESOLUTION
        or f.path in own or f.path not in tree.nodes
    )  # fmt: skip
    return replace(verdict, findings=kept)


def _find_separated_libraries(directories: Iterable[Path], bundle: Bundle) -> Iterator[Finding]:
    """Yield a finding for each object that pip installs away from its libraries in ``bundle``."""
    for directory in directories:
        objects = read_bundle(read_directory(directory), str(directory)).images
        for path, image in objects.items():
            for name in image.needed:
                for found in bundle.find_providers(name, image)[:1]:
                    yield WHEEL_SCHEME.make_finding(
                        f"{directory.name}/{path}",
                        f"needs {name}, which is {found} in the wheel, but pip installs"
                        f" {directory.name}/ into another directory",
                        needed=name, found=found,
                    )  # fmt: skip
