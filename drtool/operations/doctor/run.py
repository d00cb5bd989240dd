"""The round: area by area, the errors of each first. One that cannot be reached does not stop the others."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from drtool.errors import DrtoolError
from drtool.operations.doctor.cluster import examine_cluster
from drtool.operations.doctor.keys import examine_keys
from drtool.operations.doctor.patient import Findings, Patient, failure
from drtool.operations.doctor.policy import examine_policy
from drtool.operations.doctor.store import examine_store
from drtool.operations.doctor.volumes import examine_files, examine_postgres, examine_redis
from drtool.operations.results import Examination, Finding
from drtool.operations.session import KeyFiles, World
from drtool.policy.load import load_policy

PATIENCE_S: Final = 10.0  # an outage of the store is a finding here, not something to wait out

# The store comes before what its config tells about.
AREAS: Final[dict[str, Callable[[Patient], Findings]]] = {
    "policy": examine_policy,
    "store": examine_store,
    "keys": examine_keys,
    "postgres": examine_postgres,
    "redis": examine_redis,
    "files": examine_files,
    "cluster": examine_cluster,
}
_SEVERITY: Final = ("error", "warning", "ok")


@dataclass(frozen=True, slots=True)
class Options:
    """How to look: without the store's canary in a dry run; at the cluster of a kubeconfig's context."""

    dry_run: bool = False
    context: str | None = None


def run_doctor(policy_file: Path, keys: KeyFiles, world: World, options: Options) -> Examination:
    """Return all that was found. Raises PolicyInvalid; whatever else fails is a finding.

    Nothing is changed but for the canary of the store's probe, which is removed again where that is allowed.
    """
    policy = load_policy(policy_file)
    hasty = replace(world, patience_s=PATIENCE_S)
    patient = Patient(policy_file, policy, keys, hasty, not options.dry_run, options.context)
    try:
        findings = [found for area in AREAS for found in _examine(area, patient)]
    finally:
        if patient.session is not None:
            patient.session.close()
    return Examination(policy.name, tuple(findings), patient.has_canary)


def _examine(area: str, patient: Patient) -> list[Finding]:
    patient.world.progress.phase(area)
    found: list[Finding] = []
    try:
        found.extend(AREAS[area](patient))
    except DrtoolError as fault:
        found.append(failure(area, "", fault))
    return sorted(found, key=lambda each: _SEVERITY.index(each.level))
