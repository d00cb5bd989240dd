"""Whether the server that a policy names goes on with the WAL in the store: asked before anything is captured."""

from drtool.operations.coverage import Held, read_held
from drtool.operations.session import Session
from drtool.operations.settings import postgres_settings
from drtool.policy.volumes import PostgresVolume
from drtool.repository.wal import Lineage, WalStore
from drtool.sources.postgres.connection import Identity, PostgresSettings, Replication
from drtool.sources.postgres.descent import Line, refuse_other_line
from drtool.sources.postgres.pooler import refuse_pooler
from drtool.sources.postgres.preview import standby_fault
from drtool.sources.postgres.wal import parse_history


def refuse_other_server(session: Session, volume: PostgresVolume) -> Held:
    """Return what is stored, where a base backup of the server would be restored with WAL of its own.

    Makes no slot; stores nothing.
    Raises Refused for an old primary, and for whatever else has the same system identifier and another past;
    SourceUnavailable for a standby, on which no heartbeat can be written.
    """
    settings = postgres_settings(volume, session.world)
    refuse_pooler(settings)
    with Replication(settings) as replication:
        identity = replication.identify()
    lineage = lineage_of(session, volume.name, identity)
    held = read_held(WalStore(session.repository.records, lineage), identity.wal_segment_size)
    line = line_of(settings)
    if line.is_standby:
        raise standby_fault(settings)
    refuse_other_line(line, held.wal)
    return held


def line_of(settings: PostgresSettings) -> Line:
    """Ask a server for its timeline and its past. Whoever compares that with the store has read the store before."""
    with Replication(settings) as replication:
        # Asked before all that a promotion changes: who was a standby then has at least what is told after it.
        is_standby = replication.show("in_hot_standby") == "on"
        identity = replication.identify()
        timeline = identity.timeline
        ancestors = parse_history(timeline, replication.timeline_history(timeline)) if timeline > 1 else ()
    return Line(settings.who, timeline, ancestors, identity.flush_lsn, is_standby)


def lineage_of(session: Session, volume: str, identity: Identity) -> Lineage:
    """Return the lineage to which a server's WAL belongs, in the newest epoch that the config opened for it."""
    system, major = str(identity.system_identifier), identity.major
    return Lineage(volume, system, major, session.repository.config.newest_epoch(volume, system, major))
