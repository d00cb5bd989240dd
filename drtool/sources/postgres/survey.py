"""What a walk over the last WAL segments says: their end, when transactions ended, the last heartbeat."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from drtool.sources.postgres.records import RM_LOGICALMSG, RM_TBLSPC, RM_XACT, RM_XLOG, Record, RecordWalk

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
    earlier segment has to be walked to know. heartbeat is the last one before later_end. tablespaces are
    those that the records before later_end make, directories by oid; minimal is the first of these records behind which
    nothing can be replayed, for the server went on with wal_level = minimal.
    """

    end_lsn: int | None
    newest_end: datetime | None
    later_end: datetime | None
    heartbeat: Heartbeat | None
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    minimal: int | None = None


def survey(walk: RecordWalk, *, moment: datetime | None = None, begin: int = 0) -> Survey:
    """Return what the records of walk say about its end and, where given, about moment. Iterates walk.

    Replay begins at begin: what was made before it is in the base backup.
    """
    newest: datetime | None = None
    later: datetime | None = None
    heartbeat: Heartbeat | None = None
    minimal: int | None = None
    tablespaces: dict[str, str] = {}
    for record in _speaking(walk):
        if later is None and record.lsn >= begin:  # what a recovery to moment replays
            if (made := record.new_tablespace()) is not None:
                tablespaces |= [made]
            elif minimal is None and record.is_minimal():
                minimal = record.lsn
        ended = record.transaction_end()
        if ended is not None:
            newest = ended if newest is None else max(newest, ended)
            if moment is not None and later is None and ended > moment:
                later = ended
        elif later is None:
            heartbeat = _heartbeat(record) or heartbeat
    return Survey(walk.end_lsn, newest, later, heartbeat, tablespaces, minimal)


def _speaking(walk: Iterable[Record]) -> Iterator[Record]:
    return (record for record in walk if record.rmgr in (RM_XLOG, RM_XACT, RM_LOGICALMSG, RM_TBLSPC))


def _heartbeat(record: Record) -> Heartbeat | None:
    message = record.logical_message()
    if message is None or message[0] != HEARTBEAT_PREFIX:
        return None
    try:
        content = json.loads(message[1])
    except ValueError:
        return None  # somebody else's use of the prefix
    return Heartbeat(record.lsn, content) if isinstance(content, dict) else None
