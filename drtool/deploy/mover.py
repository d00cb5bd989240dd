"""The Job that brings one volume back into its claim, with what it holds and where it may connect. Pure.

It has a grant of one point, URLs for that point's objects and its own key: no credentials of the store, no recovery
key, no token of the API. A database is recovered by the application's own image, which lends its programs.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from drtool.deploy.claim_job import (
    TMP,
    TMP_MOUNT,
    Runs,
    as_root,
    claim_job,
    claim_pod,
    restricted,
    security_of,
)
from drtool.deploy.hands import agent_command
from drtool.deploy.names import COMMON, VOLUME_LABEL, Object, new
from drtool.deploy.network import DNS_RULE, store_rule
from drtool.deploy.pods import (
    CLAIMS_FOLDER,
    CONTAINER,
    RESOURCES,
    SECRETS_FOLDER,
    TERMINATION_MESSAGE,
    verbatim,
)

RUN_LABEL: Final = "drtool.io/run"
COMPONENT: Final = "app.kubernetes.io/component"
HANDS: Final = "hands"  # the container that lends its programs
PIECE: Final = 900_000  # bytes of a Secret, which may hold 1 MiB

_RUN_FOLDER: Final = "/etc/drtool/run"
_GRANT_FOLDER: Final = "/etc/drtool/grant"
_HANDS_FOLDER: Final = "/hands"
_OWN: Final = 'chown "$2" "$1"'


@dataclass(frozen=True, slots=True)
class Lender:
    """The application's image that lends its programs. starts_as_root: its folder is given to its user first.

    is_non_root: its pod says so, as a namespace may demand.
    """

    image: str
    pull_secrets: tuple[str, ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    starts_as_root: bool = False
    is_non_root: bool = False


@dataclass(frozen=True, slots=True)
class Seeds:
    """The running server that is filled: how it is reached, as JSON; where it comes to be filled; its pods' labels."""

    server: str
    server_port: int
    port: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mover:
    """One mover: what it brings back, for which run, into which claim. secrets: keys of the application's Secrets.

    seeds: it has no claim, and fills a server that runs.
    """

    run: str
    volume: str
    image: str
    claim: str
    path: str
    runs: Runs
    lender: Lender | None = None
    has_ca: bool = False
    pieces: int = 1
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seeds: Seeds | None = None

    @property
    def name(self) -> str:
        """The name of all its objects; names of volumes may be long."""
        return mover_name(self.run, self.volume)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of all its objects."""
        return mover_labels(self.run, self.volume)


def mover_name(run: str, volume: str) -> str:
    """Return what the objects of a mover are called."""
    return f"drtool-mover-{volume[:30].strip('-')}-{sha256(f'{run}/{volume}'.encode()).hexdigest()[:8]}"


def settle_name(run: str, volume: str) -> str:
    """Return what the Job is called that takes the mark of a mover away."""
    return f"{mover_name(run, volume)}-end"


def mover_labels(run: str, volume: str) -> dict[str, str]:
    """Return the labels of a mover's objects."""
    return {**COMMON, COMPONENT: "mover", RUN_LABEL: run, VOLUME_LABEL: volume}


def key_secret(mover: Mover, runner: str, urls: bytes, ca: bytes | None) -> Object:
    """Return the Secret with the runner's key and the URLs, which are renewed while it works."""
    files = {"runner": runner.encode(), "urls": urls, **({} if ca is None else {"ca.pem": ca})}
    return _secret(mover.name, mover, files)


def grant_secrets(mover: Mover, grant: bytes) -> Iterator[Object]:
    """Yield the Secrets with the pieces of a grant."""
    for number, piece in enumerate(pieces_of(grant)):
        yield _secret(f"{mover.name}-grant-{number}", mover, {f"grant-{number}": piece})


def pieces_of(grant: bytes) -> list[bytes]:
    """Return a grant cut into what a Secret can hold."""
    return [grant[begin : begin + PIECE] for begin in range(0, len(grant), PIECE)]


def _secret(name: str, mover: Mover, files: Mapping[str, bytes]) -> Object:
    data = {key: b64encode(value).decode() for key, value in files.items()}
    return new("v1", "Secret", name, mover.labels, type="Opaque", data=data)


def mover_network(mover: Mover, endpoint: str | None) -> Object:
    """Return the NetworkPolicy of a mover's pods: names and the store alone; nobody comes in but whom it fills."""
    selected = {key: value for key, value in mover.labels.items() if key != COMPONENT}
    into: list[Object] = []
    back: list[Object] = []
    if mover.seeds is not None:
        server = [{"podSelector": {"matchLabels": dict(mover.seeds.labels)}}]
        into = [{"to": server, "ports": [{"protocol": "TCP", "port": mover.seeds.server_port}]}]
        back = [{"from": server, "ports": [{"protocol": "TCP", "port": mover.seeds.port}]}]
    return new(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        mover.name,
        mover.labels,
        spec={
            "podSelector": {"matchLabels": selected},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [DNS_RULE, store_rule(endpoint), *into],
            **({"ingress": back} if back else {}),
        },
    )


