"""What is called differently in the target: the namespace, storage classes, image registries, hosts.

Mapped, wherever Kubernetes itself gives the text that meaning:
- namespace: of every object, subjects of bindings (accounts, and the groups and users that stand for them), claimRef,
  webhooks' and definitions' Services, selectors by the label kubernetes.io/metadata.name;
- in texts, where `.OLD.svc` leaves no doubt: env values, commands and arguments of containers, externalName, and the
  data of ConfigMaps, all of which the diff of a plan shows;
- storage class: claims, templates of StatefulSets, keys of quotas; an empty name is that of claims without one;
- image registry: images of all containers; docker.io is what an image without a registry means;
- host: rules and TLS of Ingresses, with all that lie below it.

Not mapped, but told by name of the object and place: other texts that hold an old name, whatever they mean by it
(`web.OLD` without svc, hosts in settings, rules of custom resources), and all of Secrets, for nobody can review what
is not shown: of them only the key is told.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from drtool.recovery.manifests.objects import (
    NETWORK,
    RBAC,
    Json,
    containers_of,
    kind_of,
    part,
    pod_template_of,
    spec_of,
)

_NAME: Final = "kubernetes.io/metadata.name"
_DOCKER: Final = "docker.io"


@dataclass(frozen=True, slots=True)
class Mappings:
    """Old names and the new ones. namespace is (old, new), which may be the same."""

    namespace: tuple[str, str]
    classes: Mapping[str, str] = field(default_factory=dict)
    registries: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    @property
    def moves(self) -> bool:
        """Whether the namespace is another one."""
        return self.namespace[0] != self.namespace[1]


def map_names(item: Json, mappings: Mappings) -> None:
    """Give item the target's names."""
    if mappings.moves:
        _map_namespace(item, *mappings.namespace)
    _map_classes(item, mappings.classes)
    for container in containers_of(item):
        container["image"] = _image(container.get("image", ""), mappings.registries)
    if kind_of(item) == (NETWORK, "Ingress"):
        _map_hosts(spec_of(item), mappings.hosts)


def left_as_it_is(item: Json, mappings: Mappings) -> Iterator[str]:
    """Yield what of a mapped item still holds an old name, and where; of Secrets the key alone."""
    pairs = [*mappings.hosts.items(), *mappings.registries.items()]
    if mappings.moves:
        pairs.append(mappings.namespace)
    for old, new in pairs:
        pattern, mapped = _word(old), _word(new)
        for place, text in _texts(item, ""):
            if pattern.search(mapped.sub("", text)):
                yield f"{place} still holds {old}"


def _word(name: str) -> re.Pattern[str]:
    """Return what finds a name, and no longer one that it is part of."""
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


def _texts(item: Json, at: str) -> Iterator[tuple[str, str]]:
    if item.get("kind") == "Secret" and not at:
        yield from (
            (f"key {key}", _decoded(value)) for key, value in sorted((item.get("data") or {}).items())
        )
        return
    yield from _walk(item, at)


