"""Makes a pack from a spec: collects, mends what was collected, writes it, checks it as written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bundle_fix.artifacts.formats import DIRECTORY, format_for, write_artifact
from bundle_fix.check.run import check_bundle
from bundle_fix.collect.collection import Collected, Origin
from bundle_fix.collect.run import collect
from bundle_fix.fix import Mended, Options, carry_out, write_checked
from bundle_fix.plan import make_plan
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import pack_name
from bundle_fix.spec.variables import Values


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack, where each of its members comes from, and what was mended in it on the way."""

    mended: Mended
    origins: Mapping[str, Origin]


def output_path(spec: Spec, values: Values, output: Path | None) -> Path:
    """Where the pack goes: ``output``, in it when it is a folder, else the working directory."""
    suffix = "" if spec.bundle.format == DIRECTORY else f".{spec.bundle.format}"
    name = pack_name(spec, values) + suffix
    if output is None:
        return Path.cwd() / name
    return output / name if output.is_dir() else output


def pack(spec: Spec, values: Values, root: Path, output: Path, options: Options) -> Packed:
    """Make the pack that ``spec`` describes and write it to ``output``.

    Args:
        spec: the spec.
        values: its variables and options.
        root: the folder that its paths are relative to.
        output: the artifact to write.
        options: how to mend; what the spec pins is added.

    Raises:
        BundleFixError: something named is not there, or the pack cannot be written.
    """
    collected = collect(spec, values, root)
    options = replace(options, pinned=(*options.pinned, *collected.pinned))
    with tempfile.TemporaryDirectory() as scratch:
        mended = _write(spec, collected, output, options, Path(scratch))
    return Packed(mended, collected.origins)


def _write(
    spec: Spec, collected: Collected, output: Path, options: Options, scratch: Path
) -> Mended:
    plan = make_plan(collected.bundle, options.pinned)
    done = carry_out(plan, options.editor, scratch)
    kind = format_for(output, spec.bundle.format)
    return write_checked(
        lambda approve: write_artifact(done.tree, kind, output, approve),
        done,
        output,
        partial(check_bundle, expectations=options.expectations),
        force=options.force,
    )
