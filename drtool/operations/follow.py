"""`wal follow`: the receiver kept at work. Outages are waited out; what does not mend itself ends it."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from drtool.errors import DrtoolError, StoreOutage, TemporaryFailure
from drtool.operations.marks import told_mark, whole_mark
from drtool.operations.receiving import (
    Following,
    Instance,
    reach_instance,
    receive_or_gap,
    record_wal,
)
from drtool.operations.results import Followed
from drtool.operations.session import Session, World
from drtool.operations.settings import postgres_volume
from drtool.operations.slot_watch import SlotWatch
from drtool.policy.durations import brief_duration
from drtool.repository.repository import config_number
from drtool.sources.postgres.faults import SourceOutage
from drtool.sources.postgres.receiver import Received
from drtool.sources.postgres.wal import format_lsn

SURE_S = 60.0  # a refusal that stands so long is meant
LONG_OUTAGE_S = 300.0  # worth a run record
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
CONFIG_EVERY_S = (
    600.0  # between two looks for a newer config: other recipients, a closed epoch, a key withdrawn
)
MARK_EVERY_S = 3600.0  # between two records of how far the WAL goes: what is left is held against them

_PASSING = (TemporaryFailure, StoreOutage, SourceOutage)


def run_follow(opening: Callable[[], Session], world: World, name: str, watch: SlotWatch) -> Followed:
    """Follow the WAL of a volume until world.ending is set, and end with a last tail.

    opening opens the repository; it is asked again for each newer config. An outage of the server or of the store is
    waited out, however long. Anything else is raised once it has stood for SURE_S: Refused, SourceUnavailable, …
    A fault that is there when somebody asks to end is raised at once; what is missing stays in the slot.
    """
    return _Follower(opening, world, name, watch).run()


@dataclass(slots=True)
class _Trouble:
    """What keeps the follower from its work, and since when: monotonic seconds; refused is since it will not pass."""

    since: float
    fault: DrtoolError
    refused: float | None = None
    pause_s: float = FIRST_PAUSE_S


class _Follower:
    """One life of a follower: its session, what it has brought, and what is in its way."""

    def __init__(self, opening: Callable[[], Session], world: World, name: str, watch: SlotWatch) -> None:
        self._opening = opening
        self._world = world
        self._name = name
        self._watch = watch
        self._begun = time.monotonic()
        self._session: Session | None = None
        self._configs: frozenset[str] = frozenset()
        self._looked = 0.0
        self._recorder: Callable[..., str | None] = lambda _outcome, _detail, **_mark: None
        self._is_started = False
        self._instance: Instance | None = None
        self._mark: Mapping[str, str] = {}
        self._marked = 0.0
        self._gaps = 0  # as many as there were then
        self._trouble: _Trouble | None = None
        self._following = Following(self._is_over, self._made_durable)

    def run(self) -> Followed:
        while True:
            try:
                instance, received = self._follow()
            except DrtoolError as fault:
                self._wait_out(fault)
                continue
            if self._world.ending.is_set():
                return self._ended(instance, received)

    def _follow(self) -> tuple[Instance, Received]:
        """Receive until there is a fault, a newer config, or somebody asks to end."""
        session = self._newest_session()
        instance = reach_instance(session, postgres_volume(session.need_policy(), self._name))
        self._recorder = partial(record_wal, session, instance)
        if self._instance is None or self._instance.lineage != instance.lineage:
            self._mark = self._look(session, instance)
        self._instance = instance
        if not self._is_started:
            self._is_started = True
            self._recorder("started", f"following timeline {instance.identity.timeline}", **self._mark)
            self._world.progress.phase(f"{self._name}: following the WAL")
        drops = self._watch.drops
        while drops and self._recorder("dropped", drops[0]) is None:
            drops.popleft()
        return instance, receive_or_gap(session, instance, self._following).received

    def _newest_session(self) -> Session:
        """Return a session on the newest config. While the store is away it raises: no slot is made meanwhile."""
        if self._session is not None and self._is_outdated(self._session):
            self._session.close()
            self._session = None
        if self._session is None:
            self._session = self._opening()
            self._session.need_writer()
            newest = self._session.repository.config.number
            self._configs = frozenset(
                name for name in _configs(self._session) if (config_number(name) or 0) <= newest
            )  # not one that came while we opened
        return self._session

    def _is_outdated(self, session: Session) -> bool:
        self._looked = time.monotonic()
        return _configs(session) != self._configs

    def _is_over(self) -> bool:
        if self._world.ending.is_set() or self._session is None:
            return True
        return time.monotonic() - self._looked > CONFIG_EVERY_S and self._is_outdated(self._session)

    def _look(self, session: Session, instance: Instance) -> Mapping[str, str]:
        """Return up to where all that is stored can be restored, or nothing where that is not known."""
        self._marked, self._gaps = time.monotonic(), len(self._following.gaps)
        with suppress(DrtoolError):
            return whole_mark(session, instance.lineage)
        return {}

    def _tell_mark(self) -> None:
        """Put on record how far the WAL goes, where it went on: the newest of it has no other witness."""
        if self._session is None or self._instance is None:
            return
        before, self._mark = self._mark, self._look(self._session, self._instance)
        if self._mark and self._mark != before:
            self._recorder(
                "marked", f"up to {self._mark['lsn']} of timeline {self._mark['timeline']}", **self._mark
            )

    def _made_durable(self) -> None:
        """Work goes on: what was in its way is over."""
        if time.monotonic() - self._marked >= MARK_EVERY_S:
            self._tell_mark()
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            lasted = time.monotonic() - trouble.since
            told = f"goes on after {brief_duration(timedelta(seconds=lasted))}: {trouble.fault.message}"
            self._world.progress.note(f"{self._name} {told}")
            if lasted >= LONG_OUTAGE_S:
                self._recorder("resumed", told)

    def _wait_out(self, fault: DrtoolError) -> None:
        """Wait before the next try. Raises fault where there is none: it will not pass, or we were asked to end."""
        now = time.monotonic()
        trouble = self._trouble or _Trouble(now, fault)
        if self._trouble is None or type(trouble.fault) is not type(fault):
            self._world.progress.note(f"{self._name}: {fault.message}")
        self._trouble, trouble.fault = trouble, fault
        if isinstance(fault, _PASSING):
            trouble.refused = None
        elif trouble.refused is None:
            trouble.refused = now
        is_meant = trouble.refused is not None and now - trouble.refused >= SURE_S
        if is_meant or self._world.ending.is_set():
            self._recorder("failed", fault.message)
            raise fault
        self._world.ending.wait(trouble.pause_s)
        trouble.pause_s = min(2 * trouble.pause_s, LONGEST_PAUSE_S)

    def _ended(self, instance: Instance, received: Received) -> Followed:
        end, kept = format_lsn(received.lsn), self._following.kept
        is_whole = self._mark and len(self._following.gaps) == self._gaps
        mark = told_mark(received.timeline, received.lsn) if is_whole else {}
        self._recorder("done", f"asked to end at {end} of timeline {received.timeline}", **mark)
        return Followed(
            volume=self._name,
            lineage=instance.lineage.label,
            timeline=received.timeline,
            end=end,
            moment=received.server.time,
            segments=kept.segments,
            tails=kept.tails,
            received=kept.received,
            stored=kept.stored,
            seconds=time.monotonic() - self._begun,
            gaps=tuple(self._following.gaps),
        )


def _configs(session: Session) -> frozenset[str]:
    return frozenset(found.name for found in session.repository.store.list("config/"))
