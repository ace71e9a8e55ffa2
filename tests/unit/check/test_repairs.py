"""The repair that the findings of a check ask for."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from builders.pack import make_incident_pack
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.repairs import MAX_ROUNDS, plan_for_findings
from bundle_fix.check.result import CheckResult
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.plan.relocate import RelocatedBundle
from bundle_fix.policy.policy import CheckPolicy


def test_a_repair_that_shows_new_findings_without_end_stops(tmp_path: Path) -> None:
    bundle = read_bundle(read_directory(make_incident_pack(tmp_path)), "pack")
    before = check_bundle(bundle, CheckPolicy())
    repairable = next(f for f in before.findings if f.fixable and "needed" in f.evidence)
    rounds: list[Bundle] = []

    def check_again(planned: Bundle) -> CheckResult:
        rounds.append(planned)
        evidence = {**repairable.evidence, "needed": f"libnew{len(rounds)}.so"}
        return replace(before, findings=(replace(repairable, evidence=evidence),))

    planned = plan_for_findings(RelocatedBundle(bundle, {}, {}), before, check_again)
    assert len(rounds) == MAX_ROUNDS
    assert planned.predicted.findings[0].evidence["needed"] == f"libnew{MAX_ROUNDS}.so"
