"""Whether the policy can keep its word, and whether every secret that it names is there. No value is shown."""

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from drtool.errors import DrtoolError
from drtool.operations.cluster_secrets import VARIABLE
from drtool.operations.doctor.patient import Findings, Patient
from drtool.operations.results import Finding
from drtool.policy.check import check_policy
from drtool.policy.schema import Policy
from drtool.policy.secret import (
    EnvironmentReference,
    FileReference,
    KubernetesReference,
    OutOfReach,
    Reference,
)

AREA = "policy"
_UNUSED: Final = ("notify", "heartbeat")  # no pod holds their Secrets, for nothing speaks to them yet


def examine_policy(patient: Patient) -> Findings:
    """Yield the findings of `policy check`, and every reference that leads nowhere."""
    for said in check_policy(patient.policy).findings:
        if said.level != "info":
            yield Finding(AREA, said.volume or "", said.level, said.message, said.hint)
    is_mounted = VARIABLE in patient.world.environment
    found = list(references(patient.policy))
    readable = [each for _, each in found if is_mounted or not isinstance(each, KubernetesReference)]
    missing = unreached = 0
    for place, reference in found:
        if reference not in readable:
            continue  # the cluster is asked for it
        try:
            patient.world.secret(reference)
        except OutOfReach:
            unreached += 1  # the cluster is asked for it
        except DrtoolError as fault:
            missing += 1
            yield Finding(AREA, place, "error", fault.message, fault.hint)
    if len(readable) > unreached and not missing:
        count = len(readable) - unreached
        yield Finding(AREA, "", "ok", f"all secrets that can be read here are there: {count}")


def references(part: object, place: str = "") -> Iterator[tuple[str, Reference]]:
    """Yield every reference to a secret below part, with where it stands: `repository.access_key`, `postgres.user`."""
    if isinstance(part, EnvironmentReference | FileReference | KubernetesReference):
        yield place, part
    elif isinstance(part, BaseModel):
        name = getattr(part, "name", None)
        here = name if place and isinstance(name, str) else place
        for field in type(part).model_fields:
            if isinstance(part, Policy) and field in _UNUSED:
                continue
            yield from references(getattr(part, field), f"{here}.{field}" if here else field)
    elif isinstance(part, tuple):
        for item in part:
            yield from references(item, place)
