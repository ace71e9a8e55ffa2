"""The host of a run: its files, the sandbox, and the pack in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.directory import unpack_tree
from bundle_fix.archive.formats import DIRECTORY, ELF
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.reading import Artifact, open_artifact
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.model.errors import BundleFixError, build_os_error
from bundle_fix.model.progress import Progress
from bundle_fix.model.tree import InstallLocation, Special, Tree
from bundle_fix.pipelines.run.request import RunOptions, describe_environment
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.run.host.decoy_host import DecoyHost, build_decoy_host, build_hostile_directory
from bundle_fix.run.host.real_root import mount_real_root
from bundle_fix.run.observation import Observer
from bundle_fix.run.record.loader_record import RECORD_DIRECTORY
from bundle_fix.run.sandbox.command import MOUNT_POINTS, Isolation, Mount, Sandbox
from bundle_fix.run.sandbox.program import choose_isolation
from bundle_fix.storage.staging import create_scratch_directory


class PreparedHost(Struct, frozen=True):
    """A host with the pack in its place, ready for a run."""

    bundle: Bundle
    sandbox: Sandbox
    observer: Observer
    pack: Path
    decoys: DecoyHost


ANOTHER_PLACE = "choose a directory with --at that the host does not have"


@contextmanager
def prepare_host(
    path: Path, options: RunOptions, policy: CheckPolicy, progress: Progress
) -> Iterator[PreparedHost]:
    """Build the host and put the pack in its place; all is removed when the context ends."""
    isolation = choose_isolation(network=options.network)
    with (
        open_artifact(path, options.limits, progress) as artifact,
        create_scratch_directory() as scratch,
    ):
        if artifact.format == ELF or artifact.tree.location is not InstallLocation.ANYWHERE:
            raise BundleFixError(
                "this is not a relocatable pack", where=str(path),
                hint="give a tarball, a wheel or a directory",
            )  # fmt: skip
        bundle = read_bundle(artifact.tree, str(path))
        scratch.chmod(0o755)
        root = scratch / "root"
        for name in (*MOUNT_POINTS, RECORD_DIRECTORY.strip("/")):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / RECORD_DIRECTORY.strip("/")).chmod(0o777)
        decoys = build_host(root, bundle, options, policy)
        mounts = [Mount(root / RECORD_DIRECTORY.strip("/"), RECORD_DIRECTORY, writable=True)]
        host = root
        if options.host is not None:
            if isolation is Isolation.CHROOT:
                raise BundleFixError("--host requires namespaces, which this machine forbids")
            host = _open_real_root(options.host, scratch / "host", options.limits)
            mounts += mount_real_root(host, root, options.at)
        pack = _place_pack(artifact, root, options.at, isolation, mounts)
        deployment = Deployment(
            bundle, RealHost(DirectoryFiles(host), options.at, running=True),
            describe_environment(options),
        )  # fmt: skip
        yield PreparedHost(
            bundle, Sandbox(isolation, root, tuple(mounts), options.network),
            Observer(deployment, decoys.decoys, policy.host), pack, decoys,
        )  # fmt: skip


def build_host(root: Path, bundle: Bundle, options: RunOptions, policy: CheckPolicy) -> DecoyHost:
    """Create the files of the decoy host; of a real host only the hostile directory."""
    if options.host is None:
        return build_decoy_host(root, bundle, policy.dlopen, policy.host, options.decoys)
    if options.hostile:
        return build_hostile_directory(root, bundle, policy.dlopen, options.decoys)
    return DecoyHost(root, {}, ())


def _open_real_root(path: Path, target: Path, limits: Limits) -> Path:
    """Return the root directory of a real host; a tarball is unpacked to ``target``."""
    if path.is_dir():
        return path.resolve()
    with open_artifact(path, limits) as system:
        if system.format == ELF:
            raise BundleFixError(
                "this is not a root file system", where=str(path),
                hint="give a directory or a tarball",
            )  # fmt: skip
        target.mkdir()
        nodes = {p: n for p, n in system.tree.nodes.items() if not isinstance(n, Special)}
        unpack_tree(_own_members(replace(system.tree, nodes=nodes)), target)
    return target


def _place_pack(
    artifact: Artifact, root: Path, at: str, isolation: Isolation, mounts: list[Mount]
) -> Path:
    """Make the pack visible at ``at`` and return its directory on this machine."""
    target = root / at.strip("/")
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise build_os_error(f"cannot put the pack into {at}", error, hint=ANOTHER_PLACE) from error
    if artifact.format == DIRECTORY and isolation is not Isolation.CHROOT:
        source = artifact.path.resolve()
        mounts.append(Mount(source, at))
        return source
    unpack_tree(_own_members(artifact.tree), target)
    return target


def _own_members(tree: Tree) -> Tree:
    """Return the tree with all members owned by this user: the program has no other one."""
    uid, gid = os.geteuid(), os.getegid()
    nodes = {
        path: replace(node, metadata=replace(node.metadata, uid=uid, gid=gid))
        for path, node in tree.nodes.items()
    }
    return replace(tree, nodes=nodes)
