"""`status`: what would be lost now, volume by volume, computed from what is durable in the store.

The bucket and a reader's bundle are enough: the newest run tells the policy, where none is given.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from drtool.operations.cluster_restore.unended import stopped_runs
from drtool.operations.gaps import standing_gap
from drtool.operations.lateness import Late, Seen, lateness
from drtool.operations.limits import not_in_force
from drtool.operations.points import Inventory, lost_of, points_of, take_inventory
from drtool.operations.protection import protection_of
from drtool.operations.results import Point, Protection, Status, VolumeStatus
from drtool.operations.session import Session
from drtool.operations.told_policy import policy_in_force, tells_policy
from drtool.policy.cadence import cadence
from drtool.policy.moments import to_second
from drtool.policy.schema import Policy
from drtool.policy.take_over import TAKE_OVER
from drtool.policy.volumes import FilesVolume, ManifestsVolume, PostgresVolume, RedisVolume, Volume
from drtool.repository.config import Config
from drtool.repository.format.names import parse_json_time
from drtool.repository.records import Record, arrival
from drtool.repository.runs import list_runs, read_runs_that_tell, run_kind

_PROVEN_WITHIN = timedelta(days=180)
_RUNS_SINCE = timedelta(days=400)
_OFTEN_SINCE = timedelta(days=30)  # for backups and WAL: older ones tell nothing of today
_VERIFIED = ("verify", "restore", "drill")


def run_status(session: Session) -> Status:
    """Return how the policy stands. Reads listings and signed records; no recovery key is needed.

    Raises UsageError where no policy was given, and no run has told one yet.
    """
    now = session.repository.store.now()
    records, since = session.repository.records, now - _RUNS_SINCE
    listed = list_runs(records, since)
    runs = read_runs_that_tell(records, since, now - _OFTEN_SINCE, _all_backed_up(session), listed)
    policy, policy_of = policy_in_force(session, runs)
    protection = protection_of(runs, now)
    seen = [_volume_status(session, policy, volume, runs, now) for volume in policy.volumes]
    volumes = tuple(replace(volume, history=protection.state) for volume, _ in seen)
    late = [each for _, found in seen for each in found]
    config = session.repository.config
    proven = max((run.received for run in runs if _is_proof_of_a_key(run)), default=None)
    return Status(
        policy=policy.name,
        repository=config.repository,
        at=now,
        volumes=volumes,
        recipients=tuple(entry.name for entry in config.recipients),
        last_proven=proven,
        faults=(
            *_unseen_writers(session),
            *_without_points(volumes, config),
            *_faults(runs, proven, parse_json_time(config.made), now),
            *(each.text for each in late if each.red),
        ),
        warnings=(
            *(each.text for each in late if not each.red),
            *_limits(policy, config),
            *_warnings(len(config.recipients), proven),
            *_weaknesses(protection, policy.repository.url),
            *map(str, stopped_runs(session, now, listed)),
        ),
        policy_of=policy_of,
        protection=protection,
    )


def _all_backed_up(session: Session) -> Callable[[Record], bool]:
    """Return what tells, newest run first, whether a backup of each volume was among those that it was shown."""
    known, found, policy = set(session.repository.config.volumes), set[str](), session.policy

    def is_enough(run: Record) -> bool:
        nonlocal policy
        if policy is None and tells_policy(
            run
        ):  # the newest: it is in force, and what left it is backed up no more
            policy = policy_in_force(session, [run])[0]
        if run_kind(run) == "backup" and run.value.get("outcome") == "done":
            found.add(str(run.value.get("volume")))
        return known.intersection(each.name for each in policy.volumes) <= found if policy else known <= found

    return is_enough


def _volume_status(
    session: Session, policy: Policy, volume: Volume, runs: list[Record], now: datetime
) -> tuple[VolumeStatus, list[Late]]:
    is_known = volume.name in session.repository.config.volumes
    inventory = take_inventory(session, volume.name) if is_known else None
    points = [point for point in points_of(inventory) if point.state == "listed"] if inventory else []
    newest = max((_restorable(point) for point in points), default=None)
    wal = _last_received(session, volume.name) if newest is not None and volume.source == "postgres" else None
    if newest is not None and wal is not None:
        newest = min(newest, wal)
    rpo = policy.rpo(volume)
    exposure = max(now - newest, timedelta(0)) if newest else None
    next_run = _next_run(policy, volume, points, now)
    late = [*_since_restored(session, volume, points, now)]
    if inventory is not None:
        late += [*_lost(session, inventory), *_gap(inventory, points, runs)]
    if next_run is not None and newest is not None:
        late += lateness(policy, volume, Seen(next_run, _spent(runs, volume.name), wal), now)
    verified = _last(runs, volume.name, _VERIFIED, "done")
    status = VolumeStatus(
        volume=volume.name,
        source=volume.source,
        newest=newest,
        exposure=exposure,
        rpo=rpo,
        inside=exposure is not None and exposure <= rpo,
        points=len(points),
        next_run=next_run,
        last_verified=verified.received if verified else None,
        last_failure=_last_failure(runs, volume.name),
        verified_by=str(verified.value.get("level") or run_kind(verified)) if verified else "",
        overdue=tuple(each.text for each in late),
    )
    return status, late


def _since_restored(session: Session, volume: Volume, points: list[Point], now: datetime) -> Iterator[Late]:
    """Yield that all points are of writers that ended: what was written since a restore is in none of them."""
    if points and all(session.repository.config.ended(point.writer, now) for point in points):
        told = f"{volume.name} has no point since the system was restored: run `drtool backup {volume.name}`"
        yield Late(told, red=True)


def _lost(session: Session, inventory: Inventory) -> Iterator[Late]:
    """Yield what somebody saw durable of PostgreSQL's WAL, and the store does not hold any more."""
    lost = lost_of(session, inventory)
    if lost is not None:
        mend = f"look at it with `drtool verify --level L0`, then run `drtool backup {inventory.volume}`"
        yield Late(f"{lost[1]}: {mend}", red=True)


