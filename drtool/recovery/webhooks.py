"""Webhooks of the target that nobody answers: with `failurePolicy: Fail` they stop a restore half-way. Pure.

What a webhook decides by expressions cannot be told here, and is taken for none of ours.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from drtool.recovery.manifests.objects import Json, part
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetFacts

_NAME: Final = "kubernetes.io/metadata.name"
_WRITES: Final = frozenset({"*", "CREATE", "UPDATE"})
_OURS: Final = (("", "pods"), ("batch", "jobs"), ("", "secrets"))  # what moves data is made of these
Labels = Mapping[str, Any]


def fatal_hooks(configuration: Json) -> Iterator[tuple[str, Json]]:
    """Yield the webhooks that let nothing pass while their Service is away, with the configuration's name."""
    for each in configuration.get("webhooks") or []:
        if each.get("failurePolicy", "Fail") == "Fail" and part(each, "clientConfig", "service"):
            yield configuration["metadata"]["name"], each


def refuse_webhooks(namespace: str, objects: Iterable[Prepared], facts: TargetFacts) -> Iterator[Refusal]:
    """Yield the webhooks without anybody behind them that are asked about what comes back, or what a restore makes."""
    made = list(objects)
    around: dict[str, Any] = {_NAME: namespace}
    for labels in (
        facts.labels,
        *(part(each.item, "metadata", "labels") for each in made if _is_namespace(each)),
    ):
        around |= labels
    asked = [
        (
            each.ref.group,
            facts.plurals.get(each.ref[:2], ""),
            each.is_namespaced,
            part(each.item, "metadata", "labels"),
        )
        for each in made
    ]
    asked += [(group, plural, True, {}) for group, plural in _OURS]
    for name, hook in facts.dead_hooks:
        kinds = {
            plural
            for group, plural, is_namespaced, labels in asked
            if plural and _is_asked(hook, group, plural, is_namespaced=is_namespaced)
            and _selects(hook.get("objectSelector"), labels)
            and (not is_namespaced or _selects(hook.get("namespaceSelector"), around))
        }  # fmt: skip
        if kinds and not hook.get("matchConditions"):
            service = part(hook, "clientConfig", "service")
            where = f"{service.get('namespace')}/{service.get('name')}"
            said = f"is asked about {', '.join(sorted(kinds))}, and nobody is behind its Service {where}"
            hint = f"Bring its server up, or delete configuration {name}: until then the target takes none of these."
            yield Refusal(f"webhook {hook.get('name')}", said, hint)


def _is_namespace(each: Prepared) -> bool:
    return each.ref[:2] == ("", "Namespace")


def _is_asked(hook: Json, group: str, plural: str, *, is_namespaced: bool) -> bool:
    scopes = ("*", "Namespaced" if is_namespaced else "Cluster")
    return any(
        _WRITES & set(rule.get("operations") or [])
        and {"*", group} & set(rule.get("apiGroups") or [])
        and {"*", "*/*", plural} & set(rule.get("resources") or [])
        and rule.get("scope", "*") in scopes
        for rule in hook.get("rules") or []
    )


def _selects(selector: Json | None, labels: Labels) -> bool:
    """Return whether a selector takes what has these labels. Kubernetes: apimachinery/pkg/labels, Matches."""
    wanted = part(selector or {}, "matchLabels")
    return wanted.items() <= labels.items() and all(
        _meets(each, labels) for each in (selector or {}).get("matchExpressions") or []
    )


def _meets(requirement: Json, labels: Labels) -> bool:
    value, values = labels.get(requirement.get("key", "")), requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
    return value is None
