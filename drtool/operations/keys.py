"""`keys prove`: with nothing but what was typed from the kit, read one point of each volume; `keys reader`."""

from pathlib import Path

from drtool.errors import NoRecoveryPoint, UsageError
from drtool.operations.record import record_run
from drtool.operations.results import KeyProof
from drtool.operations.session import Session, Where, World, connect
from drtool.policy.load import load_policy
from drtool.repository.format.text import find_keys
from drtool.repository.kit import Bundle, parse_recovery, parse_seed
from drtool.repository.reader import Reader
from drtool.repository.records import Unreadable
from drtool.repository.repository import Repository, open_with_recovery
from drtool.repository.snapshot import Snapshot, read_snapshots


def run_prove(
    typed: str, policy_file: Path | None, where: Where | None, world: World, *, dry_run: bool = False
) -> KeyProof:
    """Open the newest point of each volume with the recovery key in typed, and read it whole.

    The proof is recorded where an operator's key was typed too, and it is no dry run. Raises WrongKey before any
    download, NoRecoveryPoint when there is nothing to read.
    """
    line = parse_recovery(typed)
    operator = parse_seed(typed, "OPERATOR") if "OPERATOR" in find_keys(typed) else None
    settings = where or (load_policy(policy_file).repository if policy_file else None)
    if settings is None:
        raise UsageError("where is the repository?", hint="Give --policy FILE or --repository URL.")
    repository = open_with_recovery(connect(settings, world), line, operator)
    session = Session(None, "", repository, world)
    fingerprint = line.key.recipient
    name = next(
        (entry.name for entry in repository.config.recipients if entry.key == fingerprint.public.hex()),
        "unlisted",
    )
    read: dict[str, str] = {}
    runs: set[str] = set()
    for volume in repository.config.volumes:
        snapshot = _newest(repository, volume)
        if snapshot is not None:
            world.progress.phase(f"reading {volume}")
            _read(session, snapshot)
            read[volume] = snapshot.name
            runs |= snapshot.runs.keys()
    if not read:
        raise NoRecoveryPoint(
            "there is no point to read yet", hint="Run `drtool backup`, then prove the key."
        )
    value = {"recipient": name, "outcome": "done", "points": sorted(read.values())}
    unrecorded = record_run(session, "prove", value, dry_run=dry_run)
    session.close()
    empty = tuple(sorted(repository.config.volumes.keys() - read.keys()))
    return KeyProof(name, read, len(runs), empty, unrecorded)


def reader_bundle(session: Session) -> Bundle:
    """Return the bundle of who may look at everything, read no data, and sign nothing: list keys and pinned config."""
    repository = session.repository
    config = repository.config
    return Bundle(
        role="reader",
        name="reader",
        repository=config.repository_id,
        policy=config.policy,
        admin=bytes.fromhex(config.admin),
        config_number=config.number,
        config_sha256=repository.config_sha256.hex(),
        list_keys=tuple(key for key in repository.records.keys.list_keys if isinstance(key, bytes)),
    )


def _newest(repository: Repository, volume: str) -> Snapshot | None:
    found = [each for each in read_snapshots(repository.records, volume) if not isinstance(each, Unreadable)]
    return max((each for each in found if each.chosen), key=lambda each: each.end, default=None)


def _read(session: Session, snapshot: Snapshot) -> None:
    reader = Reader(session.repository)
    contents = reader.read_contents(snapshot)
    reader.check(snapshot, contents)
    reader.read(snapshot, contents, lambda _path, _offset, data: session.world.progress.advance(len(data)))
