"""The install pipeline: repair the files that a build system installed, in place.

Files of other packages in that directory are never changed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.inplace_directory import stage_update
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding, filter_by_severity
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules.wheel import WHEEL_SCHEME
from bundle_fix.collect.libraries.partial_tree import get_path_below, read_tree_of_members
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.loader.hosts.real_host import find_names_on_this_machine
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, Tree
from bundle_fix.pipelines.apply import Action, apply_plan, renew_checksum_lists
from bundle_fix.pipelines.fix import FixResult, Options
from bundle_fix.pipelines.installation.closure import (
    Closure,
    CompletedClosure,
    complete_installed_closure,
)
from bundle_fix.pipelines.installation.components import ComponentPlan
from bundle_fix.pipelines.installation.contents import Contents, ensure_free
from bundle_fix.pipelines.installation.share import (
    Requirement,
    Share,
    add_planned_paths,
    describe_missing,
    find_required,
    find_share,
    find_unrelated,
    select_own_findings,
)
from bundle_fix.plan.planner import Plan, make_plan
from bundle_fix.plan.wheels.setup import make_wheel_plan
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.storage.staging import create_scratch_directory

SKIPPED_DIRECTORIES = frozenset({"build", "venv", "node_modules", "__pycache__"})
"""Names of directories in a source tree that contain no code of the project."""


class Installation(Struct, frozen=True):
    """An installation, as the build system describes it.

    Attributes:
        root: the installation root.
        members: the installed files; None if all files below the root belong to it.
        added: the paths that an earlier repair added, with the component that it was for; they are
            removed, or added again.
        built: the files of the libraries that the build makes, by their path below the root. None
            of them may come from the host.
        components: the component that is installed, if it is one of several.
        for_wheel: whether the root becomes a wheel, which cannot contain symlinks.
        host_like_this: whether the target has this machine's libraries in its default directories.
        closure: the closure of the spec, if there is one.
        sources: directories whose Python code may name libraries of a wheel.
        elsewhere: directories of a wheel that pip installs elsewhere, such as its scripts.
    """

    root: Path
    members: tuple[Path, ...] | None = None
    added: Mapping[str, str] = field(default_factory=dict)
    built: Mapping[str, Path] = field(default_factory=dict)
    components: ComponentPlan = ComponentPlan()
    for_wheel: bool = False
    host_like_this: bool = False
    closure: Closure | None = None
    sources: tuple[Path, ...] = ()
    elsewhere: tuple[Path, ...] = ()

    @property
    def planned(self) -> dict[str, Path]:
        """The files of other components, which may be installed later, by path below the root."""
        return self.components.others if self.components.name else {}


class InstallResult(Struct, frozen=True):
    """The result of a repair in place.

    Attributes:
        fixed: the changes and the result of the check.
        own: the paths of the installation.
        added: the added paths below the root, with the component that each was added for.
        required: the components that the installed one needs.
    """

    fixed: FixResult
    own: tuple[str, ...]
    added: Mapping[str, str]
    required: tuple[str, ...] = ()


def fix_installation(installation: Installation, options: Options) -> InstallResult:
    """Repair an installation in place; if that is not possible, nothing changes.

    Raises:
        BundleFixError: a file of it cannot be read or written.
    """
    contents = _read_contents(installation)
    completed = _complete_closure(installation, contents, options.policy.host)
    bundle, components = completed.bundle, installation.components
    absent = [p for p in installation.planned if not os.path.lexists(installation.root / p)]
    share = find_share(bundle, components, contents.own, completed.added, absent)
    policy = _make_policy(installation, bundle, options.policy)
    plan = _plan_installation(installation, completed, share, options, policy)
    required = tuple(find_required(bundle, share))
    missing = tuple(describe_missing(required, components, installation.root))
    with create_scratch_directory() as scratch:
        applied = apply_plan(plan, options.editor, scratch)
        share = add_planned_paths(share, bundle.tree, applied.tree)
        applied = replace(
            applied,
            actions=(
                *_list_additions(completed, share, plan),
                *(action for action in applied.actions if action.path not in share.context),
            ),
            remarks=(*completed.remarks, *applied.remarks, *missing),
        )
        applied = renew_checksum_lists(applied, contents.tree)
        others = share.context & applied.tree.nodes.keys()
        before = contents.select_replaceable(
            components.name, installation.added, others, applied.tree
        )
        if before.nodes == applied.tree.nodes:
            verdict = _check_installation(bundle, installation, contents, share, policy)
            result = FixResult(applied, verdict, None if verdict.failed else installation.root)
            return _make_result(installation, contents, share, result, required)
        ensure_free(applied.tree, before, installation.root)
        with stage_update(before, applied.tree, installation.root) as staged:
            written = read_bundle(staged.tree, str(installation.root))
            verdict = _check_installation(written, installation, contents, share, policy)
            result = FixResult(applied, verdict, installation.root)
            if result.failed and not options.force:
                own = tuple(sorted(contents.own | contents.former))
                return InstallResult(replace(result, written=None), own, installation.added)
            staged.commit()
    return _make_result(installation, contents, share, result, required)


def _make_result(
    installation: Installation,
    contents: Contents,
    share: Share,
    result: FixResult,
    required: Iterable[Requirement],
) -> InstallResult:
    """Return the result of an installation that is as planned."""
    name = installation.components.name
    own = share.own & result.applied.tree.nodes.keys()
    new = dict.fromkeys(own - contents.tree.nodes.keys(), name)
    former = {path: c for path, c in installation.added.items() if name not in ("", c)}
    names = tuple(requirement.component for requirement in required)
    return InstallResult(result, tuple(sorted(own)), {**former, **new}, names)


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
    completed: CompletedClosure,
    share: Share,
    options: Options,
    policy: CheckPolicy,
) -> Plan:
    bundle, closure = completed.bundle, installation.closure
    if installation.for_wheel:
        code = list(_find_python_files(installation.sources))
        is_unique = closure is not None and closure.spec.closure.unique
        bundled = [path for path in completed.added if is_unique and path in bundle.images]
        return make_wheel_plan(bundle, options.pinned, code, bundled, policy.dlopen)
    return make_plan(bundle, options.pinned, own=share.paths, dlopened=policy.dlopen)


def _check_installation(
    bundle: Bundle,
    installation: Installation,
    contents: Contents,
    share: Share,
    policy: CheckPolicy,
) -> CheckResult:
    """Check the installed files, and those that pip would separate from their libraries."""
    verdict = check_bundle(bundle, policy)
    others = (contents.tree.nodes.keys() | share.context) - share.own
    kept = select_own_findings(verdict.findings, others, find_unrelated(bundle, share))
    findings = (*_find_separated_libraries(installation.elsewhere, bundle), *kept)
    failed = bool(filter_by_severity(findings, policy.fail_on))
    return replace(verdict, findings=findings, failed=failed)


def _read_installation(installation: Installation) -> tuple[Tree, frozenset[str]]:
    if installation.members is None:
        tree = read_directory(installation.root)
        files = (p for p, node in tree.nodes.items() if not isinstance(node, Directory))
        return tree, frozenset(files)
    members = (*installation.members, *(installation.root / path for path in installation.added))
    return read_tree_of_members(
        installation.root, members, installation.built, installation.planned
    )


def _find_earlier_additions(installation: Installation, tree: Tree) -> frozenset[str]:
    """Return the paths that an earlier repair added and this installation did not install."""
    installed = {get_path_below(installation.root, member) for member in installation.members or ()}
    return frozenset(
        path for path in installation.added if path in tree.nodes and path not in installed
    )


def _complete_closure(
    installation: Installation, contents: Contents, host: Sequence[str]
) -> CompletedClosure:
    """Return the installation with the closure of the spec, if there is one."""
    bundle = read_bundle(contents.tree, str(installation.root))
    if installation.closure is None:
        return CompletedClosure(bundle, {})
    planned = installation.planned
    own = contents.own if installation.components.name else None
    completed = complete_installed_closure(
        bundle, installation.root, installation.closure, planned, host, contents.former, own
    )
    # Another component may need files that this one does not.
    return replace(completed, remarks=()) if planned else completed


def _list_additions(completed: CompletedClosure, share: Share, plan: Plan) -> Iterator[Action]:
    for path, origin in completed.added.items():
        new = plan.unique.get(path, path)
        # Symlinks to libraries with names of their own are gone.
        if path in share.own and (new in plan.tree.nodes or not plan.unique):
            yield Action(new, f"added: from {origin.source}, needed by {origin.requested_by}")


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