def _gap(inventory: Inventory, points: list[Point], runs: list[Record]) -> Iterator[Late]:
    """Yield a gap in the WAL that no base backup has been taken behind."""
    gap = standing_gap(inventory, {point.name for point in points}, runs)
    if gap is not None:
        yield Late(gap, red=True)


def _restorable(point: Point) -> datetime:
    """Return the moment up to which nothing is lost: a walked volume's is where its walk began."""
    return point.end if point.source == "postgres" else point.begin


def _last_received(session: Session, volume: str) -> datetime:
    """Return when the store last received WAL of volume: by its clock, for the server's own may run ahead."""
    store = session.repository.store
    listed = (found.modified for kind in ("wal", "tail") for found in store.list(f"{kind}/{volume}/"))
    return max(listed, default=datetime.min.replace(tzinfo=UTC))


def _next_run(policy: Policy, volume: Volume, points: list[Point], now: datetime) -> datetime | None:
    if not isinstance(volume, PostgresVolume | RedisVolume | FilesVolume | ManifestsVolume):
        return None
    if not points:  # as `drtool backup --due` has it
        return now
    return cadence(policy, volume).schedule.next(max(point.begin for point in points))


def _last(runs: list[Record], volume: str, kinds: tuple[str, ...], outcome: str) -> Record | None:
    fitting = (
        run
        for run in runs
        if run_kind(run) in kinds
        and run.value.get("outcome") == outcome
        and volume in (run.value.get("volume"), *run.value.get("volumes", ()))
    )
    return max(fitting, key=arrival, default=None)


def _spent(runs: list[Record], volume: str) -> timedelta:
    """Return how long the last backup of volume took."""
    last = _last(runs, volume, ("backup",), "done")
    seconds = last.value.get("seconds") if last else None
    return timedelta(seconds=seconds) if isinstance(seconds, int | float) else timedelta(0)


