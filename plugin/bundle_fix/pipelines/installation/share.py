"""The part of an installation that belongs to the component that is installed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.check.findings import Finding
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.check.rule import RuleFamily
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import Tree, resolve_path
from bundle_fix.pipelines.installation.components import (
    ComponentPlan,
    find_owners,
    list_providers,
)


class Share(Struct, frozen=True):
    """The paths of the installed component, and those of other components.

    Attributes:
        own: the paths that the component installs or adds.
        context: the paths that other components install or add. They are planned and checked with
            the component's own, but not written.
        component_of: the component of each path that a component installs or adds.
    """

    own: frozenset[str]
    context: frozenset[str] = frozenset()
    component_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> frozenset[str]:
        """All paths that are planned."""
        return self.own | self.context


class Requirement(Struct, frozen=True):
    """A component that the installed one needs, with an object and the path that it needs."""

    component: str
    requester: str
    needed: str


def find_share(
    bundle: Bundle,
    components: ComponentPlan,
    installed: frozenset[str],
    added: Iterable[str],
    absent: Iterable[str],
) -> Share:
    """Return the share of the installed component.

    Args:
        bundle: the installation with its closure.
        components: the components.
        installed: the paths that the component has installed.
        added: the paths that the closure added.
        absent: the paths of other components that are not installed yet.
    """
    if not components.name:
        return Share(installed | frozenset(added))
    owners = find_owners(bundle, components, frozenset(added))
    own = {path for path, component in owners.items() if component == components.name}
    others = (owners.keys() - own) | (bundle.tree.nodes.keys() & frozenset(absent))
    component_of = {path: file.component for path, file in components.files.items()}
    return Share(installed | own, frozenset(others - installed), {**component_of, **owners})


def add_planned_paths(share: Share, before: Tree, after: Tree) -> Share:
    """Return ``share`` with the symlinks that a plan added, each with the file that it leads to."""
    new = after.nodes.keys() - before.nodes.keys()
    others = {path for path in new if resolve_path(after, path) in share.context}
    return replace(share, own=share.own | (new - others), context=share.context | others)


def find_required(bundle: Bundle, share: Share) -> Iterator[Requirement]:
    """Yield each other component that the objects of the installed one need directly."""
    known: set[str] = set()
    for path in sorted(share.own & bundle.images.keys()):
        for found in list_providers(bundle, path):
            component = share.component_of.get(found, "")
            if found not in share.own and component and component not in known:
                known.add(component)
                yield Requirement(component, path, found)


def describe_missing(
    required: Iterable[Requirement], components: ComponentPlan, root: Path
) -> Iterator[str]:
    """Yield a line for each required component whose file is not installed in ``root``."""
    for requirement in required:
        if not (root / requirement.needed).exists():
            yield (
                f"component {components.name} needs component {requirement.component}:"
                f" {requirement.requester} needs {requirement.needed}"
            )


def find_unrelated(bundle: Bundle, share: Share) -> frozenset[str]:
    """Return the paths of other components that no object of the installed one loads."""
    reached = set(share.own)
    queue = [path for path in share.own if path in bundle.images]
    while queue:
        new = [path for path in list_providers(bundle, queue.pop()) if path not in reached]
        reached.update(new)
        queue += new
    return share.context - reached


def select_own_findings(
    findings: Iterable[Finding], others: Container[str], unrelated: Container[str]
) -> Iterator[Finding]:
    """Yield the findings about the installation; about other files only those on resolution."""
    for finding in findings:
        is_resolution = RULES_BY_CODE[finding.rule].family is RuleFamily.RESOLUTION
        if finding.path not in others or (is_resolution and finding.path not in unrelated):
            yield finding
