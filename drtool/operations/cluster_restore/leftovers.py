"""What a run that was killed left beside what it restored: movers, pods of steps, and what these had.

They bear labels that nothing else has. What is left of a run that is over nobody needs; of one that may be gone on
with, that run takes it away at its end.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from drtool.deploy.mover import COMPONENT
from drtool.deploy.names import COMMON
from drtool.errors import DrtoolError
from drtool.operations.cluster_restore.journal import begun_about, known_runs
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.operations.session import Session
from drtool.recovery.manifests.objects import Json, part
from drtool.sources.kubernetes.checkup import kubectl
from drtool.sources.kubernetes.client import Cluster, Resource
from drtool.sources.kubernetes.known import JOBS, NETWORK_POLICIES, PODS, SECRETS
from drtool.sources.kubernetes.labels import labelled
from drtool.sources.kubernetes.writing import delete

_KINDS: Final = (JOBS, PODS, SECRETS, NETWORK_POLICIES)
_COMPONENTS: Final = ("mover", "mover-end", "once")
_NAMED: Final = 3  # objects; the statement takes all of them

Left = tuple[Resource, str]


def tell_left(session: Session, cluster: Cluster, context: str, namespace: str) -> None:
    """Say what runs left behind that may still be gone on with, or that this repository does not know."""
    left = _left_in(cluster, namespace)
    over = _over(session, left)
    for run in sorted(left.keys() - over):
        kinds = ",".join(dict.fromkeys(resource.name for resource, _ in left[run]))
        selector = f"{RUN_LABEL}={run},{COMPONENT} in ({','.join(_COMPONENTS)})"
        session.world.progress.note(
            f"run {run} left {_told(left[run])} behind in namespace {namespace}; if nobody goes on with it, "
            f"`{kubectl(context, namespace)} delete {kinds} --selector '{selector}'` takes that away"
        )


def clear_left(replay: Replay) -> None:
    """Take away what runs left that are over. Called once nobody else works in the namespace."""
    left = _left_in(replay.cluster, replay.namespace)
    for run in sorted(_over(replay.session, left)):
        _clear(replay, run, left[run])


def clear_own(replay: Replay) -> None:
    """Take away what this run left, at its end: a pod that a hook is forgiven for may not have been cleared.

    A run whose work is done does not fail for that: the next one takes away what is left.
    """
    try:
        if own := _left_in(replay.cluster, replay.namespace).get(replay.run):
            _clear(replay, replay.run, own)
    except DrtoolError as fault:
        replay.session.world.progress.note(
            f"what this run may have left in namespace {replay.namespace} was not taken away, the next restore does "
            f"that: {fault.message}"
        )


def _clear(replay: Replay, run: str, left: Sequence[Left]) -> None:
    for resource, name in left:
        delete(replay.cluster, resource, replay.namespace, name)
    replay.session.world.progress.note(f"{_told(left)}, which run {run} left behind, is taken away")


def _over(session: Session, left: Mapping[str, Sequence[Left]]) -> set[str]:
    """Return which of the runs that left something have ended, or are undone."""
    if not left:
        return set()
    days = [begun_about(run) for run in left]
    since = min((day for day in days if day is not None), default=None)
    return {each.run for each in known_runs(session, since) if each.is_over} & left.keys()


def _left_in(cluster: Cluster, namespace: str) -> dict[str, list[Left]]:
    """Return what runs made that should have gone with the step it was for, by run."""
    found: dict[str, list[Left]] = defaultdict(list)
    for resource in _KINDS:
        for item in _marked(cluster, resource, namespace):
            run = part(item, "metadata", "labels").get(RUN_LABEL)
            if run and not item["metadata"].get("ownerReferences"):  # its owner takes it with it
                found[run].append((resource, item["metadata"]["name"]))
    return found


def _marked(cluster: Cluster, resource: Resource, namespace: str) -> Iterator[Json]:
    for component in _COMPONENTS:
        yield from labelled(cluster, resource, namespace, {**COMMON, COMPONENT: component})


def _told(left: Sequence[Left]) -> str:
    named = ", ".join(f"{resource.kind} {name}" for resource, name in left[:_NAMED])
    more = len(left) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
