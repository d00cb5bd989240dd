"""The process that enforces NetworkPolicies: it watches the API and writes rules into each node's network namespace.

python -m tests.cluster.network_policies.controller --lab DIR --kubeconfig FILE --dns ADDRESS NODE=HOLDER...

HOLDER is the name of the process that holds the node's namespaces. Rules stay when this process ends, and connections
that are there stay when rules come. A new pod is open until the API has its address and the rules are written, within a
second of its start.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlencode

from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config
from urllib3.exceptions import HTTPError

from tests.cluster.network_policies.nftables import ruleset
from tests.cluster.network_policies.rules import Pod, isolations
from tests.cluster.network_policies.selectors import Json
from tests.cluster.process import LabFailed, Process, enter, run, started_at

POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
PODS = "/api/v1/pods"
NAMESPACES = "/api/v1/namespaces"

GATHER_S = 0.05  # changes come in groups: let them become one
RETRY_S = 0.5
LOOK_AGAIN_S = 1  # for nodes that were started again, or did not take their rules
WATCH_S = 30  # the API ends a watch then; one that it does not end is broken
PATIENCE_S = (5, WATCH_S + 10)  # to connect, to wait for the next event
OK = 200


class Mirror(threading.Thread):
    """Keeps the objects of one kind as the API has them: lists, then watches, and begins anew when that ends."""

    def __init__(self, client: ApiClient, path: str, changed: threading.Event) -> None:
        super().__init__(daemon=True, name=path)
        self._client = client
        self._path = path
        self._changed = changed
        self._objects: dict[str, Json] | None = None

    @property
    def is_filled(self) -> bool:
        return self._objects is not None

    def objects(self) -> list[Json]:
        """Return the newest state of each object; the API's list items, which hold neither kind nor version."""
        return list((self._objects or {}).values())

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except (HTTPError, OSError, ValueError) as broken:
                print(f"{self._path}: {broken!r}; again", file=sys.stderr, flush=True)
                time.sleep(RETRY_S)

    def _follow(self) -> None:
        """List once, then take in changes until the API ends the watch."""
        listed = json.loads(b"".join(self._lines({})))
        objects = {each["metadata"]["uid"]: each for each in listed["items"]}
        self._objects = objects
        self._changed.set()
        since = {
            "watch": "1",
            "resourceVersion": listed["metadata"]["resourceVersion"],
            "timeoutSeconds": WATCH_S,
        }
        for line in self._lines(since):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise ValueError(event["object"].get("message", "the watch ended with an error"))
            uid = event["object"]["metadata"]["uid"]
            if event["type"] == "DELETED":
                objects.pop(uid, None)
            else:
                objects[uid] = event["object"]
            self._changed.set()

    def _lines(self, query: Mapping[str, object]) -> Iterator[bytes]:
        """Give the lines of the API's answer, as they come."""
        url = f"{self._client.configuration.host}{self._path}?{urlencode(query)}"
        response = self._client.call_api("GET", url, {}, _request_timeout=PATIENCE_S).response
        try:
            if response.status != OK:
                raise ValueError(f"the API answered {response.status}")
            rest = b""
            for piece in response.stream(2**16):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
            if rest:
                yield rest
        finally:
            response.close()  # given back to the pool half read, it would answer the next request


class Controller:
    """Writes the rules of a node when something changed that they follow from, or the node was started again."""

    def __init__(self, client: ApiClient, dns: IPv4Address, holders: Mapping[str, Process]) -> None:
        self._changed = threading.Event()
        self._mirrors = {path: Mirror(client, path, self._changed) for path in (POLICIES, PODS, NAMESPACES)}
        self._holders = holders
        self._in_force: dict[str, tuple[str, str]] = {}
        ports = {("dns", "UDP"): 53, ("dns-tcp", "TCP"): 53}
        # CoreDNS is a process of the lab, and policies mean the pods that it has elsewhere
        self._dns = Pod("kube-system", {"k8s-app": "kube-dns"}, node="", address=dns, ports=ports)

    def run(self) -> None:
        """Go on for ever."""
        for mirror in self._mirrors.values():
            mirror.start()
        while True:
            if self._changed.wait(LOOK_AGAIN_S):
                time.sleep(GATHER_S)
            self._changed.clear()
            if all(mirror.is_filled for mirror in self._mirrors.values()):
                self._write()

    def _write(self) -> None:
        pods = [self._dns, *filter(None, map(Pod.of, self._mirrors[PODS].objects()))]
        namespaces = {
            each["metadata"]["name"]: each["metadata"]["labels"]
            for each in self._mirrors[NAMESPACES].objects()
        }
        found = isolations(self._mirrors[POLICIES].objects(), pods, namespaces)
        for node, holder in self._holders.items():
            if holder.alive:
                self._put(node, holder, ruleset(each for each in found if each.node == node))

    def _put(self, node: str, holder: Process, rules: str) -> None:
        """Put rules in force on a node, if they are not. One that cannot take them now is tried again soon."""
        try:
            wanted = (started_at(holder.pid), rules)
            if self._in_force.get(node) != wanted:
                run(*enter(holder), "nft", "-f", "-", given=rules)
                self._in_force[node] = wanted
        except LabFailed as failed:
            print(f"{node}: {failed.message}\n{rules}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", required=True, type=Path)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--dns", required=True, type=IPv4Address)
    parser.add_argument("nodes", nargs="+", metavar="NODE=HOLDER")
    options = parser.parse_args(arguments)
    holders = {}
    for each in options.nodes:
        node, _, holder = each.partition("=")
        holders[node] = Process(holder, [], options.lab)
    client = new_client_from_config(options.kubeconfig)  # type: ignore[no-untyped-call]  # the library's
    Controller(client, options.dns, holders).run()


if __name__ == "__main__":
    main(sys.argv[1:])
