"""The config: who may read, who may sign what, and how long a run may last. Signed by the admin, a chain from 0.

config/<n>-<sha256>     a public record; the newest whose chain is whole and signed by the admin counts
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from drtool.errors import Corrupt, Refused
from drtool.policy.take_over import TAKE_OVER
from drtool.repository.format.crypto import Recipient, SigningKey, sha256
from drtool.repository.format.names import json_time, parse_json_time
from drtool.repository.format.record import Place, check_signed, cut_public, pack_public, sign

Json = dict[str, Any]
FORMAT: Final = 1
KIND: Final = "config"

# Which role may sign which kind of record. FORMAT.md has the same table.
MAY_SIGN: Final[Mapping[str, frozenset[str]]] = {
    "config": frozenset({"admin"}),
    "rewrap": frozenset({"admin"}),
    "snap": frozenset({"writer"}),
    "part": frozenset({"writer"}),
    "wal": frozenset({"writer"}),
    "tail": frozenset({"writer"}),
    "void": frozenset({"writer"}),
    "runs": frozenset({"writer", "verifier", "operator"}),
    "heads": frozenset({"maintainer"}),
    "plan": frozenset({"maintainer"}),
    "hold": frozenset({"operator", "maintainer"}),
    "using": frozenset({"operator"}),
}


@dataclass(frozen=True, slots=True)
class RecipientEntry:
    """Who may open what is sealed; key is a public X25519 key, hex."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that may sign as role, for records received in [since, until). key is a public Ed25519 key, hex."""

    name: str
    role: str
    key: str
    since: str
    until: str | None = None

    def valid(self, received: datetime) -> bool:
        """Return whether the signer could sign at that moment of the store's clock."""
        if received < parse_json_time(self.since) - CLOCK_GRAIN:
            return False
        return self.until is None or received < parse_json_time(self.until)


# A store may tell its times in whole seconds, cut off.
CLOCK_GRAIN: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class WriterKeys:
    """The id key and the list key of one writer, wrapped for each recipient: fingerprint to 64 bytes' wraps."""

    writer: str
    id_key: Mapping[str, str]
    list_key: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VolumeLimits:
    """window: how old a pack a run may refer to; max_run: how long a run may last. Seconds."""

    window: int
    max_run: int


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How long a run of one volume may last, by when the store received what came of it: what was late stays late.

    steps are max_run with the moment from which it counts, oldest first; the first counts before its moment, too.
    """

    steps: Sequence[tuple[datetime, timedelta]]

    def at(self, received: datetime) -> timedelta:
        """Return what counted at that moment of the store's clock."""
        return next((limit for since, limit in self.steps[::-1] if received >= since), self.steps[0][1])


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of a PostgreSQL lineage: opened by a restore into production, with the LSN it began at."""

    volume: str
    system: str
    major: int
    epoch: int
    parent_lsn: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """One config record. repository and admin are hex; previous is the SHA-256 of the config before, hex."""

    number: int
    repository: str
    policy: str
    made: str
    admin: str
    recipients: Sequence[RecipientEntry]
    signers: Sequence[Signer]
    writers: Sequence[WriterKeys]
    volumes: Mapping[str, VolumeLimits]
    epochs: Sequence[Epoch] = ()
    previous: str | None = None
    format: int = FORMAT

    @property
    def repository_id(self) -> bytes:
        """The 16 bytes that every seal binds."""
        return bytes.fromhex(self.repository)

    def recipient_keys(self) -> list[Recipient]:
        """Return the recipients to whom a new key is wrapped."""
        return [Recipient(bytes.fromhex(entry.key)) for entry in self.recipients]

    def signer(self, key: bytes, role: str, received: datetime) -> Signer | None:
        """Return who key is, if it may sign as role at that moment."""
        for signer in self.signers:
            if signer.key == key.hex() and signer.role == role and signer.valid(received):
                return signer
        return None

    def ended_signer(self, key: bytes, role: str) -> Signer | None:
        """Return who key is, if it could sign as role once and ended."""
        return next(
            (each for each in self.signers if (each.key, each.role) == (key.hex(), role) and each.until), None
        )

    def ended(self, name: str, at: datetime) -> bool:
        """Return whether nothing of the signer of that name counts any more that is received at that moment."""
        return not any(each.name == name and each.valid(at) for each in self.signers)

    def newest_epoch(self, volume: str, system: str, major: int) -> int:
        """Return the newest epoch that was opened for a lineage of PostgreSQL; the first needs no opening."""
        opened = (
            each.epoch
            for each in self.epochs
            if (each.volume, each.system, each.major) == (volume, system, major)
        )
        return max(opened, default=1)

    def limits(self, volume: str) -> VolumeLimits:
        """Return a volume's limits. Raises Refused for a volume that the admin has not taken over."""
        if volume not in self.volumes:
            raise Refused(
                f"volume {volume} is not in the repository's config",
                hint=f"The policy got it later: `{TAKE_OVER}` has the repository take it over.",
            )
        return self.volumes[volume]

    def with_volumes(self, wanted: Mapping[str, VolumeLimits]) -> dict[str, VolumeLimits]:
        """Return the volumes with those that are wanted too. None goes, for its points stay; no limit falls.

        What was stored, or is under way, was made under the larger ones: else earlier points would come too late.
        """
        found = dict(self.volumes)
        for name, limits in wanted.items():
            had = found.get(name, limits)
            found[name] = VolumeLimits(max(had.window, limits.window), max(had.max_run, limits.max_run))
        return found

    def next(self, made: datetime, digest: bytes, **changes: Any) -> "Config":
        """Return the config that follows this one, whose object has the SHA-256 digest."""
        return replace(self, number=self.number + 1, made=json_time(made), previous=digest.hex(), **changes)


