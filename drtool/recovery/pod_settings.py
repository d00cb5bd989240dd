"""What captured objects tell of a container: its environment as far as it is written down, and hosts in Secrets."""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Sequence
from posixpath import normpath
from typing import Final

from drtool.policy.secret import KubernetesReference, Reference
from drtool.recovery.manifests.objects import Json, kind_of, part

REDIS_NAMES: Final = {
    "dbfilename": "dump.rdb",
    "appendfilename": "appendonly.aof",
    "appenddirname": "appendonlydir",
}
_REDIS: Final = re.compile(
    r"(?:^|\s|--)(dir|dbfilename|appendfilename|appenddirname)\s+[\"']?([^\s\"']+)", re.MULTILINE
)
_COMMENT: Final = re.compile(r"^\s*#.*$", re.MULTILINE)


def host_of(host: str | Reference | None, objects: Sequence[Json]) -> str | None:
    """Return the host that a policy names, in itself or in a captured Secret; None for one that lies elsewhere."""
    if isinstance(host, KubernetesReference):
        return content_of("Secret", host.secret, objects).get(host.key) or None
    return host if isinstance(host, str) else None


def environment_of(container: Json, objects: Sequence[Json]) -> dict[str, str]:
    """Return the variables of a container: those that it says itself, and those of captured maps and Secrets."""
    found: dict[str, str] = {}
    for each in container.get("envFrom") or []:
        prefix = each.get("prefix", "")
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            content = content_of(kind, part(each, key).get("name", ""), objects)
            found |= {f"{prefix}{name}": value for name, value in content.items()}
    for each in container.get("env") or []:
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            named = part(each, "valueFrom", key)
            value = content_of(kind, named.get("name", ""), objects).get(named.get("key", ""))
            if value is not None:
                found[each["name"]] = value
        if "value" in each:
            found[each["name"]] = str(each["value"])
    return found


def content_of(kind: str, name: str, objects: Sequence[Json]) -> dict[str, str]:
    """Return what a ConfigMap or a Secret holds, as far as it is text; empty where it was not captured."""
    for each in objects:
        if kind_of(each) == ("", kind) and each["metadata"]["name"] == name:
            plain = {**part(each, "stringData"), **(part(each, "data") if kind == "ConfigMap" else {})}
            encoded = part(each, "data") if kind == "Secret" else {}
            return {**{key: _text(value) for key, value in encoded.items()}, **plain}
    return {}


def is_within(path: str, folder: str) -> bool:
    """Return whether a path is folder, or lies below it. Both are absolute."""
    below = normpath(folder).rstrip("/")
    return path == below or path.startswith(f"{below}/")


def _text(value: str) -> str:
    try:
        return b64decode(value, validate=True).decode()
    except (Error, UnicodeDecodeError):
        return ""


def redis_settings(host_pod: Json, container: Json, objects: Sequence[Json]) -> dict[str, str]:
    """Return where a Redis keeps its data, as far as its arguments and the files that its pod mounts say it.

    Where two of them differ, the arguments win, as they do for the server.
    """
    volumes = host_pod.get("volumes") or []
    mounted = [
        text
        for each in volumes
        for kind, name in (
            ("ConfigMap", part(each, "configMap").get("name", "")),
            ("Secret", part(each, "secret").get("secretName", "")),
        )
        for text in content_of(kind, name, objects).values()
    ]
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    texts = [*mounted, "\n".join(words)]
    return {name: value for text in texts for name, value in _REDIS.findall(_COMMENT.sub("", text))}
