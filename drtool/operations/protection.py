"""Whether history is protected from who takes over the cluster: probed with the writer's own credentials, once a day.

A reader outside can only say what a writer found. A cluster that was taken over can lie from then on; what it recorded
before stays, with the time at which the store received it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from drtool.errors import DrtoolError
from drtool.operations.record import record_run
from drtool.operations.results import Protection
from drtool.operations.session import Session
from drtool.repository.records import Record, arrival
from drtool.repository.runs import newest_run, run_kind
from drtool.repository.storage.probe import probe_store

_EVERY: Final = timedelta(days=1)
_STALE: Final = timedelta(days=30)  # credentials and the bucket's rules may have changed since


def probe_daily(session: Session) -> None:
    """Probe the store and record what was found, unless that was done within a day. Never fails a backup."""
    repository = session.repository
    try:
        last = newest_run(repository.records, "probe", repository.store.now() - _EVERY)
        if last is None:
            findings = probe_store(repository.store, session.world.clock)
            found = [
                {"name": each.name, "ok": each.ok, "detail": each.detail, "guards": each.guards}
                for each in findings
            ]
            record_run(session, "probe", {"outcome": "done", "findings": found})
    except DrtoolError as fault:
        session.world.progress.note(f"whether history is protected could not be probed: {fault.message}")


def protection_of(runs: Sequence[Record], now: datetime) -> Protection:
    """Return what the newest probe says; what it does not say, or said too long ago, is unknown."""
    probes = [run for run in runs if run_kind(run) == "probe" and run.role == "writer"]
    newest = max(probes, key=arrival, default=None)
    findings = newest.value.get("findings") if newest else None
    if newest is None or not isinstance(findings, list):
        return Protection("unknown", ("no backup has probed the store yet",))
    if now - newest.received > _STALE:
        reason = f"no backup has probed the store for {_STALE.days} days: look at the notes of the last one"
        return Protection("unknown", (reason,), newest.received)
    guards = [each for each in findings if isinstance(each, dict) and each.get("guards") is True]
    failed = [each for each in findings if isinstance(each, dict) and each.get("ok") is not True]
    reasons = tuple(
        f"{each.get('name')}: {'' if each.get('ok') is True else 'NO, '}{each.get('detail')}"
        for each in ([each for each in failed if each in guards] or guards)
    )
    weaknesses = tuple(str(each.get("detail")) for each in failed if each not in guards)
    broken = not guards or any(each in guards for each in failed)
    return Protection("not protected" if broken else "protected", reasons, newest.received, weaknesses)
