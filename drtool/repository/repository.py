"""A repository, opened: its store, its verified config, and the keys that this process holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drtool.errors import Corrupt, DrtoolError, Refused, StoreUnavailable, WrongKey
from drtool.policy.moments import to_second
from drtool.repository.config import (
    Chain,
    Config,
    RecipientEntry,
    Signer,
    VolumeLimits,
    check_chain,
    config_prefix,
    encode_config,
    parse_config,
)
from drtool.repository.format.crypto import KEY_SIZE, RecoveryKey, SigningKey, random_bytes, sha256
from drtool.repository.format.names import json_time, parse_json_time
from drtool.repository.format.record import cut_public, peek_json
from drtool.repository.kit import Bundle, RecoveryLine, trust_of
from drtool.repository.records import Keys, Records, check_name_fits, stored_objects
from drtool.repository.storage.base import ObjectStore
from drtool.repository.unwrap import HeadKeys, RunKeys
from drtool.repository.writer_keys import open_writer_keys, wrap_writer_keys


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository as one holder of keys sees it. unwrap is there only with a recovery key or a grant."""

    store: ObjectStore
    config: Config
    config_sha256: bytes
    records: Records
    unwrap: HeadKeys | None = None

    @property
    def id_key(self) -> bytes:
        """The key of the chunk ids and path ids. Raises WrongKey where this process holds none."""
        if not self.records.keys.id_keys:
            raise WrongKey(
                "this machine holds no id key", hint="Give the writer's bundle, or the recovery key."
            )
        return self.records.keys.id_keys[0]

    def head_keys(self) -> HeadKeys:
        """Return what opens packs and WAL objects. Raises WrongKey without a recovery key or a grant."""
        if self.unwrap is None:
            raise _no_recovery_key()
        return self.unwrap

    def run_keys(self) -> RunKeys:
        """Return what opens the keys of runs. Raises WrongKey without a recovery key: a grant opens no run."""
        if not isinstance(self.unwrap, RunKeys):
            raise _no_recovery_key()
        return self.unwrap


