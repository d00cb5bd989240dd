"""What enrolling a new writer takes, gathered and looked at before anything is written; or that it is put off."""

import shlex
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from drtool.deploy.overlay import objects_of
from drtool.deploy.secrets import own_keys
from drtool.errors import Refused, UsageError
from drtool.operations.cluster_restore.replay import Enrolment, Replay
from drtool.operations.cluster_restore.results import Challenge, ClusterRestoreRequest
from drtool.operations.enrol import check_admin
from drtool.operations.limits import taken_over
from drtool.operations.session import Session, store_ca
from drtool.policy.schema import Policy
from drtool.policy.secret import KubernetesReference
from drtool.recovery.plan import Plan
from drtool.recovery.steps import enrols, without_protection
from drtool.recovery.wishes import needs_writer

_TAKES_KEYS: Final = ("enrol", "protect")  # the steps that read the admin's key, or the folder
_REGION: Final = "us-east-1"  # of a store that names none


def enrolment_for(
    session: Session,
    plan: Plan,
    policy: Policy,
    request: ClusterRestoreRequest,
    done: Collection[str] = (),
) -> Enrolment | None:
    """Return what the steps of a plan that are not done enrol a new writer with, None where they need nothing.

    Asks for it where it was not given. Raises Refused, WrongKey, UsageError, and nothing was written then.
    """
    if not enrols(plan.phases):
        if request.enrolment is not None:
            raise _needless(plan, policy)
        return None
    if all(step.id in done for step in plan.steps if step.kind in _TAKES_KEYS):
        return request.enrolment
    files = own_files(policy)
    enrolment = request.enrolment or request.ask_enrolment(files)
    refuse_unready(session, plan, policy, enrolment)
    return enrolment


def _needless(plan: Plan, policy: Policy) -> UsageError:
    if needs_writer(policy, plan.wishes):
        return UsageError(
            "this run was begun with --enrol later: it enrols no new writer",
            hint="Leave --admin-key-file and --writer-secrets out; enrol with `drtool keys enrol` once it has ended.",
        )
    return UsageError(
        "a part of a system enrols no new writer: the one before goes on to protect the rest",
        hint="Leave --admin-key-file and --writer-secrets out, or restore all volumes.",
    )


def refuse_unready(session: Session, plan: Plan, policy: Policy, enrolment: Enrolment) -> None:
    """Return when a new writer can be enrolled with what is at hand. Raises Refused, WrongKey, UsageError."""
    check_admin(session, enrolment.admin())
    missing = [each for each in own_files(policy) if not (enrolment.secrets / each).is_file()]
    if missing:
        raise Refused(
            f"{enrolment.secrets} lacks {', '.join(missing)}, which the new writer logs in with",
            hint="Put a file there for each, as `drtool render` says; or enrol later: --enrol later.",
        )
    namespace = plan.namespace[1]
    # What cannot be made of the policy is refused now: at the end of the run nobody could mend it.
    objects_of(policy_there(policy, namespace), plan.wishes.image, namespace)


def own_files(policy: Policy) -> tuple[str, ...]:
    """Return the files that a person has to put into the folder of drtool's own Secrets: all but the new bundle.

    Raises UsageError for a policy whose secrets no pod has.
    """
    try:
        return tuple(_own_files(policy))
    except UsageError as fault:
        raise UsageError(
            fault.message, hint=f"{fault.hint} Or restore with --enrol later, and enrol by hand."
        ) from fault


def _own_files(policy: Policy) -> Iterator[str]:
    for secret, keys in own_keys(policy).items():
        yield from (f"{secret}/{key}" for key in keys if not is_bundle(policy, secret, key))


def is_bundle(policy: Policy, secret: str, key: str) -> bool:
    """Return whether that is the Secret of the writer's bundle, which the enrolment makes."""
    return policy.repository.writer == KubernetesReference(secret=secret, key=key)


def policy_there(policy: Policy, namespace: str) -> Policy:
    """Return the policy as it holds in the target: in the namespace that was restored into."""
    kubernetes = policy.kubernetes
    if kubernetes is None or kubernetes.namespace == namespace:
        return policy
    return policy.model_copy(update={"kubernetes": kubernetes.model_copy(update={"namespace": namespace})})


def with_taken_over(
    challenge: Challenge, session: Session, plan: Plan, done: Collection[str] = ()
) -> Challenge:
    """Return challenge with what the new writer's config, where one is yet to come, takes over of the given policy."""
    is_to_come = any(step.kind == "enrol" and step.id not in done for step in plan.steps)
    return replace(
        challenge,
        taken_over=tuple(taken_over(session.repository.config, session.policy)) if is_to_come else (),
    )


def put_off(replay: Replay) -> Replay:
    """Return a run that was to enrol a new writer, and leaves that to a person. Raises UsageError once it has begun."""
    if not enrols(replay.plan.phases):
        return replay
    if any("bundle" in each.detail for each in replay.journal.entries()):
        raise UsageError(
            f"run {replay.run} has begun to enrol a new writer",
            hint="Give --admin-key-file and --writer-secrets, and leave --enrol later out.",
        )
    return replace(replay, plan=replace(replay.plan, phases=without_protection(replay.plan.phases)))


def command_left(replay: Replay) -> str:
    """Return the statement that a person has to run before anything is backed up; "" where there is none."""
    if enrols(replay.plan.phases) or not needs_writer(replay.policy, replay.plan.wishes):
        return ""
    settings = replay.session.settings or replay.policy.repository
    file = store_ca(settings, replay.session.world)
    place = [
        *("--repository", settings.url),
        *(("--endpoint", settings.endpoint) if settings.endpoint else ()),
        *(("--region", settings.region) if settings.region not in (None, _REGION) else ()),
        *(("--ca-file", str(file.absolute())) if file else ()),  # from wherever it is typed
    ]
    sheets = "--recovery-key-file KIT --admin-key-file ADMIN-SHEET --bundle NEW-FILE"
    return f"drtool keys enrol {shlex.join(place)} {sheets}"
