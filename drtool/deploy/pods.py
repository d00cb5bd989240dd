"""The pods that drtool works in: what they hold and mount, as whom and where they run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drtool.deploy.names import (
    BACKUP_ACCOUNT,
    MANIFESTS_ACCOUNT,
    POLICY_MAP,
    Component,
    Object,
    cron_job,
    follower,
    labels,
)
from drtool.deploy.secrets import keys_of
from drtool.policy.schema import Policy
from drtool.policy.volumes import CsiVolume, FilesVolume, LonghornVolume, ManifestsVolume, MovedVolume, Volume

CONTAINER: Final = "drtool"
DRTOOL_USER: Final = 10001
POLICY_FOLDER: Final = "/etc/drtool/policy"
POLICY_FILE: Final = "policy.yaml"
SECRETS_FOLDER: Final = "/etc/drtool/secrets"
CLAIMS_FOLDER: Final = "/claims"
TERMINATION_MESSAGE: Final = "/dev/termination-log"

# What a mover needs to read files of any owner. DAC_READ_SEARCH would do, but Pod Security's baseline has it not;
# the claim is mounted read-only. To give files back to their owners would need CHOWN, FOWNER, FSETID and SETFCAP, too.
BASELINE_CAPABILITIES: Final = ["DAC_OVERRIDE"]

# drtool stays below 300 MiB, whatever the size of what it carries.
RESOURCES: Final = {
    "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "16Mi"},
    "limits": {"cpu": "2", "memory": "512Mi", "ephemeral-storage": "256Mi"},
}


@dataclass(frozen=True, slots=True)
class Duty:
    """What a pod is for: one volume, and the command line of drtool."""

    volume: Volume
    component: Component
    arguments: tuple[str, ...]

    @property
    def owner(self) -> str:
        """The object on which the pod's Events are put."""
        is_backup = self.component == "backup"
        return f"CronJob/{cron_job(self.volume)}" if is_backup else f"Deployment/{follower(self.volume)}"


def pod_template(policy: Policy, duty: Duty, image: str) -> Object:
    """Return the template of a duty's pods."""
    volume = duty.volume
    secrets = list(keys_of(policy, volume).items())
    mounts = [_mount("policy", POLICY_FOLDER), {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in its own pod
    mounts += [_mount(f"secret-{n}", f"{SECRETS_FOLDER}/{name}") for n, (name, _) in enumerate(secrets, 1)]
    volumes: list[Object] = [
        {"name": "policy", "configMap": {"name": POLICY_MAP}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}},
        *(_secret_volume(f"secret-{n}", name, keys) for n, (name, keys) in enumerate(secrets, 1)),
    ]
    if isinstance(volume, LonghornVolume | CsiVolume | FilesVolume) and volume.claim is not None:
        mounts.append(_mount("claim", f"{CLAIMS_FOLDER}/{volume.claim}"))
        volumes.append({"name": "claim", "persistentVolumeClaim": {"claimName": volume.claim}})
    account = MANIFESTS_ACCOUNT if isinstance(volume, ManifestsVolume) else BACKUP_ACCOUNT
    spec = {
        "serviceAccountName": account,
        "automountServiceAccountToken": True,  # for its Events, and to ask for objects
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": _pod_security(volume),
        **_placement(volume),
        "containers": [_container(duty, image, mounts)],
        "volumes": volumes,
    }
    return {"metadata": {"labels": labels(volume, duty.component)}, "spec": spec}


def _container(duty: Duty, image: str, mounts: list[Object]) -> Object:
    environment = {
        "DRTOOL_POLICY": f"{POLICY_FOLDER}/{POLICY_FILE}",
        "DRTOOL_SECRETS": SECRETS_FOLDER,
        "DRTOOL_CLAIMS": CLAIMS_FOLDER,
        "DRTOOL_TERMINATION_MESSAGE": TERMINATION_MESSAGE,
        "DRTOOL_EVENTS": duty.owner,
    }
    namespace = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(duty.arguments),
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            {"name": "DRTOOL_NAMESPACE", "valueFrom": namespace},
        ],
        "terminationMessagePath": TERMINATION_MESSAGE,
        "securityContext": _container_security(duty.volume),
        "resources": RESOURCES,
        "volumeMounts": mounts,
    }


def verbatim(words: Sequence[str]) -> list[str]:
    """Return words as a container's command or arguments have them: kubelet makes `$$` a `$`, and expands $(NAME)."""
    return [word.replace("$", "$$") for word in words]


def _mount(name: str, path: str) -> Object:
    return {"name": name, "mountPath": path, "readOnly": True}


def _secret_volume(name: str, secret: str, keys: list[str]) -> Object:
    """Return a volume with exactly these keys. What is missing is for drtool to say, not for a pod that hangs."""
    items = [{"key": key, "path": key} for key in keys]
    return {"name": name, "secret": {"secretName": secret, "items": items, "optional": True}}


def is_baseline(volume: Volume) -> bool:
    """Tell whether a volume's mover is no restricted pod: its policy says so, for files of several owners."""
    return isinstance(volume, MovedVolume) and volume.pod_security == "baseline"


def _pod_security(volume: Volume) -> Object:
    """Return as whom the pod runs. No fsGroup: the kubelet would give a mover's claim another group."""
    seccomp = {"seccompProfile": {"type": "RuntimeDefault"}}
    if is_baseline(volume):
        return {"runAsUser": 0, "runAsGroup": 0, **seccomp}
    user: Object = {"runAsUser": DRTOOL_USER, "runAsGroup": DRTOOL_USER}
    if isinstance(volume, MovedVolume) and volume.run_as is not None:
        user = {"runAsUser": volume.run_as.user, "runAsGroup": volume.run_as.group}
        if volume.run_as.groups:
            user["supplementalGroups"] = list(volume.run_as.groups)
    return {"runAsNonRoot": True, **user, **seccomp}


def _container_security(volume: Volume) -> Object:
    capabilities: Object = {"drop": ["ALL"]}
    if is_baseline(volume):
        capabilities["add"] = list(BASELINE_CAPABILITIES)
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": capabilities,
    }


def _placement(volume: Volume) -> Object:
    """Return where a mover may run. Volumes that lie on one node bring their node with them."""
    if not isinstance(volume, MovedVolume):
        return {}
    placement: Object = {}
    if volume.node_selector:
        placement["nodeSelector"] = dict(volume.node_selector)
    if volume.tolerations:
        placement["tolerations"] = [taint.model_dump(exclude_none=True) for taint in volume.tolerations]
    if volume.beside:
        term = {
            "labelSelector": {"matchLabels": dict(volume.beside)},
            "topologyKey": "kubernetes.io/hostname",
        }
        placement["affinity"] = {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        }
    return placement
