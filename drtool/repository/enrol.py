"""A recipient added later: a config that names it and wraps the writers' keys for it, and a rewrap of earlier runs.

Both take the admin key, and the recovery key of somebody who can open what is there.
"""

from collections.abc import Iterator
from datetime import datetime

from drtool.errors import Corrupt, WrongKey
from drtool.repository.config import Config, RecipientEntry
from drtool.repository.format.crypto import Recipient, RecoveryKey, SigningKey
from drtool.repository.format.pack import MAGIC, MAX_HEAD, Head, parse_head, wrap_info
from drtool.repository.format.wal_object import MAGIC as WAL_MAGIC
from drtool.repository.repository import Repository, put_config
from drtool.repository.rewrap import put_rewrap
from drtool.repository.writer_keys import open_writer_keys, wrap_writer_keys


def add_recipient(
    repository: Repository, recovery: RecoveryKey, admin: SigningKey, entry: RecipientEntry, now: datetime
) -> Config:
    """Store the next config, in which entry is one more recipient, and return it. Runs from now on are wrapped for it.

    Raises WrongKey when recovery does not open the keys of every writer.
    """
    config = repository.config
    recipients = [*config.recipients, entry]
    writers = []
    for writer in config.writers:
        keys = open_writer_keys(writer, recovery, config.repository_id)
        if keys is None:
            raise WrongKey(
                f"the keys of {writer.writer} are not wrapped for this recovery key",
                hint="Use the recovery key of a recipient who can read all.",
            )
        writers.append(wrap_writer_keys(writer.writer, *keys, recipients, config.repository_id))
    following = config.next(now, repository.config_sha256, recipients=recipients, writers=writers)
    put_config(repository.store, following, admin)
    return following


def rewrap_runs(repository: Repository, admin: SigningKey, recipient: Recipient, now: datetime) -> str | None:
    """Wrap for recipient the keys of all packs and WAL objects that it cannot open; return the name, None without any.

    Reads the head of every object: a small GET each.
    """
    keys, wraps = repository.run_keys(), {}
    for volume, head in _heads(repository):
        seal = head.commitment.hex()
        if recipient.fingerprint not in head.wraps and seal not in wraps:
            info = wrap_info(head.repository, volume, head.run)
            wraps[seal] = recipient.wrap(keys.open_run(head, volume), info)
    return put_rewrap(repository.records, admin, recipient, wraps, now) if wraps else None


def _heads(repository: Repository) -> Iterator[tuple[str, Head]]:
    for kind in ("packs", "wal", "tail"):
        for found in repository.store.list(f"{kind}/"):
            value = repository.store.get(found.name, start=0, length=MAX_HEAD)
            magic = MAGIC if kind == "packs" else WAL_MAGIC
            try:
                yield found.name.split("/")[1], parse_head(value, magic)
            except Corrupt as fault:
                raise Corrupt(f"{found.name}: {fault.message}", hint=fault.hint) from fault
