"""How a run ended, told from its journal: what came back, what was lost, how long it took, what was promised."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from drtool.errors import DrtoolError
from drtool.operations.cluster_restore.enrolling import command_left
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.results import (
    CheckedReferences,
    ClusterRestoreResult,
    Ending,
    Failure,
    RestoredVolume,
)
from drtool.policy.durations import brief_duration
from drtool.recovery.journal import Entry, Known, fold, phases_spent
from drtool.recovery.points import VolumePoint
from drtool.recovery.steps import started_by
from drtool.sources.base import Json, Proof

_PLANNING: Final = "planning"
_UNPROTECTED: Final = (
    "nothing protects the restored system yet: enrol a new writer, and apply what `drtool render` writes"
)


def outcome_of(replay: Replay) -> ClusterRestoreResult:
    """Return what a run that was executed to its end has brought."""
    entries = replay.journal.entries()
    volumes = tuple(_volume(replay, each) for each in replay.plan.volumes)
    took = entries[-1].time - replay.plan.made
    missed = tuple(_missed(replay, volumes, took))
    references = tuple(_references(replay))
    left = command_left(replay)
    return ClusterRestoreResult(
        run=replay.run,
        policy=replay.plan.policy,
        target=replay.plan.target,
        namespace=replay.namespace,
        outcome=_ending(references, missed, left),
        begun=replay.plan.made,
        ended=entries[-1].time,
        rto=replay.policy.objectives.rto,
        volumes=volumes,
        references=references,
        phases=_phases(replay, entries),
        steps={step: spent.total_seconds() for step, spent in fold(entries).spent.items()},
        missed=missed,
        notes=tuple(_notes(replay, left)),
        enrol_later=left,
    )


def _ending(references: Iterable[CheckedReferences], missed: Sequence[str], left: str) -> Ending:
    if not all(each.is_whole for each in references):
        return "restored, and not proven"
    if missed:
        return "restored, and an objective was missed"
    return "restored, and not protected" if left else "restored"


def failed(replay: Replay, fault: BaseException) -> ClusterRestoreResult:
    """Return how far a run came that fault ended: what of it is back, what was under way, how to go on."""
    entries = replay.journal.entries()
    known, took = fold(entries), entries[-1].time - replay.plan.made
    run, rto = replay.run, replay.policy.objectives.rto
    cause, hint = f"it was stopped: {type(fault).__name__}", ""
    if isinstance(fault, DrtoolError):
        cause, hint = fault.message, fault.hint
    return ClusterRestoreResult(
        run=run,
        policy=replay.plan.policy,
        target=replay.plan.target,
        namespace=replay.namespace,
        outcome="failed",
        begun=replay.plan.made,
        ended=entries[-1].time,
        rto=rto,
        volumes=tuple(
            _volume(replay, each) for each in replay.plan.volumes if f"restore {each.volume}" in known.done
        ),
        phases=_phases(replay, entries),
        steps={step: spent.total_seconds() for step, spent in known.spent.items()},
        missed=(f"it took {brief_duration(took)} so far, and {brief_duration(rto)} was promised",)
        if took > rto
        else (),
        notes=tuple(replay.plan.notes),
        failure=Failure(
            cause=cause,
            hint=hint,
            steps=known.unfinished,
            done=len(known.done),
            planned=len(replay.plan.steps),
            way_on=_way_on(replay, known),
        ),
    )


def _way_on(replay: Replay, known: Known) -> str:
    run, steps = replay.run, replay.plan.steps
    if not known.is_past_switch(steps):
        halted = [
            name
            for step in steps
            if step.kind == "switch" and known.was_begun(step.id)
            for name in step.objects
        ]
        what = f"{', '.join(halted)} may be stopped" if halted else "nothing was started yet"
        return f"Go on with --resume {run}, or undo it with --abort {run}: {what}."
    stopped = [
        name
        for step in steps
        if step.kind == "restart" and step.id not in known.done
        for name in step.objects
    ]
    if stopped:
        return f"Go on with --resume {run}: until then {', '.join(stopped)} may be stopped, for volumes are switched."
    runs = ", ".join(started_by(steps, known.done)) or "something"
    return f"Go on with --resume {run}: {runs} was started, so it cannot be undone any more."


def _phases(replay: Replay, entries: Sequence[Entry]) -> dict[str, float]:
    """Return the seconds of each phase; the planning before the first holds preflight, images, and who confirmed."""
    planned = max(entries[0].time - replay.plan.made, timedelta(0))
    spent = {_PLANNING: planned, **phases_spent(entries, replay.plan.phases)}
    return {name: each.total_seconds() for name, each in spent.items()}


def aborted(replay: Replay, undone: Json) -> ClusterRestoreResult:
    """Return what the abort of a run says."""
    entries = replay.journal.entries()
    return ClusterRestoreResult(
        run=replay.run,
        policy=replay.plan.policy,
        target=replay.plan.target,
        namespace=replay.namespace,
        outcome="aborted",
        begun=replay.plan.made,
        ended=entries[-1].time,
        rto=replay.policy.objectives.rto,
        notes=(
            *(f"volume {name} is kept, as its storage class says" for name in undone["kept_volumes"]),
            *_written(replay),
        ),
        undone=undone,
    )


def _written(replay: Replay) -> Iterator[str]:
    """Yield what an abort cannot take back: data in claims that were there before."""
    known = fold(replay.journal.entries())
    for step in replay.plan.steps if replay.plan.wishes.if_exists == "keep" else ():
        if step.kind == "restore" and known.was_begun(step.id):
            yield f"what {step.what} wrote into a claim that was there before stays: empty it"


def _volume(replay: Replay, point: VolumePoint) -> RestoredVolume:
    result: dict[str, Any] = replay.results.get(f"restore {point.volume}", {})
    moment = datetime.fromisoformat(result["moment"]) if result.get("moment") else point.moment
    return RestoredVolume(
        volume=point.volume,
        source=point.source,
        point=point.point,
        moment=moment,
        loss=point.loss + (point.moment - moment),
        rpo=replay.policy.rpo(replay.policy.volume(point.volume)),
        size=int(result.get("size", point.size)),
        seconds=float(result.get("seconds", 0.0)),
        proofs=tuple(
            Proof(each["name"], each["ok"], each["expected"], each["actual"])
            for each in result.get("proofs", ())
        ),
    )


def _references(replay: Replay) -> Iterator[CheckedReferences]:
    for each in replay.policy.recovery.references:
        found = replay.results.get(f"references {each.name}")
        if found is not None:
            told: dict[str, Any] = {**found, "first": tuple(found.get("first", ()))}
            yield CheckedReferences(each.name, each.database, each.files, **told)


def _missed(replay: Replay, volumes: tuple[RestoredVolume, ...], took: timedelta) -> Iterator[str]:
    for each in volumes:
        if each.source != "manifests" and each.loss > each.rpo:
            lost, promised = brief_duration(each.loss), brief_duration(each.rpo)
            yield f"volume {each.volume} lost {lost}, and {promised} was promised"
    rto = replay.policy.objectives.rto
    if took > rto:
        yield f"it took {brief_duration(took)}, and {brief_duration(rto)} was promised"
    max_skew = replay.policy.objectives.max_skew
    if max_skew is not None and replay.plan.skew > max_skew:
        yield f"the volumes are {brief_duration(replay.plan.skew)} apart, and {brief_duration(max_skew)} was promised"


def _notes(replay: Replay, left: str) -> Iterator[str]:
    if left:  # first: all else can be looked at while backups run again
        yield (
            f"nothing is backed up until `{left}` is run, and what `drtool render` writes is applied with that bundle"
        )
    yield from replay.plan.notes
    for result in replay.results.values():
        yield from result.get("notes", ())
    is_on_its_own = any(step.kind == "backup" for step in replay.plan.steps) or replay.plan.in_place
    if not is_on_its_own and not left:  # in place, the notes of the plan say what of it lost its writer
        yield _UNPROTECTED
