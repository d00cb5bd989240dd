"""A policy as a folder of kustomize: files by name, each with one object, and what a person must know about them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from drtool.deploy.access import access
from drtool.deploy.names import COMMON, POLICY_MAP, VOLUME_LABEL, Object
from drtool.deploy.network import network_policies
from drtool.deploy.pods import BASELINE_CAPABILITIES, POLICY_FILE, is_baseline
from drtool.deploy.secrets import Keys, files_of, own_keys
from drtool.deploy.workloads import backup_job, wal_follower
from drtool.deploy.yaml_text import to_yaml
from drtool.errors import UsageError
from drtool.policy.schema import Policy
from drtool.policy.volumes import CsiVolume, FilesVolume, LonghornVolume, PostgresVolume, Volume

KUSTOMIZATION: Final = "kustomization.yaml"
SECRETS_FOLDER: Final = "secrets"
_LABEL = re.compile("[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Overlay:
    """What `kubectl apply -k` takes: files by name, and the keys of drtool's own Secrets.

    Each key is to be put at secrets/SECRET/KEY; there is none where the Secrets exist. notes are worth a warning.
    """

    files: dict[str, str]
    secrets: Keys
    notes: tuple[str, ...]


def make_overlay(policy: Policy, text: str, image: str, *, existing_secrets: bool) -> Overlay:
    """Return the overlay of a policy, whose text is given along. Raises UsageError for what cannot run in a pod."""
    if policy.kubernetes is None:
        raise UsageError(
            f"policy {policy.name} names no namespace", hint="Add kubernetes: {namespace: NAME} to it."
        )
    _refuse(policy)
    secrets = {} if existing_secrets else own_keys(policy)
    objects = objects_of(policy, image, policy.kubernetes.namespace)
    files = {_file(each): to_yaml(each) for each in objects}
    kustomization = _kustomization(policy.kubernetes.namespace, list(files), secrets)
    return Overlay(
        {KUSTOMIZATION: to_yaml(kustomization), POLICY_FILE: text, **files}, secrets, tuple(_notes(policy))
    )


def _refuse(policy: Policy) -> None:
    """Raise UsageError for what no pod of this version can do: a volume that is left out would be a silent hole."""
    if policy.repository.url.startswith("file:"):
        raise UsageError(
            f"policy {policy.name} has its repository in a directory, which no pod has",
            hint="Give it one in a bucket: s3://BUCKET/PREFIX.",
        )
    for volume in policy.volumes:
        _refuse_volume(volume)


def _refuse_volume(volume: Volume) -> None:
    if not _LABEL.fullmatch(volume.name):
        raise UsageError(
            f"volume {volume.name} cannot name a Kubernetes object",
            hint="Begin and end its name with a letter or a digit.",
        )
    if isinstance(volume, LonghornVolume | CsiVolume):
        raise UsageError(
            f"volume {volume.name}: source {volume.source} cannot be captured by this version",
            hint="Take its claim with source: files until it can.",
        )
    if isinstance(volume, FilesVolume) and volume.claim is None:
        raise UsageError(
            f"volume {volume.name} is a path of a machine, which no pod has",
            hint="Name a claim; a path is backed up by cron on its own machine, with a policy of its own.",
        )


def objects_of(policy: Policy, image: str, namespace: str) -> list[Object]:
    """Return all objects but the policy's ConfigMap and the Secrets, in the order in which they are applied."""
    return list(_objects(policy, image, namespace))


def _objects(policy: Policy, image: str, namespace: str) -> Iterator[Object]:
    yield from access(policy, namespace)
    yield from network_policies(policy)
    for volume in policy.volumes:
        yield backup_job(policy, volume, image)
        if isinstance(volume, PostgresVolume):
            yield wal_follower(policy, volume, image)


def _file(each: Object) -> str:
    """Return the name of an object's file: its kind, and what tells it from others of its kind."""
    volume = each["metadata"]["labels"].get(VOLUME_LABEL)
    name = volume or each["metadata"]["name"].removeprefix("drtool").removeprefix("-")
    kind = each["kind"].lower()
    return f"{kind}-{name}.yaml" if name else f"{kind}.yaml"


def _kustomization(namespace: str, resources: list[str], secrets: Keys) -> Object:
    """Return the kustomization. Names have no hash of the content: a Secret that rotates is read by running pods."""
    kustomization: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": resources,
        "generatorOptions": {"disableNameSuffixHash": True, "labels": dict(COMMON)},
        "configMapGenerator": [{"name": POLICY_MAP, "files": [POLICY_FILE]}],
    }
    if secrets:
        kustomization["secretGenerator"] = [
            {"name": secret, "files": [f"{key}={SECRETS_FOLDER}/{secret}/{key}" for key in keys]}
            for secret, keys in secrets.items()
        ]
    return kustomization


def _notes(policy: Policy) -> Iterator[str]:
    for where, part in (("repository", policy.repository), *((each.name, each) for each in policy.volumes)):
        for field, file in files_of(part):
            yield f"{where}: {field} is {file}, which the image has to bring: build one that stands on drtool's"
    for volume in policy.volumes:
        if is_baseline(volume):
            yield (
                f"{volume.name}: its mover runs as root with {', '.join(BASELINE_CAPABILITIES)}, as its policy says: "
                "a namespace that enforces restricted does not admit it"
            )
