"""A Redis volume back into a data directory: one RDB, under the target's own names, proven by starting servers."""

import os
import pwd
import shlex
from collections.abc import Iterator
from typing import Any

from drtool.errors import NotProven, Refused
from drtool.operations.restore_job import (
    Job,
    newest_before,
    pieces_of,
    refuse_newer_unreadable,
    refuse_used_directory,
)
from drtool.operations.results import RestoreResult
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Target
from drtool.sources.redis.beside import ACL_PATH, CONFIG_PATH, secrets_in
from drtool.sources.redis.prove import find_prover, prove
from drtool.sources.redis.restore import check, restore, undo


def restore_redis(job: Job) -> RestoreResult:
    """Restore the newest point not after the moment that was asked for."""
    request = job.request
    refuse_used_directory(request.directory)
    snapshot = newest_before(job)
    refuse_newer_unreadable(job, snapshot)
    contents, entries = job.open(snapshot)
    target = Target(request.directory, job.owner, _options(job))
    try:
        find_prover(target, contents.header["facts"])
    except NotProven as missing:
        raise Refused(missing.message, hint=missing.hint) from missing
    check(entries, target)
    if job.dry_run:
        return _result(job, snapshot, ())
    job.begin(snapshot, lambda: undo(entries, target))
    job.watch.phase("writing")
    restore(entries, pieces_of(job, snapshot, contents), target)
    job.watch.phase("proving")
    proofs = tuple(prove(target, contents.header["facts"]))
    return _result(job, snapshot, proofs)


def _options(job: Job) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if job.request.appendonly is not None:
        options["appendonly"] = "yes" if job.request.appendonly else "no"
    if job.request.bin_dir is not None:
        options["server"] = str(job.request.bin_dir / "redis-server")
    return options


def _owner(job: Job) -> str:
    """Return who owns what is restored: a name, or a number that has none here."""
    uid = os.geteuid() if job.owner is None else job.owner[0]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _owner_notes(job: Job) -> Iterator[str]:
    """Yield what a server needs that does not run as root, where nobody said who it runs as.

    With a grant it is a mover who restores, as the server's own user, and puts the files elsewhere.
    """
    if job.owner is None and os.geteuid() == 0 and job.session.grant is None:
        place = shlex.quote(str(job.request.directory))
        yield (
            "the files belong to root, and nobody else may read them: before the server starts, give them to the user "
            f"that it runs as, as a rule `chown -R redis: {place}`; or restore with --owner USER"
        )


def _beside_notes(job: Job) -> Iterator[str]:
    """Yield what lies beside the data and no server reads; passwords in it are named, and not shown."""
    told = [job.request.directory / name for name in (CONFIG_PATH, ACL_PATH)]
    there = [path.name for path in told if path.exists()]
    if not there:
        return
    secrets = secrets_in(told[0].read_bytes()) if told[0].exists() else []
    clear = f"; {CONFIG_PATH} holds in the clear: {', '.join(secrets)}" if secrets else ""
    tell, them, their = ("tells", "it", "its") if len(there) == 1 else ("tell", "them", "their")
    yield (
        f"{' and '.join(there)} {tell} how the captured server was set up: no server reads {them}, only {their} owner "
        f"may (mode 0600){clear}: delete {them} once yours is set up"
    )


def _result(job: Job, snapshot: Snapshot, proofs: tuple[Any, ...]) -> RestoreResult:
    seconds = job.watch.stop()
    return RestoreResult(
        volume=snapshot.volume,
        source=snapshot.source,
        point=snapshot.name,
        target=job.request.at,
        moment=snapshot.end,
        directory=str(job.request.directory),
        size=snapshot.size,
        seconds=seconds,
        phases=job.watch.phases,
        proofs=proofs,
        facts={**snapshot.facts, "owner": _owner(job)},
        notes=(*_owner_notes(job), *_beside_notes(job)),
        dry_run=job.dry_run,
    )