def _walk(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _walk(each, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            name = each.get("name", number) if isinstance(each, dict) else number
            yield from _walk(each, f"{at}[{name}]")


def _decoded(value: str) -> str:
    try:
        return b64decode(value).decode("utf-8", "replace")
    except NotBase64:
        return ""


def _map_namespace(item: Json, old: str, new: str) -> None:
    metadata = item["metadata"]
    if metadata.get("namespace") == old:
        metadata["namespace"] = new
    if kind_of(item) == ("", "Namespace"):
        metadata["name"] = new
    for each in item.get("subjects") or [] if kind_of(item)[0] == RBAC else []:
        _map_subject(each, old, new)
    for holder in _referrers(item):
        if holder.get("namespace") == old:
            holder["namespace"] = new
    _map_selectors([spec_of(item), item.get("webhooks")], old, new)
    _map_texts(item, re.compile(rf"\.{re.escape(old)}\.svc\b"), f".{new}.svc")


def _map_subject(subject: Json, old: str, new: str) -> None:
    if subject.get("namespace") == old:
        subject["namespace"] = new
    if subject["name"] == f"system:serviceaccounts:{old}":
        subject["name"] = f"system:serviceaccounts:{new}"
    account = f"system:serviceaccount:{old}:"
    if subject["name"].startswith(account):
        subject["name"] = f"system:serviceaccount:{new}:{subject['name'].removeprefix(account)}"


def _referrers(item: Json) -> Iterator[Json]:
    yield part(item, "spec", "claimRef")
    yield part(item, "spec", "conversion", "webhook", "clientConfig", "service")
    for each in item.get("webhooks") or []:
        yield part(each, "clientConfig", "service")


def _map_selectors(value: Any, old: str, new: str) -> None:
    """Map every selector of namespaces by name, in NetworkPolicies, in affinities and in webhooks."""
    if isinstance(value, list):
        for each in value:
            _map_selectors(each, old, new)
    if not isinstance(value, dict):
        return
    labels = part(value, "namespaceSelector", "matchLabels")
    if labels.get(_NAME) == old:
        labels[_NAME] = new
    for each in part(value, "namespaceSelector").get("matchExpressions") or []:
        if (
            isinstance(each, dict) and each.get("key") == _NAME
        ):  # a custom resource may mean something else by it
            each["values"] = [new if name == old else name for name in each.get("values") or []]
    for each in value.values():
        _map_selectors(each, old, new)


def _map_texts(item: Json, pattern: re.Pattern[str], new: str) -> None:
    for container in containers_of(item):
        for entry in container.get("env") or []:
            if isinstance(entry.get("value"), str):
                entry["value"] = pattern.sub(new, entry["value"])
        for key in ("command", "args"):
            if container.get(key):
                container[key] = [pattern.sub(new, each) for each in container[key]]
    if kind_of(item) == ("", "ConfigMap"):
        data = part(item, "data")
        data.update({key: pattern.sub(new, text) for key, text in data.items()})
    spec = spec_of(item)
    if kind_of(item) == ("", "Service") and spec.get("externalName"):
        spec["externalName"] = pattern.sub(new, spec["externalName"])


def _map_classes(item: Json, classes: Mapping[str, str]) -> None:
    spec = spec_of(item)
    specs = [spec] if kind_of(item) == ("", "PersistentVolumeClaim") else []
    specs += [part(each, "spec") for each in spec.get("volumeClaimTemplates") or []]
    pod = part(pod_template_of(item), "spec")
    specs += [
        part(each, "ephemeral", "volumeClaimTemplate", "spec")
        for each in pod.get("volumes") or []
        if each.get("ephemeral")
    ]
    for each in specs:
        name = each.get("storageClassName", "")
        if name in classes:
            each["storageClassName"] = classes[name]
    hard = part(spec, "hard")
    for key in list(hard):
        name, mark, rest = key.partition(".storageclass.storage.k8s.io/")
        if mark and name in classes:
            hard[f"{classes[name]}{mark}{rest}"] = hard.pop(key)


def _image(image: str, registries: Mapping[str, str]) -> str:
    """Return image as the target pulls it: the longest prefix that is mapped decides."""
    registry, slash, _ = image.partition("/")
    has_registry = slash and (registry == "localhost" or "." in registry or ":" in registry)
    whole = image if has_registry else "/".join([_DOCKER, *([] if slash else ["library"]), image])
    for old in sorted(registries, key=len, reverse=True):
        if whole.startswith(f"{old.rstrip('/')}/"):
            return f"{registries[old].rstrip('/')}/{whole.removeprefix(old.rstrip('/') + '/')}"
    return image


def _map_hosts(spec: Json, hosts: Mapping[str, str]) -> None:
    for rule in spec.get("rules") or []:
        if rule.get("host"):
            rule["host"] = _host(rule["host"], hosts)
    for each in spec.get("tls") or []:
        if each.get("hosts"):
            each["hosts"] = [_host(name, hosts) for name in each["hosts"]]


def _host(host: str, hosts: Mapping[str, str]) -> str:
    for old in sorted(hosts, key=len, reverse=True):
        if host == old or host.endswith(f".{old}"):
            return host.removesuffix(old) + hosts[old]
    return host
