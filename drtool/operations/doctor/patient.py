"""Whom doctor examines: a policy, its repository where it opens, the cluster where it answers, and the machine."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from drtool.errors import DrtoolError
from drtool.operations.results import Finding
from drtool.operations.session import KeyFiles, Session, World
from drtool.policy.schema import Policy
from drtool.policy.secret import OutOfReach
from drtool.sources.base import Symptom

Findings = Iterator[Finding]


@dataclass(slots=True)
class Patient:
    """What the checks look at. session is None until the store was looked at, and where it does not open."""

    policy_file: Path
    policy: Policy
    keys: KeyFiles
    world: World
    is_probed: bool  # whether a canary may be put into the store
    context: str | None = None  # of the kubeconfig
    session: Session | None = field(default=None, init=False)
    has_canary: bool = field(default=False, init=False)  # whether one was put


def finding(area: str, about: str, symptom: Symptom) -> Finding:
    """Return a symptom as a finding about something."""
    said = symptom
    return Finding(area, about, said.level, said.message, said.hint, said.mend, said.where)


def failure(area: str, about: str, fault: DrtoolError) -> Finding:
    """Return what a failure says. What only a pod can read is no fault of whom doctor examines from outside."""
    if isinstance(fault, OutOfReach):
        said = f"it was not looked at: {fault.message}"
        hint = "Run doctor in a pod of drtool, where its Secrets are mounted, or where they can be read otherwise."
        return Finding(area, about, "warning", said, hint)
    return Finding(area, about, "error", fault.message, fault.hint)
