"""What is kept outside of the repository: the recovery kit on paper, and the bundle of each role.

The recovery line holds the 32-byte seed and 16 bytes of trust (a hash of repository id and admin key): who types
it in is told at once when a store shows another repository, or one that another admin signed.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from drtool.errors import UsageError, WrongKey
from drtool.repository.format.crypto import KEY_SIZE, RecoveryKey, SigningKey, random_bytes, sha256
from drtool.repository.format.text import encode_key, find_keys

TRUST_SIZE: Final = 16
Role = Literal["writer", "reader", "verifier", "maintainer", "operator"]


def trust_of(repository: bytes, admin: bytes) -> bytes:
    """Return the 16 bytes that tie a recovery line to one repository and one admin."""
    return sha256(b"drtool/1 trust\0" + repository + admin)[:TRUST_SIZE]


@dataclass(frozen=True, slots=True)
class RecoveryLine:
    """A recovery key with what it trusts. Never printable but by `text`."""

    seed: bytes = field(repr=False)
    trust: bytes

    @property
    def key(self) -> RecoveryKey:
        """The private key of the seed."""
        return RecoveryKey(self.seed)

    def text(self) -> str:
        """Return the line of the kit."""
        return encode_key("RECOVERY", self.seed + self.trust)

    def check(self, repository: bytes, admin: bytes) -> None:
        """Return when the line was made for this repository and admin. Raises WrongKey."""
        if self.trust != trust_of(repository, admin):
            raise WrongKey(
                "the recovery key belongs to another repository than the one in this store",
                hint=f"Take the kit whose line `id` is {repository.hex()}, or look at the URL and the endpoint.",
            )


def new_recovery_key() -> tuple[str, str]:
    """Return the lines of a recovery key that is made before its repository: the seed, and the public recipient."""
    seed = random_bytes(KEY_SIZE)
    return encode_key("SEED", seed), encode_key("RECIPIENT", RecoveryKey(seed).recipient.public)


def parse_recovery(text: str) -> RecoveryLine:
    """Return the recovery line that stands in text, as one or as the two lines of seed and trust. Raises UsageError."""
    keys = find_keys(text)
    value = keys.get("RECOVERY", keys.get("SEED", b"") + keys.get("TRUST", b""))
    if len(value) != KEY_SIZE + TRUST_SIZE:
        raise UsageError(
            "there is no recovery key in what was given",
            hint="It is the line of the kit that begins with DRTOOL-RECOVERY-, or both DRTOOL-SEED- and DRTOOL-TRUST-.",
        )
    return RecoveryLine(value[:KEY_SIZE], value[KEY_SIZE:])


def parse_seed(text: str, kind: Literal["ADMIN", "OPERATOR"]) -> SigningKey:
    """Return the admin's or operator's signing key that stands in text. Raises UsageError."""
    hint = f"It is the line of the kit that begins with DRTOOL-{kind}-."
    return SigningKey(_find_key(text, kind, f"{kind.lower()} key", hint))


def parse_recipient(text: str) -> bytes:
    """Return the public key of a recipient whose recovery key was made elsewhere. Raises UsageError."""
    hint = "It begins with DRTOOL-RECIPIENT-; `drtool keys new` prints one."
    return _find_key(text, "RECIPIENT", "recipient's public key", hint)


def parse_runner_public(text: str) -> bytes:
    """Return the public key of a runner. Raises UsageError."""
    hint = "It begins with DRTOOL-RUNNER-; `drtool keys runner` prints one."
    return _find_key(text, "RUNNER", "runner's public key", hint)


def _find_key(text: str, kind: str, called: str, hint: str) -> bytes:
    value = find_keys(text).get(kind)
    if value is None or len(value) != KEY_SIZE:
        raise UsageError(f"there is no {called} in what was given", hint=hint)
    return value


@dataclass(frozen=True, slots=True)
class RunnerLine:
    """The private key of a runner, to which grants are sealed; and the trust that it holds them against, if any."""

    seed: bytes = field(repr=False)
    trust: bytes | None = None

    @property
    def key(self) -> RecoveryKey:
        """The private key of the seed."""
        return RecoveryKey(self.seed)

    def text(self) -> str:
        """Return the lines of the runner's key file."""
        lines = [
            encode_key("RUNNERSEED", self.seed),
            *([encode_key("TRUST", self.trust)] if self.trust else []),
        ]
        return "".join(f"{line}\n" for line in lines)

    def public_text(self) -> str:
        """Return the line to which a grant is made."""
        return encode_key("RUNNER", self.key.recipient.public)

    def check(self, repository: bytes, admin: bytes) -> None:
        """Return when this repository and admin are those that the runner trusts, or it trusts any. Raises WrongKey."""
        if self.trust is not None and self.trust != trust_of(repository, admin):
            raise WrongKey(
                "the grant is of another repository than the one that this runner trusts",
                hint="Ask who sent it; a runner for another repository has a key file of its own.",
            )


