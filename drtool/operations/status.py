"""`status`: what would be lost now, volume by volume, computed from what is durable in the store."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from drtool.operations.points import points_of, take_inventory
from drtool.operations.results import Point, Status, VolumeStatus
from drtool.operations.session import Session
from drtool.policy.cadence import cadence
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, RedisVolume, Volume
from drtool.repository.format.names import parse_json_time
from drtool.repository.records import Record
from drtool.repository.runs import read_runs, run_kind

_PROVEN_WITHIN = timedelta(days=180)
_RUNS_SINCE = timedelta(days=400)
_VERIFIED = ("verify", "restore", "drill")


def run_status(session: Session) -> Status:
    """Return how the policy stands. Reads listings and signed records; no recovery key is needed."""
    policy = session.need_policy()
    now = session.repository.store.now()
    runs = [
        run for run in read_runs(session.repository.records, now - _RUNS_SINCE) if isinstance(run, Record)
    ]
    volumes = tuple(_volume_status(session, policy, volume, runs, now) for volume in policy.volumes)
    config = session.repository.config
    proven = max((run.received for run in runs if run_kind(run) == "prove"), default=None)
    return Status(
        policy=policy.name,
        repository=config.repository,
        at=now,
        volumes=volumes,
        recipients=tuple(entry.name for entry in config.recipients),
        last_proven=proven,
        faults=tuple(_faults(volumes, runs, proven, parse_json_time(config.made), now)),
        warnings=tuple(_warnings(len(config.recipients), proven)),
    )


def _volume_status(
    session: Session, policy: Policy, volume: Volume, runs: list[Record], now: datetime
) -> VolumeStatus:
    points = [point for point in _points(session, volume) if point.state == "listed"]
    newest = max((_restorable(point) for point in points), default=None)
    rpo = policy.rpo(volume)
    exposure = max(now - newest, timedelta(0)) if newest else None
    return VolumeStatus(
        volume=volume.name,
        source=volume.source,
        newest=newest,
        exposure=exposure,
        rpo=rpo,
        inside=exposure is not None and exposure <= rpo,
        points=len(points),
        next_run=_next_run(policy, volume, points, now),
        last_verified=_last(runs, volume.name, _VERIFIED, "done"),
        last_failure=_last_failure(runs, volume.name),
    )


def _points(session: Session, volume: Volume) -> list[Point]:
    if volume.name not in session.repository.config.volumes:
        return []
    return list(points_of(take_inventory(session, volume.name)))


def _restorable(point: Point) -> datetime:
    """Return the moment up to which nothing is lost: a walked volume's is where its walk began."""
    return point.end if point.source == "postgres" else point.begin


def _next_run(policy: Policy, volume: Volume, points: list[Point], now: datetime) -> datetime | None:
    if not isinstance(volume, PostgresVolume | RedisVolume):
        return None
    return cadence(policy, volume).schedule.next(max((point.begin for point in points), default=now))


def _last(runs: list[Record], volume: str, kinds: tuple[str, ...], outcome: str) -> datetime | None:
    fitting = (
        run.received
        for run in runs
        if run_kind(run) in kinds
        and run.value.get("outcome") == outcome
        and volume in (run.value.get("volume"), *run.value.get("volumes", ()))
    )
    return max(fitting, default=None)


def _last_failure(runs: list[Record], volume: str) -> str:
    """Return what the last backup or catch-up of volume failed with, if it did not end well."""
    told = ""
    for run in runs:
        if run.value.get("volume") == volume and run_kind(run) in ("backup", "wal"):
            failed = run.value.get("outcome") in ("failed", "gap")
            told = str(run.value.get("error") or run.value.get("detail") or "") if failed else ""
    return told


def _faults(
    volumes: tuple[VolumeStatus, ...],
    runs: list[Record],
    proven: datetime | None,
    made: datetime,
    now: datetime,
) -> Iterator[str]:
    for volume in volumes:
        if volume.newest is None:
            yield f"{volume.volume} has no restorable point: run `drtool backup {volume.volume}`"
    if now - (proven or made) > _PROVEN_WITHIN:
        yield "no recovery key was proven for 180 days: type one into `drtool keys prove`"
    for run in _failed_verifications(runs):
        yield f"the verification of {run.received:%Y-%m-%d %H:%M} UTC found faults: run `drtool verify`"


def _failed_verifications(runs: list[Record]) -> list[Record]:
    """Return the newest verification, if it found faults."""
    newest = [run for run in runs if run_kind(run) == "verify"][-1:]
    return [run for run in newest if run.value.get("outcome") == "failed"]


def _warnings(recipients: int, proven: datetime | None) -> Iterator[str]:
    if recipients == 1:
        yield "there is one recipient only: if its recovery key is lost, so is everything"
    if proven is None:
        yield "no recovery key was ever proven: type one into `drtool keys prove`"
