"""The target of a command, and an artifact opened together with its target."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.formats import DIRECTORY, ELF, READ_ONLY, split_name
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import Artifact, open_artifact
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, AdversarialHost, Environment, Host
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import InstallLocation


class Target(Struct, frozen=True):
    """Target that the options of a command describe.

    Attributes:
        host: Root file system (a directory or a tarball); None for the adversarial host.
        environment: Environment of its processes.
        level: Level of its processor, such as ``x86-64-v3``.
        provides: Patterns of library names that it provides.
        limits: Limits for the artifact and the root file system.
        like_this_machine: Whether the adversarial host also provides the libraries in this
            machine's default directories.
    """

    host: Path | None = None
    environment: Environment = EMPTY_ENVIRONMENT
    level: str | None = None
    provides: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS
    like_this_machine: bool = False


class ArtifactOnTarget(Struct, frozen=True):
    """Artifact, and the host and the environment of its processes.

    Attributes:
        bundle: The artifact.
        host: The host.
        environment: The environment.
        entry: Path of the ELF file, if the artifact is a single one. The bundle then also contains
            the libraries that its RUNPATH leads to.
        is_repairable: Whether it is of a kind that ``fix`` changes.
    """

    bundle: Bundle
    host: Host
    environment: Environment
    entry: str | None
    is_repairable: bool


@contextmanager
def open_on_target(
    path: Path, target: Target, progress: Progress = no_progress
) -> Iterator[ArtifactOnTarget]:
    """Open an artifact and its target; both can be read until the context ends.

    Raises:
        BundleFixError: The artifact or the target cannot be read.
    """
    with ExitStack() as stack:
        artifact = stack.enter_context(open_artifact(path, target.limits, progress))
        host = stack.enter_context(_open_host(artifact, target, progress))
        tree, entry = artifact.tree, None
        if artifact.format == ELF:
            entry = next(iter(tree.nodes))
            if host.files is None or not _is_within(path, target.host):
                from bundle_fix.collect.libraries.partial_tree import read_tree_with_dependencies

                tree, entry = read_tree_with_dependencies(path)
        bundle = read_bundle(tree, str(path))
        if target.like_this_machine and isinstance(host, AdversarialHost):
            host = _add_this_machine(host, bundle)
        is_pack = artifact.tree.location is InstallLocation.ANYWHERE
        is_repairable = is_pack and artifact.format not in (ELF, *READ_ONLY)
        yield ArtifactOnTarget(bundle, host, target.environment, entry, is_repairable)


def _add_this_machine(host: AdversarialHost, bundle: Bundle) -> AdversarialHost:
    from bundle_fix.loader.hosts.real_host import find_names_on_this_machine

    return replace(host, provides=(*host.provides, *find_names_on_this_machine(bundle)))


@contextmanager
def _open_host(artifact: Artifact, target: Target, progress: Progress) -> Iterator[Host]:
    root, location = target.host, artifact.tree.location
    if root is None and location is InstallLocation.ANYWHERE:
        yield AdversarialHost(target.provides, target.level)
        return
    from bundle_fix.loader.hosts.files import DirectoryFiles, TreeFiles

    if root is None and location is InstallLocation.BESIDE_OTHERS:
        from bundle_fix.loader.hosts.package_host import PackageHost

        yield PackageHost(artifact.tree, target.provides, target.level)
        return
    from bundle_fix.loader.hosts.real_host import RealHost

    if root is None:
        yield RealHost(TreeFiles(artifact.tree), "/", target.provides, target.level)
        return
    directory = _choose_install_directory(artifact, root)
    if root.is_dir():
        running = root.resolve() == Path("/")
        files = DirectoryFiles(root.resolve())
        yield RealHost(files, directory, target.provides, target.level, running)
        return
    with open_artifact(root, target.limits, progress) as system:
        if system.format in (DIRECTORY, ELF):
            raise BundleFixError(
                "this is not a root file system",
                where=str(root),
                hint="give a directory or a tarball",
            )
        yield RealHost(TreeFiles(system.tree), directory, target.provides, target.level)


def _choose_install_directory(artifact: Artifact, root: Path) -> str:
    """Return the directory of an artifact on a host.

    That is / for a package, its own path if it is within the host's directory, else /opt/NAME.
    """
    if artifact.tree.location is not InstallLocation.ANYWHERE:
        return "/"
    if artifact.format in (DIRECTORY, ELF) and _is_within(artifact.path, root):
        real = artifact.path.resolve()
        directory = real.parent if artifact.format == ELF else real
        return posixpath.normpath(posixpath.join("/", str(directory.relative_to(root.resolve()))))

    name = artifact.tree.top or split_name(artifact.path.resolve().name)[0]
    return posixpath.normpath(posixpath.join("/opt", name))


def _is_within(path: Path, root: Path | None) -> bool:
    return root is not None and root.is_dir() and path.resolve().is_relative_to(root.resolve())