def settle_job(mover: Mover) -> Object:
    """Return the Job that takes the mover's mark from the claim. It waits until it is resumed; it has no secrets."""
    container: Object = {
        "name": CONTAINER,
        "image": mover.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["mover", "settle", mover.volume, "--claim", _mounted(mover), "--run", mover.run],
        "terminationMessagePath": TERMINATION_MESSAGE,
        "env": [{"name": "DRTOOL_TERMINATION_MESSAGE", "value": TERMINATION_MESSAGE}],
        "securityContext": security_of(mover.runs),
        "resources": RESOURCES,
        "volumeMounts": [_claim_mount(mover), TMP_MOUNT],
    }
    spec = {**claim_pod(mover.runs), "containers": [container], "volumes": [_claim(mover), TMP]}
    return claim_job(
        settle_name(mover.run, mover.volume), {**mover.labels, COMPONENT: "mover-end"}, spec, suspend=True
    )


def mover_job(mover: Mover) -> Object:
    """Return the Job. The claim may have no node before it: it asks of nodes what the workload asks."""
    spec: Object = {
        **claim_pod(mover.runs),
        "shareProcessNamespace": mover.lender is not None,
        "containers": [_container(mover)],
        "volumes": list(_volumes(mover)),
    }
    if mover.lender is not None:
        spec["initContainers"] = list(_lent(mover, mover.lender))
        spec["imagePullSecrets"] = [{"name": name} for name in mover.lender.pull_secrets]
    return claim_job(mover.name, mover.labels, spec)


def _container(mover: Mover) -> Object:
    arguments = ["mover", "restore", mover.volume, "--claim", _mounted(mover), "--path", mover.path]
    arguments += ["--run", mover.run, "--repository", f"urls://{_RUN_FOLDER}/urls"]
    arguments += ["--ca-file", f"{_RUN_FOLDER}/ca.pem"] if mover.has_ca else []
    arguments += ["--runner-key-file", f"{_RUN_FOLDER}/runner"]
    for number in range(mover.pieces):
        arguments += ["--grant", f"{_GRANT_FOLDER}/grant-{number}"]
    arguments += ["--hands", _HANDS_FOLDER] if mover.lender is not None else []
    if mover.seeds is not None:
        arguments += ["--into", mover.seeds.server, "--port", str(mover.seeds.port)]
    environment = {"DRTOOL_SECRETS": SECRETS_FOLDER, "DRTOOL_TERMINATION_MESSAGE": TERMINATION_MESSAGE}
    mounts = [
        *_shared(mover),
        {"name": "run", "mountPath": _RUN_FOLDER, "readOnly": True},
        {"name": "grant", "mountPath": _GRANT_FOLDER, "readOnly": True},
        *(
            {"name": f"secret-{number}", "mountPath": f"{SECRETS_FOLDER}/{name}", "readOnly": True}
            for number, name in enumerate(mover.secrets)
        ),
    ]
    return {
        "name": CONTAINER,
        "image": mover.image,
        "imagePullPolicy": "IfNotPresent",
        "args": verbatim(arguments),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "terminationMessagePath": TERMINATION_MESSAGE,
        "securityContext": security_of(mover.runs),
        "resources": RESOURCES,
        "volumeMounts": mounts,
    }


def _lent(mover: Mover, lender: Lender) -> Iterator[Object]:
    """Yield who gives the claim to the server's user, where its image does, and who lends the programs."""
    shared = {"image": lender.image, "imagePullPolicy": "IfNotPresent", "resources": dict(lender.resources)}
    if lender.starts_as_root:
        owner = f"{mover.runs.user}:{mover.runs.group}"
        yield {
            "name": "own",
            **shared,
            "command": verbatim(["sh", "-c", _OWN, "own", _mounted(mover), owner]),
            "securityContext": {**as_root(), "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
            "volumeMounts": [_claim_mount(mover)],
        }
    yield {
        "name": HANDS,
        **shared,
        "restartPolicy": "Always",
        "command": verbatim(agent_command(_HANDS_FOLDER)),
        "securityContext": as_root() if mover.runs.user == 0 else restricted(),
        "volumeMounts": _shared(mover),
    }


def _shared(mover: Mover) -> list[Object]:
    hands = [{"name": "hands", "mountPath": _HANDS_FOLDER}] if mover.lender is not None else []
    return [_claim_mount(mover), TMP_MOUNT, *hands]


def _mounted(mover: Mover) -> str:
    return f"{CLAIMS_FOLDER}/{mover.claim or 'none'}"


def _claim_mount(mover: Mover) -> Object:
    return {"name": "claim", "mountPath": _mounted(mover)}


def _claim(mover: Mover) -> Object:
    """Return the volume that the data goes to: what fills a server has a folder of its own."""
    kept = {"persistentVolumeClaim": {"claimName": mover.claim}} if mover.claim else {"emptyDir": {}}
    return {"name": "claim", **kept}


def _volumes(mover: Mover) -> Iterator[Object]:
    yield _claim(mover)
    yield TMP
    if mover.lender is not None:
        yield {"name": "hands", "emptyDir": {"sizeLimit": "16Mi"}}
    yield {"name": "run", "secret": {"secretName": mover.name}}
    sources = [{"secret": {"name": f"{mover.name}-grant-{number}"}} for number in range(mover.pieces)]
    yield {"name": "grant", "projected": {"sources": sources}}
    for number, (name, keys) in enumerate(mover.secrets.items()):
        items = [{"key": key, "path": key} for key in keys]
        yield {"name": f"secret-{number}", "secret": {"secretName": name, "items": items, "optional": True}}
