"""The health-checker of wesago: what a kubelet's probes cannot see.

Each pod's ports are tried from this pod every 30 s, and a pod that refused twice in a row is restarted. Each Ingress is
tried at the node's address every 60 s; when it fails, a person finds a line in the log.
"""

import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PODS_EVERY_S = 30
INGRESSES_EVERY_S = 60
PATIENCE_S = 5
REFUSALS = 2  # a single one may be a pod that is just going away
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def ask(method: str, api: str, resource: str) -> dict[str, Any]:
    """Return the API's answer about a resource of this namespace. Raises OSError when it refuses."""
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    connection = http.client.HTTPSConnection("kubernetes.default", timeout=PATIENCE_S, context=trusted)
    path = f"{api}/namespaces/{(ACCOUNT / 'namespace').read_text()}/{resource}"
    connection.request(method, path, headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"})
    answer = connection.getresponse()
    if answer.status >= http.client.BAD_REQUEST:
        raise OSError(f"the API answers {answer.status} to {method} {path}")
    return dict(json.loads(answer.read()))


def ready_pods() -> Iterator[tuple[str, str, list[int]]]:
    """Yield name, address and TCP ports of each pod that its kubelet calls ready."""
    for pod in ask("GET", "/api/v1", "pods")["items"]:
        conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
        if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            ports = [
                port["containerPort"]
                for container in pod["spec"]["containers"]
                for port in container.get("ports", [])
                if port["protocol"] == "TCP"
            ]
            yield pod["metadata"]["name"], pod["status"]["podIP"], ports


def is_open(address: str, port: int) -> bool:
    """Tell whether somebody accepts a connection there."""
    try:
        socket.create_connection((address, port), PATIENCE_S).close()
    except OSError:
        return False
    return True


def check_pods(refusals: Counter[str]) -> None:
    """Restart each pod that refused twice in a row; refusals holds what the last rounds saw."""
    for name, address, ports in ready_pods():
        if all(is_open(address, port) for port in ports):
            refusals.pop(name, None)
            continue
        refusals[name] += 1
        print(f"pod {name} does not answer at {address}, ports {ports}")
        if refusals[name] >= REFUSALS:
            ask("DELETE", "/api/v1", f"pods/{name}")
            del refusals[name]
            print(f"pod {name} is restarted")


def check_ingresses(node: str) -> None:
    """Visit each host of each Ingress as somebody outside of the cluster does."""
    for ingress in ask("GET", "/apis/networking.k8s.io/v1", "ingresses")["items"]:
        for host in (rule["host"] for rule in ingress["spec"]["rules"]):
            try:
                connection = http.client.HTTPConnection(node, timeout=PATIENCE_S)
                connection.request("GET", "/", headers={"Host": host})
                status = connection.getresponse().status
            except OSError as cause:
                print(f"http://{host}/ does not answer: {cause}; somebody has to look")
                continue
            if status >= http.client.BAD_REQUEST:
                print(f"http://{host}/ answers {status}; somebody has to look")


@dataclass
class Round:
    """Something to check again and again."""

    check: Callable[[], None]
    every_s: float
    due: float = 0

    def go_if_due(self, now: float) -> None:
        """Check if it is time to. An API that is away is no reason to end."""
        if now < self.due:
            return
        self.due = now + self.every_s
        try:
            self.check()
        except OSError as cause:
            print(f"a round was cut short: {cause}")


def main() -> None:
    """Go the rounds until somebody ends this pod."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    refusals: Counter[str] = Counter()
    node = os.environ["NODE_ADDRESS"]
    rounds = [
        Round(lambda: check_pods(refusals), PODS_EVERY_S),
        Round(lambda: check_ingresses(node), INGRESSES_EVERY_S),
    ]
    while True:
        for each in rounds:
            each.go_if_due(time.monotonic())
        time.sleep(1)


if __name__ == "__main__":
    main()
