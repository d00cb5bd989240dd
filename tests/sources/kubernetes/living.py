"""An API server of the tests that keeps what is written: applied, merged, replaced, deleted; and whose pods are ready.

with Living(empty().collections, answers) as api:
    api.becomes = lambda item: {...}       # the status of what is written, by default that of what is well
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.sources.kubernetes.api import Api, Json, status

Becomes = Callable[[Json], Json]
_TRUE = "True"


def well(item: Json) -> Json:
    """Return the status of an object that is all that it should be."""
    wanted = (item.get("spec") or {}).get("replicas", 1)
    match item.get("kind"):
        case "Deployment" | "StatefulSet" | "DaemonSet":
            counts = dict.fromkeys(("readyReplicas", "updatedReplicas", "numberReady"), wanted)
            return {"observedGeneration": item["metadata"]["generation"], **counts}
        case "CustomResourceDefinition":
            return {
                "conditions": [{"type": kind, "status": _TRUE} for kind in ("Established", "NamesAccepted")]
            }
        case "Pod":
            return {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}
        case "Job":
            return {"conditions": [{"type": "Complete", "status": _TRUE}]}
    return {}


class Living(Api):
    """Whatever is written to a collection is kept there. Deleting a namespace deletes what is in it."""

    def __init__(
        self, collections: Mapping[str, list[Json]], answers: Mapping[str, Any], tls: Path | None = None
    ) -> None:
        super().__init__(collections, answers, tls)
        self.becomes: Becomes = well
        self.refuses: Callable[[str, Json], tuple[int, str] | None] = lambda _method, _item: None
        self.written: list[str] = []
        self._count = 100
        self._writing = RLock()

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Mapping[str, str], Json]:
        path = urlsplit(target).path
        query = parse_qs(urlsplit(target).query)
        if method == "GET" and path in self.collections and "limit" not in query:
            return 200, {}, {"items": deepcopy(self._chosen(path, query))}
        if method == "GET" or path in self.answers or "dryRun" in query:
            code, headers, value = super()._answer(method, target, body)
            return code, headers, dict(value)  # who sends it may take it apart
        with self._writing:
            self.asked.append(f"{method} {target}")
            sent: Json = json.loads(body) if body else {}
            refused = self.refuses(method, sent)
            if refused is not None:
                return refused[0], {}, status(*refused)
            if method == "POST":
                return self._made(path, sent)
            folder, _, name = path.rpartition("/")
            return self._changed_by(method, folder, name, sent, query)

    def _chosen(self, path: str, query: Mapping[str, list[str]]) -> list[Json]:
        """Return what a list without pages holds: that with all the labels and fields that were asked for."""
        labels, fields = _pairs(query, "labelSelector"), _pairs(query, "fieldSelector")
        return [
            each
            for each in self.collections[path]
            if all((each["metadata"].get("labels") or {}).get(key) == value for key, value in labels)
            and all(_field(each, key) == value for key, value in fields)
        ]

    def _changed_by(
        self, method: str, folder: str, name: str, sent: Json, query: Mapping[str, list[str]]
    ) -> tuple[int, Mapping[str, str], Json]:
        found = self.find(folder, name)
        if method == "PATCH" and "fieldManager" in query and found is None:
            return self._made(folder, sent)
        if found is None:
            return 404, {}, status(404, f"{folder}/{name} is not there")
        if method == "DELETE":
            return self._gone(folder, found, sent)
        version = sent.get("metadata", {}).get("resourceVersion")
        if version and version != found["metadata"]["resourceVersion"]:
            return 409, {}, status(409, "the object has been modified")
        if method == "PATCH" and "fieldManager" not in query:
            sent = merged(found, sent)
        kept = {key: found["metadata"].get(key) for key in ("uid", "generation", "creationTimestamp")}
        return 200, {}, self._keep(folder, {**sent, "metadata": {**sent["metadata"], **kept}})

    def _made(self, folder: str, sent: Json) -> tuple[int, Mapping[str, str], Json]:
        name = sent["metadata"]["name"]
        if self.find(folder, name) is not None:
            return 409, {}, status(409, f"{name} already exists")
        self._count += 1
        if sent["kind"] == "Namespace":
            account = {"metadata": {"name": "default"}}
            self.collections.setdefault(f"{folder}/{name}/serviceaccounts", [account])
        metadata = {
            **sent["metadata"],
            "uid": f"new-{self._count}",
            "generation": 0,
            "creationTimestamp": "2026",
        }
        return 201, {}, self._keep(folder, {**sent, "metadata": metadata})

    def _keep(self, folder: str, item: Json) -> Json:
        self._count += 1
        item["metadata"] |= {
            "resourceVersion": str(self._count),
            "generation": item["metadata"]["generation"] + 1,
        }
        kept = {**item, "status": self.becomes(item)}
        name = item["metadata"]["name"]
        self.written.append(f"{folder}/{name}")
        rest = [each for each in self.collections.get(folder, []) if each["metadata"]["name"] != name]
        self.collections[folder] = [*rest, kept]
        return deepcopy(kept)

    def _gone(self, folder: str, found: Json, options: Json) -> tuple[int, Mapping[str, str], Json]:
        wanted: Json = options.get("preconditions", {})
        if any(found["metadata"][key] != value for key, value in wanted.items()):
            return 409, {}, status(409, "the precondition does not match")
        self.collections[folder] = [each for each in self.collections[folder] if each is not found]
        if folder.endswith("/namespaces"):
            within = f"{folder}/{found['metadata']['name']}/"
            inside = [
                path for path in self.collections if path.startswith((within, within.replace("/api/v1", "")))
            ]
            for path in [
                *inside,
                *(path for path in self.collections if within.removeprefix("/api/v1") in path),
            ]:
                self.collections[path] = []
        return 200, {}, {}

    def find(self, folder: str, name: str) -> Json | None:
        """Return an object, None if it is not there."""
        return next(
            (each for each in self.collections.get(folder, []) if each["metadata"]["name"] == name), None
        )


def _pairs(query: Mapping[str, list[str]], selector: str) -> list[list[str]]:
    [text] = query.get(selector, [""])
    return [each.split("=", 1) for each in text.split(",") if each]


def _field(item: Json, path: str) -> Any:
    value: Any = item
    for key in path.split("."):
        value = (value or {}).get(key)
    return value


def merged(found: Any, change: Any) -> Any:
    """Return found with change merged in, as RFC 7386 has it."""
    if not isinstance(found, dict) or not isinstance(change, dict):
        return deepcopy(change)
    rest = {key: value for key, value in found.items() if key not in change}
    return {
        **rest,
        **{key: merged(found.get(key), value) for key, value in change.items() if value is not None},
    }
