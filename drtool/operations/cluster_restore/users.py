"""Who uses the claims of a switch: looked at before anything stops, while it stops, and before each claim is switched.

A plan is made hours before its switch, and whoever keeps a workload at its replicas does not ask drtool.
"""

from collections.abc import Callable, Iterable
from typing import Final

from drtool.errors import TemporaryFailure
from drtool.operations.cluster_restore.kinds import claims_of
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.stopping import running
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.operations.plan_in_place import kept_by, standing
from drtool.operations.plan_target import TargetLook
from drtool.recovery.manifests.objects import Json, part
from drtool.recovery.refusal import refused
from drtool.recovery.unstopped import scaled_by, unstopped
from drtool.sources.kubernetes.known import PODS

_ENDED: Final = ("Succeeded", "Failed")
_PAUSE: Final = "Pause what does that, be it a controller or a person; then go on."


def refuse_changed(replay: Replay, names: Iterable[str]) -> None:
    """Return while nothing but names, which are stopped next, uses the claims. Raises Refused with all that does."""
    look = TargetLook(replay.cluster, replay.plan.target.context, replay.namespace)
    objects, claims = standing(look), {each.claim for each in replay.plan.in_place}
    kept = kept_by(look, replay.policy, objects, [*names], replay.plan.in_place)
    if found := [*unstopped(objects, claims, [*names]), *kept.refusals]:
        raise refused(found)


def refuse_started(replay: Replay, names: Iterable[str]) -> None:
    """Return while all of names is stopped. Raises TemporaryFailure with what somebody started again, and with whom."""
    again = [(name, found) for name in names if (found := running(replay, name)) is not None]
    if not again:
        return
    told = [f"{name} by {scaled_by(found) or 'somebody'}" for name, found in again]
    raise TemporaryFailure(
        f"{', '.join(told)}: started again before its volume was switched, and nothing is switched below it",
        hint=_PAUSE,
    )


def refuse_used(replay: Replay, names: Iterable[str]) -> None:
    """Return while all of names is stopped, and no pod is on the claims. Raises TemporaryFailure."""
    refuse_started(replay, names)
    if users := _at_work(replay, lambda _pod: True):
        raise TemporaryFailure(
            f"{', '.join(users)} came to use a claim before its volume was switched, and nothing is switched below it",
            hint=_PAUSE,
        )


def wait_until_unused(
    replay: Replay, names: Iterable[str], limit_s: float, counts: Callable[[Json], bool]
) -> None:
    """Return once no pod that counts is on the claims; names were stopped for that, and have to stay so."""
    deadline, stopped = Deadline(replay.session.world, limit_s), [*names]
    while users := _at_work(replay, counts):
        refuse_started(replay, stopped)
        if deadline.is_over():
            raise TemporaryFailure(
                f"{', '.join(users)} still use what is to be switched, after {limit_s:g} s",
                hint="See what keeps them, and who started them.",
            )
        deadline.wait()


def users_of(replay: Replay) -> list[Json]:
    """Return the pods on the claims that are switched, those that have ended among them."""
    claims = {each.claim for each in replay.plan.in_place}
    pods = (pod for page in replay.cluster.pages(PODS, replay.namespace) for pod in page)
    return [pod for pod in pods if claims_of(pod) & claims]


def _at_work(replay: Replay, counts: Callable[[Json], bool]) -> list[str]:
    return sorted(
        pod["metadata"]["name"]
        for pod in users_of(replay)
        if counts(pod) and part(pod, "status").get("phase") not in _ENDED
    )
