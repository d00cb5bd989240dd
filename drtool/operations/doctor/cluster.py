"""The cluster, seen through its API: what the policy names, drtool's own objects, and keys that must not lie there."""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from drtool.deploy.names import POLICY_MAP, cron_job, follower
from drtool.deploy.pods import POLICY_FILE
from drtool.errors import PolicyInvalid, UsageError
from drtool.operations.doctor.keys import AWAY, kinds_of_keys
from drtool.operations.doctor.patient import Findings, Patient, finding
from drtool.operations.doctor.policy import references
from drtool.operations.results import Finding
from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.policy.secret import KubernetesReference
from drtool.policy.volumes import FilesVolume, PostgresVolume
from drtool.sources.kubernetes.checkup import SHELL, Checkup, Wanted, kubectl
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.faults import Forbidden
from drtool.sources.kubernetes.known import CONFIG_MAPS, SECRETS

AREA: Final = "cluster"


def examine_cluster(patient: Patient) -> Findings:
    """Yield how the policy's namespace stands; nothing for a policy without one."""
    if patient.policy.kubernetes is None:
        return
    namespace, world = patient.policy.kubernetes.namespace, patient.world
    try:
        cluster = Cluster.open(
            patient.context, world.environment, patience_s=world.patience_s, ending=world.ending
        )
    except UsageError as fault:
        yield Finding(AREA, "", "warning", f"the cluster was not looked at: {fault.message}", fault.hint)
        return
    with cluster:
        looking = Checkup(cluster, namespace, wanted(patient.policy), world.clock(), patient.context)
        for about, symptom in looking:
            yield finding(AREA, about, symptom)
        yield from _policy_there(cluster, namespace, patient.policy.name)
        yield from _keys_in_secrets(cluster, namespace, kubectl(patient.context, namespace))


def wanted(policy: Policy) -> Wanted:
    """Return what a policy needs in its namespace, drtool's own objects as `render` names them."""
    secrets: dict[str, list[str]] = defaultdict(list)
    for _, reference in references(policy):
        if isinstance(reference, KubernetesReference) and reference.key not in secrets[reference.secret]:
            secrets[reference.secret].append(reference.key)
    claims = [getattr(volume, "claim", None) for volume in policy.volumes]
    own = [volume for volume in policy.volumes if not isinstance(volume, FilesVolume) or volume.claim]
    return Wanted(
        secrets=secrets,
        claims=[claim for claim in claims if claim],
        cron_jobs=[cron_job(volume) for volume in own],
        deployments=[follower(volume) for volume in own if isinstance(volume, PostgresVolume)],
    )


def _policy_there(cluster: Cluster, namespace: str, name: str) -> Iterator[Finding]:
    """Yield whether the pods of the namespace work for another policy: two overwrite each other's objects."""
    about = f"ConfigMap {POLICY_MAP}"
    try:
        held = cluster.get(CONFIG_MAPS, namespace, POLICY_MAP) or {}
        text = (held.get("data") or {}).get(POLICY_FILE)
        other = parse_policy(text, about).name if text is not None else name
    except (Forbidden, PolicyInvalid) as fault:
        yield Finding(AREA, about, "warning", f"whose it is cannot be told: {fault.message}", fault.hint)
        return
    if other != name:
        said = f"the pods in namespace {namespace} work for policy {other}, not for {name}"
        hint = "Give each policy a namespace of its own, and apply there what `drtool render` writes for it."
        yield Finding(AREA, about, "error", said, hint)


def _keys_in_secrets(cluster: Cluster, namespace: str, statement: str) -> Iterator[Finding]:
    """Yield each key that who takes over the cluster must not find, in any Secret of the namespace."""
    try:
        held = [item for page in cluster.pages(SECRETS, namespace) for item in page]
    except Forbidden:
        return  # who may not list Secrets is told so nowhere else: it is no fault
    for secret in held:
        name = secret["metadata"]["name"]
        for key, value in (secret.get("data") or {}).items():
            for what in kinds_of_keys(b64decode(value).decode("utf-8", "replace")):
                patch = f"""--type=json --patch='[{{"op":"remove","path":"/data/{key}"}}]'"""
                mend = (f"{statement} patch secret {name} {patch}",)
                said = f"key {key} of Secret {name} holds {what}"
                yield Finding(AREA, f"Secret {name}", "error", said, AWAY, mend, SHELL)
