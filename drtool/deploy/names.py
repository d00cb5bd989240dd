"""What drtool's objects are called, and the labels by which they are found."""

from typing import Any, Final, Literal

from drtool.policy.volumes import Volume

Object = dict[str, Any]  # a Kubernetes object, as its YAML says it
Component = Literal["backup", "wal-follow"]

POLICY_MAP: Final = "drtool-policy"
BACKUP_ACCOUNT: Final = "drtool-backup"
MANIFESTS_ACCOUNT: Final = "drtool-manifests"
OWN: Final = "drtool-"  # how Secrets begin that come with drtool; all others are the application's

ALL_PODS: Final = {"app.kubernetes.io/part-of": "drtool"}
COMMON: Final = {"app.kubernetes.io/name": "drtool", **ALL_PODS}
VOLUME_LABEL: Final = "drtool.io/volume"


def labels(volume: Volume, component: Component) -> dict[str, str]:
    """Return the labels of what works for a volume."""
    return {**COMMON, "app.kubernetes.io/component": component, VOLUME_LABEL: volume.name}


def cron_job(volume: Volume) -> str:
    """Return the name of a volume's CronJob."""
    return f"drtool-backup-{volume.name}"


def follower(volume: Volume) -> str:
    """Return the name of the Deployment that follows a volume's WAL."""
    return f"drtool-wal-follow-{volume.name}"


def new(api_version: str, kind: str, name: str, marks: dict[str, str], **rest: Any) -> Object:
    """Return an object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": dict(marks)},
        **rest,
    }