def config_prefix(number: int) -> str:
    """Return `config/<n>-`."""
    return f"config/{number}-"


def encode_config(config: Config, admin: SigningKey) -> bytes:
    """Return the object of config, signed by the admin."""
    place = Place(config.repository_id, KIND, config_prefix(config.number))
    return pack_public(sign(asdict(config), "admin", admin, place))


def parse_config(value: bytes, number: int, repository: bytes, admin: bytes) -> Config:
    """Return the config in value. Raises Corrupt unless it is this number's, signed by admin."""
    signed = check_signed(cut_public(value), Place(repository, KIND, config_prefix(number)))
    if signed.role != "admin" or signed.signer != admin:
        raise Corrupt("the config is not signed by this repository's admin")
    config = _from_json(signed.value)
    if config.number != number or config.repository != repository.hex() or config.admin != admin.hex():
        raise Corrupt(f"config {number} says another number, repository or admin than its name")
    if config.format != FORMAT:
        raise Refused(
            f"the repository has format {config.format}; this drtool knows format {FORMAT}",
            hint="Use the drtool that made it, or a newer one.",
        )
    return config


def _from_json(value: Json) -> Config:
    try:
        return Config(
            **{
                **value,
                "recipients": [RecipientEntry(**entry) for entry in value["recipients"]],
                "signers": [Signer(**entry) for entry in value["signers"]],
                "writers": [WriterKeys(**entry) for entry in value["writers"]],
                "volumes": {name: VolumeLimits(**limits) for name, limits in value["volumes"].items()},
                "epochs": [Epoch(**entry) for entry in value["epochs"]],
            }
        )
    except (TypeError, KeyError, AttributeError) as fault:
        raise Corrupt("the config lacks a field, or has one that this drtool does not know") from fault


@dataclass(frozen=True, slots=True)
class Chain:
    """The newest config; every config, and the SHA-256 of its object, by number."""

    config: Config
    digests: Sequence[bytes]
    configs: Sequence[Config]


def run_limits(configs: Sequence[Config], volume: str) -> RunLimits:
    """Return how long a run of volume may last, as configs, oldest first, say. Raises Refused as `Config.limits`.

    A longer max_run counts from the config's `made` and the grain of the store's clock on: what came before stays as it
    was judged, so that no point which somebody dated back becomes choosable, and no void comes into force.
    """
    steps: list[tuple[datetime, timedelta]] = []
    for config in configs:
        if volume in config.volumes:
            limit = timedelta(seconds=config.volumes[volume].max_run)
            if not steps or limit != steps[-1][1]:
                steps.append((parse_json_time(config.made) + CLOCK_GRAIN, limit))
    if not steps:
        configs[-1].limits(volume)
    return RunLimits(steps)


def check_chain(configs: Mapping[int, tuple[bytes, Config]]) -> Chain:
    """Return the chain of configs (object bytes and content by number). Raises Corrupt on a broken one."""
    digests: list[bytes] = []
    for number in range(max(configs) + 1):
        if number not in configs:
            raise Corrupt(f"config {number} is missing, but a later one is there")
        value, config = configs[number]
        if config.previous != (digests[-1].hex() if digests else None):
            raise Corrupt(f"config {number} does not follow the one before it")
        if number:
            _check_volumes(configs[number - 1][1], config)
        digests.append(sha256(value))
    return Chain(configs[max(configs)][1], digests, [configs[number][1] for number in range(len(digests))])


def _check_volumes(before: Config, config: Config) -> None:
    """Return when config has every volume of the one before, with limits as long: points stand on them."""
    for name, had in before.volumes.items():
        limits = config.volumes.get(name)
        if limits is None or limits.window < had.window or limits.max_run < had.max_run:
            what = "lacks" if limits is None else "has shorter limits for"
            raise Corrupt(
                f"config {config.number} {what} volume {name}, which the config before it had",
                hint="drtool signs no such config: find out who used the admin's key.",
            )
