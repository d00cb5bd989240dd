"""`restore --to-cluster`: plan, ask, look whether it can be, then do it step by step; go on with a run, or undo one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from drtool.errors import DrtoolError, Refused, TemporaryFailure, UsageError
from drtool.operations.cluster_restore.abort import abort_run, refuse_once_started
from drtool.operations.cluster_restore.apply import apply_objects, link_owners, put_namespace
from drtool.operations.cluster_restore.deployment import compare_deployment
from drtool.operations.cluster_restore.enrolling import enrolment_for, put_off, with_taken_over
from drtool.operations.cluster_restore.hooks import run_hook
from drtool.operations.cluster_restore.images import check_images
from drtool.operations.cluster_restore.journal import (
    begin_journal,
    make_run_name,
    open_journal,
    policy_of,
    refuse_if_moved,
    rendered_of,
)
from drtool.operations.cluster_restore.lease import held_lease
from drtool.operations.cluster_restore.leftovers import clear_left, clear_own, tell_left
from drtool.operations.cluster_restore.mover_end import prove_volume
from drtool.operations.cluster_restore.movers import restore_volume
from drtool.operations.cluster_restore.opening import open_services
from drtool.operations.cluster_restore.outcome import aborted, failed, outcome_of
from drtool.operations.cluster_restore.probes import run_probe
from drtool.operations.cluster_restore.protect import (
    enrol_new_writer,
    first_backup,
    protect_again,
)
from drtool.operations.cluster_restore.queues import treat_queues
from drtool.operations.cluster_restore.references import check_references
from drtool.operations.cluster_restore.replay import Fence, Replay
from drtool.operations.cluster_restore.restart import start_again
from drtool.operations.cluster_restore.results import Challenge, ClusterRestoreRequest, ClusterRestoreResult
from drtool.operations.cluster_restore.safety import back_up_before
from drtool.operations.cluster_restore.start import resume_cron_jobs, start_tier
from drtool.operations.cluster_restore.switch import switch_volumes
from drtool.operations.cluster_restore.unended import TOLD_FOR, unended_runs
from drtool.operations.plan import Made, PlanResult, plan_for, prepare_again
from drtool.operations.plan_target import TargetLook
from drtool.operations.record import record_run
from drtool.operations.session import Session
from drtool.recovery.journal import END, fold
from drtool.recovery.plan import Plan, from_json, to_json
from drtool.recovery.runner import Runner
from drtool.recovery.steps import Step, StepKind
from drtool.recovery.target import TargetCluster
from drtool.repository.format.crypto import random_bytes
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster

Act = Callable[[Replay, Step], Json]

_ACTIONS: Final[Mapping[StepKind, Act]] = {
    "apply": apply_objects,
    "link": link_owners,
    "restore": lambda replay, step: restore_volume(replay, step, replay.plan.wishes.image),
    "prove": prove_volume,
    "safety": back_up_before,
    "switch": switch_volumes,
    "restart": start_again,
    "start": start_tier,
    "queues": treat_queues,
    "hook": run_hook,
    "probe": run_probe,
    "references": check_references,
    "open": open_services,
    "resume": resume_cron_jobs,
    "compare": compare_deployment,
    "enrol": enrol_new_writer,
    "protect": protect_again,
    "backup": first_backup,
}


def run_cluster_restore(
    session: Session,
    request: ClusterRestoreRequest,
    confirm: Callable[[Challenge], None],
    failing: Callable[[ClusterRestoreResult], None],
) -> ClusterRestoreResult | PlanResult:
    """Bring a system into a cluster, and return how that ended; where it cannot be, the plan that says why.

    confirm is called before anything is written, and raises where nobody confirms. Raises the error of the step that
    failed: the run can then be resumed, or undone as long as nothing was started. failing is told before how far a run
    came that had begun.
    """
    if session.repository.records.keys.signing is None:
        raise Refused(
            "a restore into a cluster is journaled in the repository, and no key that may sign that is at hand",
            hint="Give the kit's file with its DRTOOL-OPERATOR- line: --recovery-key-file FILE.",
        )
    world = session.world
    with Cluster.open(request.context, world.environment, ending=world.ending) as cluster:
        if request.abort is not None:
            return _abort(session, cluster, request, confirm)
        if request.resume is not None:
            replay, began = _go_on(session, cluster, request.resume, request)
            replay = replay if request.wishes.enrol else put_off(replay)
            enrolment = enrolment_for(session, replay.plan, replay.policy, request, replay.results)
            replay = replace(replay, enrolment=enrolment)
            confirm(with_taken_over(_challenge(replay.plan, began), session, replay.plan, replay.results))
        else:
            made = plan_for(session, cluster, request.context, request.wishes)
            if made.result.plan is None:
                return made.result
            enrolment = enrolment_for(session, made.result.plan, made.policy, request)
            request = replace(request, enrolment=enrolment)
            unended = unended_runs(session, session.repository.store.now() - TOLD_FOR)
            for note in (*made.untried, *map(str, unended)):
                session.world.progress.note(note)
            tell_left(session, cluster, request.context, made.result.plan.namespace[1])
            confirm(with_taken_over(_challenge(made.result.plan), session, made.result.plan))
            replay = _begin(session, cluster, made, request)
        try:
            _execute(replay, request.machine)
        except BaseException as fault:
            failing(failed(replay, fault))
            raise
        return outcome_of(replay)


def _begin(session: Session, cluster: Cluster, made: Made, request: ClusterRestoreRequest) -> Replay:
    """Return a new run of the plan that was made, its journal begun, once the target is seen to run the images."""
    plan = made.result.plan
    if plan is None:
        raise Refused("there is no plan")
    fence = Fence()
    session, run = session.fenced(fence), make_run_name(session.world.clock(), random_bytes(3))
    plan = replace(plan, notes=(*plan.notes, *check_images(session.world, cluster, run, made)))
    journal = begin_journal(session, run, to_json(plan), made.policy, made.rendered)
    session.world.progress.note(f"this is run {run}")
    replay = Replay(session, made.policy, plan, run, cluster, made.objects, journal, fence=fence)
    return replace(replay, reopen=request.reopen, enrolment=request.enrolment, captured=made.captured)


def _go_on(
    session: Session, cluster: Cluster, run: str, request: ClusterRestoreRequest
) -> tuple[Replay, TargetCluster | None]:
    """Return a run that was begun before, and the cluster that it began in where its CA tells it from the target.

    Raises Refused for one that has ended, or was begun in another cluster.
    """
    session.world.progress.phase("reading the journal")
    fence = Fence()
    session = session.fenced(fence)
    journal, kept = open_journal(session, run)
    plan, known = from_json(kept), fold(journal.entries())
    if known.is_ended or known.is_aborted:
        raise Refused(
            f"run {run} has {'ended' if known.is_ended else 'been undone'}",
            hint="Restore anew: `drtool restore --to-cluster`.",
        )
    began, found = plan.target, _same_target(cluster, plan.target, request.context)
    plan = replace(plan, target=found)
    policy = policy_of(journal)
    objects, captured = prepare_again(session, cluster, plan, policy, rendered_of(journal))
    replay = Replay(session, policy, plan, run, cluster, objects, journal, dict(known.done), fence=fence)
    replay = replace(replay, reopen=request.reopen, enrolment=request.enrolment, captured=captured)
    return replay, began if began.has_other_authority(found) else None


def _same_target(cluster: Cluster, planned: TargetCluster, context: str) -> TargetCluster:
    """Return the target as it is seen now. Raises Refused for another than planned; who confirms judges a CA."""
    found = TargetLook(cluster, context, "").cluster()
    if not planned.is_same(found) and not planned.has_other_authority(found):
        raise Refused(
            f"{context} at {found.where} is not the cluster that this run began in: {found.seen}; then {planned.seen}",
            hint=f"That one was at {planned.where}: name its context.",
        )
    return found


def _challenge(plan: Plan, began: TargetCluster | None = None) -> Challenge:
    applied = [step for step in plan.steps if step.kind == "apply"]
    return Challenge(
        policy=plan.policy,
        target=plan.target,
        namespace=plan.namespace[1],
        applied=sum(len(step.objects) for step in applied),
        replaced=sum(len(step.replaced) for step in applied),
        switched=tuple(each.claim for each in plan.in_place),
        stopped=tuple(each for step in plan.steps if step.kind == "switch" for each in step.objects),
        began=began,
    )


def _execute(begun: Replay, machine: str) -> None:
    with _alone(begun, machine) as replay:
        if fold(replay.journal.entries()).is_aborting:
            raise Refused(
                f"run {replay.run} is being undone",
                hint=f"End that: --abort {replay.run}, then restore anew.",
            )
        clear_left(replay)
        spent = replay.session.repository.store.now() - replay.plan.made
        replay.session.world.progress.promise(replay.policy.objectives.rto, spent)
        runner = Runner(
            {kind: partial(_shown, replay, act) for kind, act in _ACTIONS.items()},
            replay.journal,
            replay.session.world.ending,
            way_on=f"Go on with `--resume {replay.run}`; until something is started, `--abort {replay.run}` undoes it.",
        )
        runner.run(replay.plan.steps, replay.results)
        clear_own(replay)
        replay.journal.write(END, "done", {})
        _record(replay)


def _record(replay: Replay) -> None:
    """Keep how each volume came back as a run record: what `status` tells, and the next plan reckons with."""
    for step in replay.plan.steps:
        result = replay.results.get(step.id, {})
        if step.kind == "restore" and "seconds" in result:
            ended = {key: result.get(key) for key in ("size", "seconds")}
            value = {"volume": step.what, "outcome": "done", "detail": step.point, "at": None, **ended}
            record_run(replay.session, "restore", value)


@contextmanager
def _alone(replay: Replay, machine: str) -> Iterator[Replay]:
    """Give the run to who works on the namespace alone: it changes nothing while nobody knows that it does.

    Once the Lease is lost it raises why, with what the run then failed with.
    """
    world, why = replay.session.world, list[TemporaryFailure]()

    def stop(fault: TemporaryFailure) -> None:
        why.append(fault)
        world.ending.set()

    put_namespace(replay)
    holder = f"run {replay.run} on {machine}"
    try:
        with held_lease(replay.cluster, replay.namespace, holder, world, stop) as assure:
            refuse_if_moved(replay.session, replay.run, replay.journal)
            replay.fence.assure = assure
            yield replace(replay, cluster=replay.cluster.fenced(assure))
    except DrtoolError as fault:
        if why and why[0].message not in fault.message:
            hint = fault.hint if why[0].hint in fault.hint else f"{why[0].hint} {fault.hint}"
            raise TemporaryFailure(f"{fault.message}; {why[0].message}", hint=hint) from fault
        raise


def _shown(replay: Replay, act: Act, step: Step) -> Json:
    """Do a step that has a line of progress of its own: others may run beside it."""
    session = replay.session
    phase = next(each for each in replay.plan.phases if step in each.steps)
    if step == phase.steps[0]:
        session.world.progress.phase(phase.name, sum(each.size for each in phase.steps) or None)
    with session.world.progress.step(step.id, step.size or None) as progress:
        world = replace(session.world, progress=progress)
        return act(replace(replay, session=replace(session, world=world)), step)


def _abort(
    session: Session, cluster: Cluster, request: ClusterRestoreRequest, confirm: Callable[[Challenge], None]
) -> ClusterRestoreResult:
    if request.abort is None:
        raise UsageError("no run was named")
    replay, began = _go_on(session, cluster, request.abort, request)
    refuse_once_started(replay)
    confirm(replace(_challenge(replay.plan, began), switched=(), stopped=()))
    with _alone(replay, request.machine) as alone:
        return aborted(alone, abort_run(alone))
