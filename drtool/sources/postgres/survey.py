"""What a walk over the last WAL segments says: their end, when transactions ended, the last heartbeat."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drtool.sources.postgres.records import RM_LOGICALMSG, RM_TBLSPC, RM_XACT, Record, RecordWalk

HEARTBEAT_PREFIX = "drtool"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One of drtool's own messages in the WAL: where it is, and the JSON that it carries."""

    lsn: int
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk found. Times are of transactions' ends, in UTC by the server's clock.

    end_lsn is the end of the last complete record. later_end is the first transaction end after the moment
    that was asked about. newest_end is the newest one, None if no transaction ended in the range: then an
    earlier segment has to be walked to know. heartbeat is the last one before later_end. tablespaces are the
    directories in which the records make tablespaces.
    """

    end_lsn: int | None
    newest_end: datetime | None
    later_end: datetime | None
    heartbeat: Heartbeat | None
    tablespaces: tuple[str, ...] = ()


def survey(walk: RecordWalk, *, moment: datetime | None = None) -> Survey:
    """Return what the records of walk say about its end and, where given, about moment. Iterates walk."""
    newest: datetime | None = None
    later: datetime | None = None
    heartbeat: Heartbeat | None = None
    tablespaces: list[str] = []
    for record in _speaking(walk):
        if (made := record.new_tablespace()) is not None:
            tablespaces.append(made)
        ended = record.transaction_end()
        if ended is not None:
            newest = ended if newest is None else max(newest, ended)
            if moment is not None and later is None and ended > moment:
                later = ended
        elif later is None:
            heartbeat = _heartbeat(record) or heartbeat
    return Survey(walk.end_lsn, newest, later, heartbeat, tuple(tablespaces))


def _speaking(walk: Iterable[Record]) -> Iterator[Record]:
    return (record for record in walk if record.rmgr in (RM_XACT, RM_LOGICALMSG, RM_TBLSPC))


def _heartbeat(record: Record) -> Heartbeat | None:
    message = record.logical_message()
    if message is None or message[0] != HEARTBEAT_PREFIX:
        return None
    try:
        content = json.loads(message[1])
    except ValueError:
        return None  # somebody else's use of the prefix
    return Heartbeat(record.lsn, content) if isinstance(content, dict) else None
