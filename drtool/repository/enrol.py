"""Who joins later: a recipient, for whom the keys of writers and earlier runs are wrapped; a writer, after a restore.

All of it takes the admin key, and the recovery key of somebody who can open what is there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count

from drtool.errors import Corrupt, WrongKey
from drtool.repository.config import Config, Epoch, RecipientEntry, Signer, VolumeLimits, encode_config
from drtool.repository.format.crypto import (
    KEY_SIZE,
    Recipient,
    RecoveryKey,
    SigningKey,
    random_bytes,
    sha256,
)
from drtool.repository.format.names import json_time
from drtool.repository.format.pack import MAGIC, MAX_HEAD, Head, parse_head, wrap_info
from drtool.repository.format.wal_object import MAGIC as WAL_MAGIC
from drtool.repository.kit import Bundle
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


@dataclass(frozen=True, slots=True)
class Recovered:
    """A PostgreSQL lineage that was restored into production; end_lsn is where its recovery ended, if that is known."""

    volume: str
    system: str
    major: int
    end_lsn: str | None = None


def enrol_writer(
    repository: Repository,
    admin: SigningKey,
    recovered: Sequence[Recovered],
    volumes: Mapping[str, VolumeLimits] | None = None,
) -> tuple[Config, Bundle]:
    """Return the config in which a new writer follows those before, and its bundle. Writes nothing: `put_config` does.

    repository is opened with a recovery key. The earlier writers end now, by the store's clock: what they wrote stays,
    what a cluster that still lives writes from now on does not count; nor does what is received in this same second,
    for a store may cut off what is less. The new one has keys of its own, and the list
    keys of those before, to see how their points stand. Each lineage that was restored gets a new epoch; volumes of the
    policy that came later are taken over.

    Raises WrongKey without a recovery key, or when admin is not the repository's.
    """
    repository.run_keys()
    config, now = repository.config, repository.store.now().replace(microsecond=0)
    if admin.public.hex() != config.admin:
        raise WrongKey(
            "the admin key is not that of this repository",
            hint=f"Take the admin sheet whose line `id` is {config.repository}.",
        )
    taken = {signer.name for signer in config.signers}
    name = next(name for name in (f"writer-{number}" for number in count(2)) if name not in taken)
    keys = _Keys(*(random_bytes(KEY_SIZE) for _ in range(3)))
    ended = [
        replace(each, until=json_time(now)) if each.role == "writer" and each.until is None else each
        for each in config.signers
    ]
    following = config.next(
        now,
        repository.config_sha256,
        signers=[*ended, Signer(name, "writer", SigningKey(keys.seed).public.hex(), json_time(now))],
        writers=[
            *config.writers,
            wrap_writer_keys(name, keys.id_key, keys.list_key, config.recipients, config.repository_id),
        ],
        volumes=config.with_volumes(volumes or {}),
        epochs=[*config.epochs, *(_next_epoch(config, each) for each in recovered)],
    )
    return following, _bundle(repository, following, admin, name, keys)


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of a new writer."""

    seed: bytes = field(repr=False)
    id_key: bytes = field(repr=False)
    list_key: bytes = field(repr=False)


def _bundle(repository: Repository, following: Config, admin: SigningKey, name: str, keys: _Keys) -> Bundle:
    """Return the bundle of the writer called name, which following enrols."""
    earlier = [key for key in repository.records.keys.list_keys if isinstance(key, bytes)]
    return Bundle(
        role="writer",
        name=name,
        repository=following.repository_id,
        policy=following.policy,
        admin=admin.public,
        config_number=following.number,
        config_sha256=sha256(encode_config(following, admin)).hex(),
        list_keys=(keys.list_key, *earlier),
        id_key=keys.id_key,
        signing_seed=keys.seed,
    )


def _next_epoch(config: Config, life: Recovered) -> Epoch:
    """Return the epoch behind the newest of a lineage. The first needs no entry."""
    newest = config.newest_epoch(life.volume, life.system, life.major)
    return Epoch(life.volume, life.system, life.major, newest + 1, life.end_lsn)
