"""Asks the target to apply each object of a plan and to store nothing: what it refuses is known before a write."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from drtool.errors import TemporaryFailure
from drtool.operations.cluster_restore.replay import MANAGER, RUN_LABEL
from drtool.operations.plan_target import TargetLook
from drtool.operations.session import World
from drtool.recovery.compare import Change
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.target import TargetFacts
from drtool.recovery.tried import Attempt, Said, Tried, attempts_of, judge
from drtool.recovery.webhooks import refuse_webhooks
from drtool.sources.kubernetes.faults import Answer, dead_webhook, why_forbidden

_AT_ONCE: Final = 4  # as many as are applied at once
_FORBIDDEN: Final = 403
_BY_HAND: Final = (
    "Make it in the target by hand, in a form that it takes, and plan again with --if-exists keep; or see why it is "
    "refused, and change that."
)


def try_objects(
    world: World,
    look: TargetLook,
    namespace: str,
    objects: Sequence[Prepared],
    changes: Iterable[Change],
    facts: TargetFacts,
) -> Tried:
    """Return what the target says to each of objects that a plan applies. Nothing is stored there.

    Raises what the API server raises that is away, or a webhook that does not answer.
    """
    attempts = attempts_of(objects, changes, facts)
    # Where nothing is let in at all that is one reason, and told; each object would be refused for it once more.
    if not attempts or facts.phase == "Terminating" or any(refuse_webhooks(namespace, objects, facts)):
        return Tried()
    world.progress.phase(f"trying {len(attempts)} objects in the target, which stores none of them")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tried = [pool.submit(_try, world, look, each) for each in attempts]
        try:
            said = [each.result() for each in tried]
        except TemporaryFailure as fault:
            webhook = dead_webhook(fault.message)
            if facts.phase or not webhook:
                raise
            return _so_far(attempts, tried, facts, webhook)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return judge([*zip(attempts, said, strict=True)], facts)


def _try(world: World, look: TargetLook, attempt: Attempt) -> Said | None:
    if world.ending.is_set():
        raise TemporaryFailure(
            "what comes back was not tried to its end", hint="Nothing was touched; begin anew."
        )
    answer = look.tries(attempt.body(RUN_LABEL), MANAGER)
    return Said(answer.status, answer.said, _hint(answer)) if answer is not None else None


def _hint(answer: Answer) -> str:
    return why_forbidden(answer.said) if answer.status == _FORBIDDEN else _BY_HAND


def _so_far(
    attempts: Sequence[Attempt], tried: Sequence[Future[Said | None]], facts: TargetFacts, webhook: str
) -> Tried:
    """Return what is known where a webhook answers nobody that may not be asked about the namespace to come."""
    done = [
        (attempt, each.result())
        for attempt, each in zip(attempts, tried, strict=True)
        if each.done() and not each.cancelled() and each.exception() is None
    ]
    found = judge(done, facts)
    note = f"webhook {webhook} does not answer: not all that comes back could be tried"
    return Tried(found.refusals, (*found.notes, note))
