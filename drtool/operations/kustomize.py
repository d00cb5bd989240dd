"""A folder of kustomize, rendered on this machine by kubectl, which asks no cluster for it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Final

from drtool.errors import Refused
from drtool.operations.session import World
from drtool.sources.base import Json

LIMIT_S: Final = 120.0
_SHOWN: Final = 500  # characters of what kubectl complains of
# What git and kubectl need to fetch the bases that a folder names; no credentials of a store or a cluster.
_HANDED_IN: Final = ("PATH", "HOME", "SSH_AUTH_SOCK", "HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy")
_HINT: Final = "Correct recovery.deploy, or take the captured manifests in its place: --as-captured."
# It takes an annotation away that nobody has, and prints all objects as JSON, read as kubectl reads them: `kubectl
# kustomize` prints YAML, of which there are several.
_COMMAND: Final = ("annotate", "--local", "--output=json", "drtool.io/none-", "--kustomize")


def render(folder: str, namespace: str, scopes: Mapping[tuple[str, str], bool], world: World) -> list[Json]:
    """Return the objects of a folder, in namespace where they name none. scopes tells which kinds are of one.

    Raises Refused for what cannot be rendered, and for an object without a name or of another namespace.
    """
    if not Path(
        folder
    ).is_dir():  # an address would be fetched: only a folder of this machine is its operator's
        raise Refused(f"recovery.deploy names {folder}, which is no folder here", hint=_HINT)
    environment = {name: world.environment[name] for name in _HANDED_IN if name in world.environment}
    try:
        done = subprocess.run(
            ["kubectl", *_COMMAND, folder],  # noqa: S607 - the operator's own
            capture_output=True,
            check=False,
            env={**environment, "KUBECONFIG": os.devnull},
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
        )
    except FileNotFoundError as fault:
        raise Refused("there is no kubectl to render recovery.deploy with", hint=_HINT) from fault
    except subprocess.TimeoutExpired as fault:
        raise Refused(f"{folder} was not rendered in {LIMIT_S:.0f} s", hint=_HINT) from fault
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[:_SHOWN]
        raise Refused(f"{folder} cannot be rendered: {said}", hint=_HINT)
    objects = _parsed(folder, done.stdout.decode())
    return [_placed(each, namespace, scopes) for each in objects]


def _parsed(folder: str, text: str) -> Sequence[Json]:
    decoder, found = JSONDecoder(), []
    rest = text.strip()
    while rest:
        try:
            item, end = decoder.raw_decode(rest)
        except JSONDecodeError as fault:
            raise Refused(f"what kubectl renders {folder} to is no JSON", hint=_HINT) from fault
        found.append(item)
        rest = rest[end:].lstrip()
    return found


def _placed(item: Json, namespace: str, scopes: Mapping[tuple[str, str], bool]) -> Json:
    metadata = dict(item["metadata"])
    name, within = metadata.get("name"), metadata.pop("namespace", namespace)
    if not metadata.get("annotations", True):
        del metadata["annotations"]  # empty: of how it was printed
    if not name:
        raise Refused(
            f"recovery.deploy renders a {item['kind']} without a name", hint="Give it a name of its own."
        )
    group = item["apiVersion"].rpartition("/")[0]
    if scopes.get((group, item["kind"]), True):
        if within != namespace:
            said = f"recovery.deploy renders {item['kind']} {name} into namespace {within}, and {namespace} comes back"
            raise Refused(said, hint=f"Name the folder that deploys {namespace}; --namespace maps it.")
        metadata["namespace"] = namespace
    return {**item, "metadata": metadata}
