"""Which base backup, and which WAL, a restore of PostgreSQL takes: of what may be chosen, and is whole."""

from collections.abc import Mapping
from datetime import datetime

from drtool.errors import Corrupt, NoRecoveryPoint, ObjectMissing, Refused, UsageError
from drtool.operations.marks import lost_wal
from drtool.operations.restore_job import Job
from drtool.operations.whole import no_older, not_whole
from drtool.policy.moments import exact
from drtool.sources.postgres.pitr import RecoveryChoice, choose_recovery


def refuse_wal_after_head(as_of: str | None, at: datetime | None) -> None:
    """Return when no WAL can be replayed that a head did not know. Raises UsageError."""
    if as_of is not None and at is None:
        raise UsageError(
            "--as-of leaves out points, but not the WAL that came after the head",
            hint="Name a moment before the head as well: --at TIME.",
        )


def choose(job: Job) -> RecoveryChoice:
    """Return the base, the path and the WAL that lead to what was asked for. Raises NoRecoveryPoint, Refused."""
    refuse_wal_after_head(job.request.as_of, job.request.at)
    choice = _whole_choice(job)
    _check_witness(job, choice)
    return choice


def _whole_choice(job: Job) -> RecoveryChoice:
    """Return the choice, from an older base where something of the newer one is gone and the WAL leads as far.

    Raises Refused, naming what is gone, where it does not, unless that loss is accepted.
    """
    wal = {lineage: each.wal for lineage, each in job.inventory.held.items()}
    bases, lacking = list(job.inventory.bases), dict[str, Corrupt | ObjectMissing]()
    first = choice = choose_recovery(bases, wal, target=job.request.at)
    while (fault := job.fault_of(job.inventory.snapshots[choice.base.id])) is not None:
        lacking[choice.base.id] = fault
        bases = [base for base in bases if base.id not in lacking]
        try:
            choice = choose_recovery(bases, wal, target=job.request.at)
        except NoRecoveryPoint:
            way = no_older(job.request.volume, "is whole and leads there")
            raise _not_whole(job, first, lacking, way) from lacking[first.base.id]
    if not (_leads_as_far(choice, first) or job.request.accept_loss):
        way = (
            f"The newest one that is whole, {choice.base.id}, leads to {exact(choice.newest)}: take that with"
        )
        raise _not_whole(job, first, lacking, f"{way} --accept-loss.") from lacking[first.base.id]
    job.not_whole.update({name: each.message for name, each in lacking.items()})
    return choice


def _leads_as_far(choice: RecoveryChoice, other: RecoveryChoice) -> bool:
    if choice.base.lineage != other.base.lineage or choice.timeline != other.timeline:
        return False
    return choice.target is not None or choice.end_lsn >= other.end_lsn


def _not_whole(
    job: Job, choice: RecoveryChoice, lacking: Mapping[str, Corrupt | ObjectMissing], way: str
) -> Refused:
    return not_whole(job.inventory.snapshots[choice.base.id], lacking[choice.base.id], way)


def _check_witness(job: Job, choice: RecoveryChoice) -> None:
    """Refuse when somebody saw more durable WAL than the store shows now, unless that loss is accepted."""
    if job.request.at is not None or job.request.accept_loss:
        return
    volume, held = job.request.volume, job.inventory.held[choice.base.lineage]
    loss = lost_wal(job.session, held, choice, volume)
    if loss is not None:
        raise Refused(loss.message, hint=loss.hint)