def parse_runner(text: str) -> RunnerLine:
    """Return the runner's key that stands in text. Raises UsageError."""
    keys = find_keys(text)
    seed, trust = keys.get("RUNNERSEED", b""), keys.get("TRUST")
    if len(seed) != KEY_SIZE or (trust is not None and len(trust) != TRUST_SIZE):
        raise UsageError(
            "there is no runner's key in what was given",
            hint="It is the line that begins with DRTOOL-RUNNERSEED-; `drtool keys runner` makes one.",
        )
    return RunnerLine(seed, trust)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one role holds on its machine: pinned repository and config, and the keys of its duties. A secret."""

    role: Role
    name: str
    repository: bytes
    policy: str
    admin: bytes
    config_number: int
    config_sha256: str
    list_keys: tuple[bytes, ...] = field(repr=False)
    id_key: bytes | None = field(default=None, repr=False)
    signing_seed: bytes | None = field(default=None, repr=False)

    def dump(self) -> str:
        """Return the bundle as the JSON of its file."""
        value: dict[str, Any] = {
            "drtool_bundle": 1,
            "role": self.role,
            "name": self.name,
            "repository": self.repository.hex(),
            "policy": self.policy,
            "admin": self.admin.hex(),
            "config": {"number": self.config_number, "sha256": self.config_sha256},
            "list_keys": [key.hex() for key in self.list_keys],
            "id_key": self.id_key.hex() if self.id_key else None,
            "signing_seed": self.signing_seed.hex() if self.signing_seed else None,
        }
        return json.dumps({**value, "check": _check(value)}, indent=2) + "\n"


def parse_bundle(text: str) -> Bundle:
    """Return the bundle of a file's text. Raises UsageError, without a word of its content."""
    try:
        value = json.loads(text)
        if value.pop("check") != _check(value):
            raise UsageError(
                "the bundle file was edited or damaged: its check does not fit",
                hint="Take the file as `drtool init` wrote it, from where it is kept.",
            )
        return Bundle(
            role=value["role"],
            name=value["name"],
            repository=bytes.fromhex(value["repository"]),
            policy=value["policy"],
            admin=bytes.fromhex(value["admin"]),
            config_number=value["config"]["number"],
            config_sha256=value["config"]["sha256"],
            list_keys=tuple(bytes.fromhex(key) for key in value["list_keys"]),
            id_key=bytes.fromhex(value["id_key"]) if value["id_key"] else None,
            signing_seed=bytes.fromhex(value["signing_seed"]) if value["signing_seed"] else None,
        )
    except (ValueError, KeyError, TypeError) as fault:
        raise UsageError(
            "the bundle file is not one that drtool wrote",
            hint="`drtool init --bundle FILE` writes it; look whether the file was cut or edited.",
        ) from fault


def _check(value: dict[str, Any]) -> str:
    """Return what a bundle's file says of its other fields, so that an edit or damage is seen before it is used."""
    return sha256(b"drtool/1 bundle\0" + json.dumps(value, sort_keys=True).encode()).hex()
