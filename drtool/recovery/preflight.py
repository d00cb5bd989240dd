"""All that speaks against a plan, at once: by then nothing has been written. And what a person should look at."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from drtool.policy.kinds import CLUSTER, NAMESPACED
from drtool.recovery.compare import Change
from drtool.recovery.demand import shortages
from drtool.recovery.keepers import keeper_notes
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import NETWORK, STORAGE, Json, part, pod_template_of, spec_of
from drtool.recovery.manifests.prepare import Preparation, Prepared
from drtool.recovery.outside import outside_notes
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetFacts
from drtool.recovery.webhooks import refuse_webhooks

_CLAIM: Final = ("", "PersistentVolumeClaim")
_BY_HAND: Final = "kubernetes.io/no-provisioner"
_OLD_CLASS: Final = "kubernetes.io/ingress.class"
_OLDEST: Final = (1, 29)  # the first with containers that begin before others, and end after them
_MAP: Final = "Map it to one that is: --storage-class {}=NEW, where NEW is {}."


def refuse(
    namespace: str, preparation: Preparation, changes: Sequence[Change], facts: TargetFacts
) -> Iterator[Refusal]:
    """Yield every reason why the prepared objects cannot be brought into the target as it is."""
    yield from preparation.refusals
    version = facts.cluster.version
    if () < _minor(version) < _OLDEST:
        hint = "What moves data has native sidecars. Upgrade it, or bring volumes back with `drtool restore --to-dir`."
        yield Refusal(
            facts.cluster.context, f"is Kubernetes {version}, and a restore takes 1.29 or later", hint
        )
    if facts.phase == "Terminating":
        hint = "Wait for its end, or see which finalizers hold it; drtool forces none away."
        yield Refusal(f"namespace {namespace}", "is being deleted in the target", hint)
    actions = {change.ref: change.action for change in changes}
    yield from _conflicts(preparation, changes)
    made = [each for each in preparation.objects if actions.get(each.ref) in ("create", "replace")]
    yield from _classes(preparation, [each for each in made if each.ref[:2] == _CLAIM], facts)
    yield from _priorities(preparation, facts)
    yield from refuse_webhooks(namespace, preparation.objects, facts)
    for quota in facts.quotas:
        about = f"quota {quota['metadata']['name']}"
        for short in shortages(quota, [each.item for each in made]):
            yield Refusal(about, f"is too small for what comes back: {short}", "Raise it, or make room.")
    for claim, pods in sorted(facts.users.items()):
        hint = (
            "Stop what uses it: data is never restored below a running workload. Or name the volume that is to go "
            "back, with --in-place: it comes back beside that, which is switched and kept."
        )
        yield Refusal(f"claim {claim}", f"is in use by {', '.join(sorted(pods))}", hint)
    for verb in facts.lacking:
        hint = "A restore takes a cluster's administrator; ask for this right, or log in as one."
        yield Refusal(facts.cluster.context, f"does not let you {verb}", hint)


def _conflicts(preparation: Preparation, changes: Iterable[Change]) -> Iterator[Refusal]:
    shared = {each.ref for each in preparation.objects if not each.is_namespaced}
    for change in changes:
        if change.action != "refuse":
            continue
        if change.ref[:2] == _CLAIM:
            hint = "--if-exists keep restores into it if it is empty; a claim is never replaced. Or take --namespace."
            yield Refusal(str(change.ref), "is there already, and may hold data", hint)
        elif change.ref in shared:
            hint = (
                "--if-exists keep leaves it, for others may use it: see that it fits, or change it by hand."
            )
            yield Refusal(str(change.ref), "is there already, and differs", hint)
        else:
            hint = (
                "--if-exists keep leaves it, --if-exists replace makes it what it was; or take --namespace."
            )
            yield Refusal(str(change.ref), "is there already, and differs", hint)


def _classes(preparation: Preparation, claims: Sequence[Prepared], facts: TargetFacts) -> Iterator[Refusal]:
    """Yield the storage classes that nobody provisions in the target."""
    asking: dict[str | None, list[str]] = defaultdict(list)
    for claim in claims:
        if not spec_of(claim.item).get("volumeName"):
            asking[spec_of(claim.item).get("storageClassName")].append(claim.ref.name)
    there = _provided(preparation, facts)
    names = " or ".join(sorted(there)) or "yet to be made"
    for name, who in sorted(asking.items(), key=lambda pair: pair[0] or ""):
        asked = f"which {', '.join(sorted(who))} {'asks' if len(who) == 1 else 'ask'} for"
        if name is None:
            if facts.default_class is None:
                yield Refusal("default storage class", f"is not there, {asked}", _MAP.format("", names))
        elif not name:
            said = f"of {', '.join(sorted(who))} was made by hand, and nobody makes it here"
            yield Refusal("volume", said, _MAP.format("", names))
        elif name not in there:
            yield Refusal(f"storage class {name}", f"is not there, {asked}", _MAP.format(name, names))


def _provided(preparation: Preparation, facts: TargetFacts) -> set[str]:
    """Return the classes of which the target makes volumes: its own, and captured ones that it has a driver for."""
    known = {*facts.storage_classes.values(), *facts.drivers} - {_BY_HAND, ""}
    captured = {
        each.ref.name: each.item.get("provisioner")
        for each in preparation.objects
        if each.ref[:2] == (STORAGE, "StorageClass")
    }
    return {name for name, maker in {**captured, **facts.storage_classes}.items() if maker in known}


def _priorities(preparation: Preparation, facts: TargetFacts) -> Iterator[Refusal]:
    there = facts.priority_classes | {
        each.ref.name for each in preparation.objects if each.ref.kind == "PriorityClass"
    }
    for each in preparation.objects:
        name = part(pod_template_of(each.item), "spec").get("priorityClassName") or ""
        if name and name not in there and not name.startswith("system-"):
            said = f"asks for priority class {name}, which is not there and was not captured"
            yield Refusal(str(each.ref), said, "Make the class in the target, with the value that you want.")


def notes(
    preparation: Preparation, changes: Sequence[Change], facts: TargetFacts, captured_version: str
) -> Iterator[str]:
    """Yield what is no reason against a plan, and that somebody should know."""
    yield from preparation.notes
    for change in changes:
        if change.action == "keep":
            yield f"{change.ref}: it is there already, and stays as it is"
    if _minor(facts.cluster.version) < _minor(captured_version):
        yield f"the target is of {facts.cluster.version}, older than {captured_version}: it may not know all fields"
    for each in preparation.objects:
        if each.ref[:2] == (NETWORK, "Ingress"):
            yield from _ingress(each, preparation, facts)
        if each.ref.kind == "StatefulSet":
            yield from _ordinals(each, preparation)
    yield from outside_notes(preparation.objects, changes)
    yield from _custom(preparation)
    yield from keeper_notes(each.item for each in preparation.objects)


def _minor(version: str) -> tuple[int, ...]:
    """Return the numbers of v1.34.4+k3s1 that tell of its API: 1, 34."""
    parts = version.removeprefix("v").split(".")[:2]
    return tuple(int(each) for each in parts) if all(each.isdigit() for each in parts) else ()


def _ingress(ingress: Prepared, preparation: Preparation, facts: TargetFacts) -> Iterator[str]:
    annotations = part(ingress.item, "metadata", "annotations")
    name = spec_of(ingress.item).get("ingressClassName") or annotations.get(_OLD_CLASS)
    captured = {each.ref.name for each in preparation.objects if each.ref.kind == "IngressClass"}
    if name and name not in facts.ingress_classes | captured:
        yield f"{ingress.ref}: nobody serves class {name} here, until there is an IngressClass of that name"
    secrets = {each.ref.name for each in preparation.objects if each.ref[:2] == ("", "Secret")}
    for secret in _certificates_of(ingress):
        if secret not in secrets | facts.certificates:
            is_issued = any(key.startswith("cert-manager.io/") for key in annotations)
            until = (
                "cert-manager orders it anew" if is_issued else "its hosts have another one until it is there"
            )
            yield f"{ingress.ref}: Secret {secret} with its certificate does not come back: {until}"


def certificates(prepared: Iterable[Prepared]) -> set[str]:
    """Return the Secrets with certificates that Ingresses name."""
    return {
        secret
        for each in prepared
        if each.ref[:2] == (NETWORK, "Ingress")
        for secret in _certificates_of(each)
    }


def _certificates_of(ingress: Prepared) -> Iterator[str]:
    for each in spec_of(ingress.item).get("tls") or []:
        if secret := each.get("secretName"):
            yield secret


def _ordinals(found: Prepared, preparation: Preparation) -> Iterator[str]:
    """Yield the claims that a StatefulSet will make empty, for none of that name comes back."""
    spec: Json = spec_of(found.item)
    first = int(part(spec, "ordinals").get("start", 0))
    claims = {each.ref.name for each in preparation.objects if each.ref[:2] == _CLAIM}
    wanted = [
        f"{template['metadata']['name']}-{found.ref.name}-{number}"
        for template in spec.get("volumeClaimTemplates") or []
        for number in range(first, first + int(spec.get("replicas", 1)))
    ]
    for name in wanted:
        if name not in claims:
            yield f"{found.ref}: claim {name} was not captured, and begins empty"


def _custom(preparation: Preparation) -> Iterator[str]:
    kinds = {
        f"{each.ref.group}/{each.ref.kind}"
        for each in preparation.objects
        if each.ref.group not in {*NAMESPACED, *CLUSTER} and not is_workload(*each.ref[:2])
    }
    if kinds:
        yield f"what serves {', '.join(sorted(kinds))} in the target acts on them as soon as they are there"
