"""Claims and volumes on their way into another cluster: every claim gets a new volume, of the size that it had.

A volume of the old cluster is dead with it, or still in use there: two volumes on one disk, or data that is restored
into what still lives. Only what lies behind an address on the network, and is bound by hand, is the same from any
cluster: such a volume comes back for its claim, unless its class is mapped.
"""

from typing import Final

from drtool.recovery.manifests.choose import Around
from drtool.recovery.manifests.objects import Json, Ref, annotations_of, part, spec_of
from drtool.recovery.manifests.quantity import quantity

_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"


def strip_claim(item: Json, around: Around) -> list[str]:
    """Take off a claim what bound it. It asks for what it had: it may have been given more than it asked for."""
    spec = spec_of(item)
    for key in ("dataSource", "dataSourceRef", "volumeAttributesClassName"):
        spec.pop(key, None)
    move_class(item)
    notes = []
    volume = spec.get("volumeName", "")
    if not around.keeps_volume(volume):
        spec.pop("volumeName", None)
        notes = _was_by_hand(around, volume)
    had = part(item, "status", "capacity").get("storage")
    asks = part(spec, "resources", "requests")
    if had and asks.get("storage") and quantity(had) > quantity(asks["storage"]):
        asks["storage"] = had
    return notes


def move_class(item: Json) -> None:
    """Name the class of a claim, or of a volume, where it is named today. Where both do, the annotation counts."""
    beta = annotations_of(item).pop(_BETA_CLASS, None)
    if beta is not None:
        item["spec"]["storageClassName"] = beta


def _was_by_hand(around: Around, volume: str) -> list[str]:
    """Say of a claim that its volume was written by hand: what it promised may not be what the class gives."""
    spec = spec_of(around.objects.get(Ref("", "PersistentVolume", volume), {}))
    where = part(spec, "hostPath").get("path") or part(spec, "local").get("path")
    return [f"it lay in {where} of a node, on volume {volume}: it gets a new volume"] if where else []


def strip_volume(item: Json, _around: Around) -> list[str]:
    """Free a volume from the claim that the old cluster knew. It is kept, whatever becomes of its claim."""
    spec = spec_of(item)
    move_class(item)
    claim = part(spec, "claimRef")
    if claim:
        spec["claimRef"] = {key: claim[key] for key in ("namespace", "name") if key in claim}
    policy = spec.get("persistentVolumeReclaimPolicy", "Retain")
    spec["persistentVolumeReclaimPolicy"] = "Retain"
    return [f"it is kept when its claim goes; it was {policy}"] if policy != "Retain" else []