def _last_failure(runs: list[Record], volume: str) -> str:
    """Return what the newest backup of volume, or the newest catch-up of its WAL, failed with; the same once."""
    newest = {
        run_kind(run): run for run in runs if run.value.get("volume") == volume and run_kind(run) != "restore"
    }
    failed = [run.value for run in newest.values() if run.value.get("outcome") == "failed"]
    return "; ".join(dict.fromkeys(str(value.get("error") or value.get("detail") or "") for value in failed))


def _is_proof_of_a_key(run: Record) -> bool:
    """Return whether run says that a key was typed and opened something; a writer cannot say that."""
    return run_kind(run) == "prove" and run.role == "operator" and run.value.get("outcome") == "done"


def _unseen_writers(session: Session) -> Iterator[str]:
    """Yield that there are writers whose records the keys at hand do not open: they enrolled later."""
    writers, held = session.repository.config.writers, session.repository.records.keys.list_keys
    if len(held) < len(writers):
        yield (
            f"these keys show what {len(held)} of {len(writers)} writers wrote: "
            "have a new bundle made with `drtool keys reader`"
        )


def no_point(volume: str) -> str:
    """Return the fault of a volume that has no point to restore."""
    return f"{volume} has no restorable point: run `drtool backup {volume}`"


def _without_points(volumes: tuple[VolumeStatus, ...], config: Config) -> Iterator[str]:
    for volume in volumes:
        if volume.volume not in config.volumes:
            yield f"{volume.volume} came into the policy after the repository was made: run `{TAKE_OVER}`"
        elif volume.newest is None:
            yield no_point(volume.volume)


def _limits(policy: Policy, config: Config) -> Iterator[str]:
    """Yield a line for each volume whose limits the policy raised, and the repository has not taken over."""
    for volume in policy.volumes:
        if found := "; ".join(not_in_force(config, volume)):
            yield f"{volume.name}: {found}"


def _faults(runs: list[Record], proven: datetime | None, made: datetime, now: datetime) -> Iterator[str]:
    if now - (proven or made) > _PROVEN_WITHIN:
        yield "no recovery key was proven for 180 days: type one into `drtool keys prove`"
    for run in _failed_verifications(runs):
        level, when = run.value.get("level"), to_second(run.received)
        yield f"the verification {level} of {when} found faults: run `drtool verify --level {level}`"


def _failed_verifications(runs: list[Record]) -> list[Record]:
    """Return the newest verification of each level that found faults, unless a later one cleared it.

    A weaker level does not clear a stronger one, nor does a share, which read other objects, clear anything.
    """
    failed: dict[str, Record] = {}
    for run in runs:
        if run_kind(run) != "verify":
            continue
        if run.value.get("share", 1.0) == 1.0:
            failed = {level: each for level, each in failed.items() if level > str(run.value.get("level"))}
        if run.value.get("outcome") == "failed":
            failed[str(run.value.get("level"))] = run
    return list(failed.values())


def _warnings(recipients: int, proven: datetime | None) -> Iterator[str]:
    if recipients == 1:
        yield "there is one recipient only: if its recovery key is lost, so is everything"
    if proven is None:
        yield "no recovery key was ever proven: type one into `drtool keys prove`"


def _weaknesses(protection: Protection, url: str) -> Iterator[str]:
    """Yield what an intruder could do, in one line with what mends all of it; how that is known, protection tells."""
    found = list(protection.weaknesses)
    mend = "give these credentials what `drtool keys s3-policy writer` prints"
    if protection.state == "not protected":
        found.insert(0, "who takes over the cluster can destroy earlier backups")
        mend = f"keep versions in the bucket, and {mend}"
    if found:
        yield f"{'; '.join(found)}: {mend if url.startswith('s3:') else 'only a bucket can refuse that'}"
