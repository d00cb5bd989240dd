"""The WAL of one recovery: fetched, authenticated, laid out and walked, before the target is touched."""

from contextlib import ExitStack
from mmap import ACCESS_READ, mmap
from pathlib import Path

from drtool.errors import Corrupt, Refused
from drtool.operations.restore_job import Job
from drtool.sources.postgres.coverage import SegmentPlan
from drtool.sources.postgres.pitr import RecoveryChoice, decide_stop
from drtool.sources.postgres.records import RecordWalk
from drtool.sources.postgres.recovery import Expected
from drtool.sources.postgres.staging import WAL, clear_staging, stage_history, stage_segment
from drtool.sources.postgres.survey import Survey, survey
from drtool.sources.postgres.wal import format_lsn


def stage_wal(job: Job, choice: RecoveryChoice, staged: Path) -> Expected:
    """Fetch and authenticate the whole chain, lay it out, and find out where it ends."""
    job.watch.phase("verifying the WAL")
    held = job.inventory.held[choice.base.lineage]
    clear_staging(staged)
    keys = job.session.repository.head_keys()
    for timeline in choice.histories:
        stage_history(staged, timeline, held.read_history(timeline, keys))
    for plan in choice.segments:
        stage_segment(staged, plan, held.read_segment(plan, keys), base=choice.base)
        job.session.world.progress.advance(choice.base.wal_segment_size)
    return _expect(choice, staged)


def _expect(choice: RecoveryChoice, staged: Path) -> Expected:
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
        found = survey(walk, moment=choice.target)
        end_lsn, is_whole, stopped = found.end_lsn, walk.is_whole, walk.stopped
    if end_lsn is None or not is_whole:
        raise Corrupt(
            f"the WAL of base backup {base.id} is broken behind {format_lsn(end_lsn or choice.segments[0].start)}: "
            f"{stopped}",
            hint="Restore a moment before it, or from another base: `drtool points` lists them.",
        )
    _refuse_foreign_tablespaces(found)
    stop = decide_stop(choice, newest_end=found.newest_end, later_end=found.later_end)
    return Expected("end" if stop == "earlier" else stop, end_lsn, _witnesses(choice, end_lsn))


def _map(opened: ExitStack, staged: Path, plan: SegmentPlan, segment_size: int) -> memoryview:
    """Return the valid bytes of a staged segment, without reading them into memory."""
    file = opened.enter_context((staged / WAL / plan.name(segment_size)).open("rb"))
    mapped = opened.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))
    return opened.enter_context(memoryview(mapped)[: plan.until - plan.start])


def _refuse_foreign_tablespaces(found: Survey) -> None:
    """Refuse a replay that would make a tablespace in a directory that holds something: production's, maybe."""
    used = [path for path in found.tablespaces if Path(path).is_dir() and any(Path(path).iterdir())]
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
