"""The WAL of one recovery: fetched, authenticated, laid out and walked, before the target is touched."""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path

from drtool.errors import Corrupt, NoRecoveryPoint, ObjectMissing, Refused
from drtool.operations.restore_job import Job
from drtool.sources.postgres.coverage import SegmentPlan
from drtool.sources.postgres.pitr import RecoveryChoice, choose_recovery, decide_stop
from drtool.sources.postgres.records import RecordWalk
from drtool.sources.postgres.recovery import Expected
from drtool.sources.postgres.staging import WAL, clear_staging, stage_history, stage_segment
from drtool.sources.postgres.survey import Survey, survey
from drtool.sources.postgres.wal import format_lsn
from drtool.sources.scratch import ScratchFolder, clear_left_trees

LOOKED_AT = "drtool-read-wal-"  # not the name that versions use whose folders have no lock
_MOST_LOOKED_AT = 256 << 20  # bytes of WAL that a dry run reads, to say what it makes


@dataclass(frozen=True, slots=True)
class Staged:
    """What the WAL of a recovery says: where it must end, and the tablespaces that it makes, places by oid.

    choice is the recovery that it is for: it ends earlier than what was asked for where damaged WAL may be left out.
    """

    choice: RecoveryChoice
    expected: Expected
    tablespaces: Mapping[str, Path]


def stage_wal(job: Job, choice: RecoveryChoice, staged: Path) -> Staged:
    """Fetch and authenticate the whole chain, lay it out, and find out where it ends.

    Raises Corrupt or ObjectMissing, naming the first object that is not what it was, unless that loss is accepted.
    """
    job.watch.phase("verifying the WAL")
    held = job.inventory.held[choice.base.lineage]
    clear_staging(staged)
    keys = job.session.repository.head_keys()
    for timeline in choice.histories:
        stage_history(staged, timeline, held.read_history(timeline, keys))
    for plan in choice.segments:
        try:
            parts = held.read_segment(plan, keys)
        except (Corrupt, ObjectMissing) as fault:
            earlier = _before(job, choice, plan)
            if earlier is None:
                raise
            job.session.world.progress.note(f"{fault.message}: the WAL from there on is left out")
            return stage_wal(job, earlier, staged)
        stage_segment(staged, plan, parts, base=choice.base)
        job.session.world.progress.advance(choice.base.wal_segment_size)
    return _expect(choice, staged)


def _before(job: Job, choice: RecoveryChoice, damaged: SegmentPlan) -> RecoveryChoice | None:
    """Return the recovery that ends where damaged begins; None where that loss is not accepted, or too early."""
    if not job.request.accept_loss or job.session.grant is not None:
        return None
    wal, begin = job.inventory.held[choice.base.lineage].wal, (damaged.timeline, damaged.start)
    left = replace(
        wal,
        complete=frozenset(each for each in wal.complete if each < begin),
        tails=[each for each in wal.tails if (each.timeline, each.start) < begin],
    )
    with suppress(NoRecoveryPoint):
        return choose_recovery([choice.base], {choice.base.lineage: left}, target=choice.target)
    return None


def look_at_wal(job: Job, choice: RecoveryChoice) -> Staged | None:
    """Return what the WAL of a recovery says, laid out for a moment; None where that is too much, or no room."""
    if sum(plan.until - plan.start for plan in choice.segments) > _MOST_LOOKED_AT:
        return None
    try:
        clear_left_trees(LOOKED_AT)
        with ScratchFolder(LOOKED_AT) as work:
            return stage_wal(job, choice, work / "staged")
    except OSError:  # a pod may have nowhere to write, and a dry run does without
        return None


def _expect(choice: RecoveryChoice, staged: Path) -> Staged:
    """Walk all of the staged WAL, record by record: that it is whole, where it ends, how PostgreSQL is to stop."""
    base = choice.base
    with ExitStack() as opened:
        walk = RecordWalk(
            [_map(opened, staged, plan, base.wal_segment_size) for plan in choice.segments],
            start=choice.segments[0].start,
            segment_size=base.wal_segment_size,
            major=base.lineage.major,
            system_identifier=base.lineage.system_identifier,
        )
        found = survey(walk, moment=choice.target, begin=base.start_lsn)
        end_lsn, is_whole, stopped = found.end_lsn, walk.is_whole, walk.stopped
    if end_lsn is None or not is_whole:
        raise Corrupt(
            f"the WAL of base backup {base.id} is broken behind {format_lsn(end_lsn or choice.segments[0].start)}: "
            f"{stopped}",
            hint="Restore a moment before it, or from another base: `drtool points` lists them.",
        )
    _refuse_minimal(found, base.id)
    _refuse_foreign_tablespaces(found)
    stop = decide_stop(choice, newest_end=found.newest_end, later_end=found.later_end)
    expected = Expected("end" if stop == "earlier" else stop, end_lsn, _witnesses(choice, end_lsn))
    return Staged(choice, expected, {oid: Path(place) for oid, place in found.tablespaces.items()})


def _map(opened: ExitStack, staged: Path, plan: SegmentPlan, segment_size: int) -> memoryview:
    """Return the valid bytes of a staged segment, without reading them into memory."""
    file = opened.enter_context((staged / WAL / plan.name(segment_size)).open("rb"))
    mapped = opened.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))
    return opened.enter_context(memoryview(mapped)[: plan.until - plan.start])


def _refuse_minimal(found: Survey, base: str) -> None:
    """Raise NoRecoveryPoint where PostgreSQL would stop amid the replay, and leave the target half-written."""
    if found.minimal is None:
        return
    raise NoRecoveryPoint(
        f"nothing can be replayed from base backup {base} beyond {format_lsn(found.minimal)}: "
        "there the server went on with wal_level = minimal",
        hint="Restore a moment before that with --at, or from a base backup taken later: `drtool points` lists them.",
    )


def _refuse_foreign_tablespaces(found: Survey) -> None:
    """Refuse a replay that would make a tablespace in a directory that holds something: production's, maybe."""
    used = [path for path in found.tablespaces.values() if Path(path).is_dir() and any(Path(path).iterdir())]
    if used:
        raise Refused(
            f"the WAL makes a tablespace in {used[0]}, which is on this machine and not empty",
            hint="PostgreSQL replays it at that very place: restore on another machine, or in a container.",
        )


def _witnesses(choice: RecoveryChoice, end_lsn: int) -> tuple[int, ...]:
    """Return what the newest mark says, cut to whole records: the server may flush in the middle of one."""
    if choice.mark is None or choice.target is not None:
        return ()
    return (min(choice.mark.flush_lsn, end_lsn),)