def _no_recovery_key() -> WrongKey:
    return WrongKey(
        "reading the data takes a recovery key",
        hint="Give the file that holds the DRTOOL-RECOVERY- line of the kit: --recovery-key-file FILE.",
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What a new repository is to be. recipients: names, with the public key of those made elsewhere."""

    policy: str
    recipients: Sequence[tuple[str, bytes | None]]
    volumes: dict[str, VolumeLimits]


@dataclass(frozen=True, slots=True)
class Created:
    """A new repository with the secrets that exist only here: to be shown once."""

    config: Config
    recovery: dict[str, RecoveryLine]
    admin_seed: bytes
    operator_seed: bytes
    writer: Bundle


def init_repository(store: ObjectStore, request: Request) -> Created:
    """Make the keys and write config 0. Raises Refused when there is a repository already."""
    created = prepare_repository(store, request)
    put_config(store, created.config, SigningKey(created.admin_seed))
    return created


def prepare_repository(store: ObjectStore, request: Request) -> Created:
    """Make the keys and write nothing: keep them first, then `put_config`. Raises Refused as `init_repository`."""
    for found in store.list("config/"):
        raise Refused(
            f"there is a repository already: {found.name} is in the store",
            hint="Use another URL, or go on with the repository that is there.",
        )
    admin_seed, operator_seed, writer_seed = (random_bytes(KEY_SIZE) for _ in range(3))
    admin, repository = SigningKey(admin_seed), random_bytes(16)
    seeds = {name: random_bytes(KEY_SIZE) for name, public in request.recipients if public is None}
    entries = [
        RecipientEntry(name, (public or RecoveryKey(seeds[name]).recipient.public).hex())
        for name, public in request.recipients
    ]
    made = store.now()
    id_key, list_key = random_bytes(KEY_SIZE), random_bytes(KEY_SIZE)
    config = Config(
        number=0,
        repository=repository.hex(),
        policy=request.policy,
        made=json_time(made),
        admin=admin.public.hex(),
        recipients=entries,
        signers=[
            Signer("writer-1", "writer", SigningKey(writer_seed).public.hex(), json_time(made)),
            Signer("operator-1", "operator", SigningKey(operator_seed).public.hex(), json_time(made)),
        ],
        writers=[wrap_writer_keys("writer-1", id_key, list_key, entries, repository)],
        volumes=request.volumes,
        epochs=(),
    )
    bundle = Bundle(
        role="writer",
        name="writer-1",
        repository=repository,
        policy=request.policy,
        admin=admin.public,
        config_number=0,
        config_sha256=sha256(encode_config(config, admin)).hex(),
        list_keys=(list_key,),
        id_key=id_key,
        signing_seed=writer_seed,
    )
    trust = trust_of(repository, admin.public)
    recovery = {name: RecoveryLine(seed, trust) for name, seed in seeds.items()}
    return Created(config, recovery, admin_seed, operator_seed, bundle)


def put_config(store: ObjectStore, config: Config, admin: SigningKey) -> bytes:
    """Sign and store config; return its SHA-256."""
    value = encode_config(config, admin)
    digest = sha256(value)
    store.put(config_prefix(config.number) + digest.hex(), value, digest)
    return digest


def open_with_bundle(store: ObjectStore, bundle: Bundle) -> Repository:
    """Return the repository that bundle is for. Raises Corrupt or Refused when the store shows another."""
    try:
        chain = load_config(store, bundle.repository, bundle.admin)
    except Corrupt as fault:
        raise Corrupt(
            f"the bundle does not fit the repository in this store: {fault.message}",
            hint="It may belong to another repository: compare its URL with the policy's.",
        ) from fault
    config = chain.config
    if config.number < bundle.config_number:
        raise Refused(
            f"the store shows config {config.number}, but this machine has seen config {bundle.config_number}",
            hint="The store shows an old state, or another one: look at the URL, the endpoint and its versions.",
        )
    if chain.digests[bundle.config_number].hex() != bundle.config_sha256:
        raise Refused(
            f"the store shows another config {bundle.config_number} than the one that this machine has seen",
            hint="The admin key has signed two: find out who did, before anything is written.",
        )
    signing = SigningKey(bundle.signing_seed) if bundle.signing_seed else None
    if signing is not None:
        _check_may_sign(store, config, signing, bundle)
    keys = Keys(
        list_keys=bundle.list_keys,
        id_keys=(bundle.id_key,) if bundle.id_key else (),
        signing=signing,
        role=bundle.role,
    )
    return Repository(store, config, chain.digests[-1], Records(store, config, keys, chain.configs))


def _check_may_sign(store: ObjectStore, config: Config, signing: SigningKey, bundle: Bundle) -> None:
    """Return when what the bundle's key signs now will count. Raises Refused: else nobody would notice for long."""
    enrolled = [
        each for each in config.signers if (each.key, each.role) == (signing.public.hex(), bundle.role)
    ]
    if not enrolled:
        raise Refused(
            f"the bundle's key may not sign as {bundle.role} in this repository",
            hint="It belongs to another repository, or was edited: give the bundle that is enrolled.",
        )
    untils = [parse_json_time(each.until) for each in enrolled if each.until is not None]
    if len(untils) < len(enrolled) or max(untils) > store.now():
        return
    raise Refused(
        f"{bundle.name} ended at {to_second(max(untils))}: nothing that it writes since then counts",
        hint="The system was restored, and a new writer enrolled: stop the old drtool, or give the new bundle.",
    )


def open_with_recovery(
    store: ObjectStore, line: RecoveryLine, operator: SigningKey | None = None
) -> Repository:
    """Return the repository, all of it readable. Raises WrongKey before any download of data when line does not fit."""
    repository, admin = _find_identity(store, line)
    chain = load_config(store, repository, admin)
    config = chain.config
    key = line.key
    opened = [open_writer_keys(writer, key, repository) for writer in reversed(config.writers)]
    found = [keys for keys in opened if keys is not None]
    if not found:
        raise WrongKey(
            "the recovery key is not among the recipients of this repository",
            hint=f"Use the kit of one of them: {', '.join(entry.name for entry in config.recipients)}.",
        )
    keys = Keys(
        list_keys=[list_key for _, list_key in found],
        id_keys=[id_key for id_key, _ in found],
        signing=operator,
        role="operator" if operator else "reader",
    )
    records = Records(store, config, keys, chain.configs)
    return Repository(store, config, chain.digests[-1], records, RunKeys(records, key))


def _find_identity(store: ObjectStore, line: RecoveryLine) -> tuple[bytes, bytes]:
    """Return the repository and admin that line trusts, as a first config claims them. Raises WrongKey when none does.

    Whoever may put objects can put another config 0 beside ours: all are looked at.
    """
    refused: DrtoolError = no_repository()
    for name, value in _first_configs(store):
        try:
            check_name_fits(name, value)
            claims = peek_json(cut_public(value))
            repository, admin = bytes.fromhex(claims["repository"]), bytes.fromhex(claims["admin"])
            line.check(repository, admin)
        except (Corrupt, WrongKey) as fault:
            refused = fault
            continue
        except (KeyError, TypeError, ValueError):
            continue
        return repository, admin
    raise refused


def _first_configs(store: ObjectStore) -> Iterator[tuple[str, bytes]]:
    for stored in stored_objects(store, "config/0-"):
        for version in stored.versions:
            yield stored.name, store.get(stored.name, version.version)


def load_config(store: ObjectStore, repository: bytes, admin: bytes) -> Chain:
    """Return the chain of configs that admin signed. Raises Corrupt on a broken chain, StoreUnavailable without any."""
    found: dict[int, list[tuple[bytes, Config]]] = {}
    faults: dict[int, Corrupt] = {}
    by_name = stored_objects(store, "config/")
    for stored in sorted(by_name, key=lambda each: each.versions[0].modified):
        number = config_number(stored.name)
        for version in stored.versions if number is not None else ():
            value = store.get(stored.name, version.version)
            try:
                check_name_fits(stored.name, value)
                config = parse_config(value, number or 0, repository, admin)
            except Corrupt as fault:
                faults[number or 0] = fault
                continue
            found.setdefault(number or 0, []).append((value, config))
            break
    if not found:
        raise next(iter(faults.values()), no_repository())
    return check_chain(dict(_that_count(found)))


def _that_count(found: dict[int, list[tuple[bytes, Config]]]) -> Iterator[tuple[int, tuple[bytes, Config]]]:
    """Yield one config a number, newest first: what the next one follows, else the first received; all decide alike."""
    follows: str | None = None
    for number in sorted(found, reverse=True):
        fitting = [each for each in found[number] if follows in (None, sha256(each[0]).hex())]
        counts = (fitting or found[number])[0]
        follows = counts[1].previous
        yield number, counts


def config_number(name: str) -> int | None:
    """Return which config an object's name says that it is; None for a name that somebody made up."""
    number = name.removeprefix("config/").partition("-")[0]
    return int(number) if number.isdigit() else None


def no_repository() -> StoreUnavailable:
    """Return the error for a store without a repository."""
    return StoreUnavailable(
        "there is no repository in the store",
        hint="Look at the URL and the endpoint; `drtool init` makes a new one.",
    )
