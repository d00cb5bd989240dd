"""An API server of the tests that has a node: pods that are made there come to a state, and what is deleted is gone."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.sources.kubernetes.api import Api, Json, status

Becomes = Callable[[Json], Json]  # what the status of a pod is, once it is made


class Kubelet(Api):
    """Namespaces that are made have a ServiceAccount, pods that are made the status that becomes says."""

    def __init__(self, becomes: Becomes) -> None:
        super().__init__({"/api/v1/namespaces": []})
        self.becomes = becomes
        self.deleted: list[str] = []
        self.has_accounts = True
        self.refuses: Callable[[Json], str] = lambda body: ""
        self.at_once = 0  # the most pods that were there together

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Mapping[str, str], Json]:
        path = target.partition("?")[0]
        if method == "DELETE":
            self.asked.append(f"{method} {target}")
            self.deleted.append(path)
            for folder in list(self.collections):
                self.collections[folder] = [
                    each
                    for each in self.collections[folder]
                    if not f"{folder}/{each['metadata']['name']}/".startswith(f"{path}/")
                ]
            return 200, {}, {}
        if method == "POST":
            sent = json.loads(body)
            why = self.refuses(sent)
            if why:
                return 422, {}, status(422, why)
            self._made(path, sent)
        return super()._answer(method, target, body)

    def _made(self, path: str, sent: dict[str, Any]) -> None:
        name = sent["metadata"]["name"]
        if sent["kind"] == "Namespace":
            within = f"{path}/{name}"
            accounts = [{"metadata": {"name": "default"}}] if self.has_accounts else []
            self.collections |= {
                f"{within}/serviceaccounts": accounts,
                f"{within}/pods": [],
                f"{within}/secrets": [],
            }
        made = {**sent, "status": self.becomes(sent)} if sent["kind"] == "Pod" else sent
        self.collections.setdefault(path, []).append(made)
        if sent["kind"] == "Pod":
            self.at_once = max(self.at_once, len(self.collections[path]))
