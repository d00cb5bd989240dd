"""What applying an object would change in the target: nothing, some fields, or that it is there at all.

Server-side apply leaves alone what it is not told of. So an object is equal where all that would be applied is so
already; what else the target knows of it does not count. A workload is compared as it shall be in the end.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import NETWORK, RBAC, STORAGE, Json, Ref, part
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.wishes import IfExists

State = Literal["new", "equal", "changed"]
Action = Literal["create", "update", "replace", "keep", "nothing", "refuse"]
_HIDDEN, _DIFFERS = "(hidden)", "(hidden, differs)"
_CLAIM: Final = ("", "PersistentVolumeClaim")
# The target's own, which what comes back makes use of, whatever it was like in the old cluster.
_OF_THE_TARGET: Final = frozenset(
    {(STORAGE, "StorageClass"), (NETWORK, "IngressClass"), ("scheduling.k8s.io", "PriorityClass")}
)
_OF_EVERY_NAMESPACE: Final = frozenset(
    {("", "Namespace"), ("", "ServiceAccount")}
)  # made before anybody applies
# The fields below spec that may not change, or those that alone may.
_FIXED: Final = {
    ("apps", "Deployment"): {"selector"},
    ("apps", "DaemonSet"): {"selector"},
    ("apps", "ReplicaSet"): {"selector"},
    ("batch", "Job"): {"selector", "template", "completions"},
    ("", "Service"): {"clusterIP"},
}
_FREE: Final = {
    ("", "Pod"): {"activeDeadlineSeconds", "tolerations"},
    ("apps", "StatefulSet"): {
        *("replicas", "template", "updateStrategy", "minReadySeconds", "ordinals"),
        "persistentVolumeClaimRetentionPolicy",
    },
}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one object. before and after are what differs can be seen in; no value of a Secret is."""

    ref: Ref
    state: State
    action: Action
    before: Json = field(default_factory=dict, repr=False)
    after: Json = field(default_factory=dict, repr=False)


def compare(prepared: Prepared, live: Json | None, if_exists: IfExists) -> Change:
    """Return what applying an object means where live is there already."""
    ref = prepared.ref
    if live is None:
        return Change(ref, "new", "create")
    after = _sorted(prepared.item)
    before = _known(live, after)
    is_equal = before == after
    if ref[:2] == _CLAIM:  # it holds data, whether it is equal or not
        return Change(
            ref,
            "equal" if is_equal else "changed",
            "keep" if if_exists == "keep" else "refuse",
            before,
            after,
        )
    if is_equal:
        return Change(ref, "equal", "update" if is_workload(*ref[:2]) else "nothing")
    is_fixed = bool(live.get("immutable")) or _is_fixed(ref[:2], before, after)
    action = _action(prepared, if_exists, is_fixed=is_fixed)
    return Change(ref, "changed", action, *_without_secrets(before, after))


def _action(prepared: Prepared, if_exists: IfExists, *, is_fixed: bool) -> Action:
    kind = prepared.ref[:2]
    if kind in _OF_EVERY_NAMESPACE and if_exists != "keep":
        return "update"
    if kind in _OF_THE_TARGET:
        return "keep"
    if if_exists != "replace":
        return if_exists
    if not prepared.is_namespaced:
        return "keep"  # others in the cluster may use it
    return "replace" if is_fixed else "update"


def _is_fixed(kind: tuple[str, str], before: Json, after: Json) -> bool:
    """Return whether a field differs that the API server lets nobody change."""
    if kind == (RBAC, "RoleBinding"):
        return bool(before.get("roleRef") != after.get("roleRef"))
    if kind == ("", "Secret"):
        return bool(before.get("type") != after.get("type"))
    old, new = part(before, "spec"), part(after, "spec")
    fixed = new.keys() - _FREE[kind] if kind in _FREE else _FIXED.get(kind, set())
    return any(old.get(key) != new.get(key) for key in fixed)


def _known(live: Any, wanted: Any) -> Any:
    """Return of live what wanted speaks of."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {key: _known(live[key], wanted[key]) for key in wanted if key in live}
    if isinstance(live, list) and isinstance(wanted, list):
        if len(live) == len(wanted):
            return [_known(*pair) for pair in zip(live, wanted, strict=True)]
        return _sorted(live)
    return live


def _sorted(value: Any) -> Any:
    """Return value with its keys in the order of their names: the same text for the same object."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def _without_secrets(before: Json, after: Json) -> tuple[Json, Json]:
    if after["kind"] != "Secret":
        return before, after
    shown = (dict(before), dict(after))
    for key in ("data", "stringData"):
        old, new = part(before, key), part(after, key)
        if old or new:
            shown[0][key] = dict.fromkeys(old, _HIDDEN)
            shown[1][key] = {name: _HIDDEN if old.get(name) == new[name] else _DIFFERS for name in new}
    return shown
