"""What every verb begins with: a policy, the repository that it names, and what the machine gives."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from drtool.errors import Refused, UsageError
from drtool.operations.cluster_secrets import cluster_secrets
from drtool.operations.key_files import read_key_bytes, read_key_file
from drtool.policy.load import parse_policy, read_policy
from drtool.policy.schema import Policy
from drtool.policy.schema import Repository as RepositorySettings
from drtool.policy.secret import FileReference, SecretReference, SecretResolver
from drtool.repository.format.crypto import SigningKey
from drtool.repository.format.grant import Opened
from drtool.repository.granted import open_with_grant
from drtool.repository.kit import Bundle, RecoveryLine, parse_bundle, parse_recovery, parse_runner, parse_seed
from drtool.repository.repository import Repository, open_with_bundle, open_with_recovery
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.open import open_store
from drtool.repository.storage.retry import RetryingStore, fenced
from drtool.repository.storage.settings import S3Credentials

_OF_ITS_OWN = "One repository serves one policy: give this one a URL of its own."
STORE_PATIENCE_S = 300.0  # how long an outage of the store is waited out before a command gives up


class Progress(Protocol):
    """Who shows how far the work is. Every call may come from any thread."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase; total is in bytes where it is known."""
        ...

    def advance(self, size: int) -> None:
        """Say that size more bytes are done."""
        ...

    def note(self, text: str) -> None:
        """Say something that a person should see, and that is no failure."""
        ...

    def interrupted(self) -> None:
        """Say that the phase under way, if there is one, does not come to its end."""
        ...

    def step(self, name: str, total: int | None = None) -> AbstractContextManager["Progress"]:
        """Begin a step of the phase that runs beside others: the context is the Progress of whoever does it.

        It ends with its context. Its bytes are those of the phase, too.
        """
        ...

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Say how long all of the work may take, and how much of that is gone: what is left is then shown."""
        ...


class Silent:
    """A Progress that shows nothing."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Show nothing."""

    def advance(self, size: int) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def interrupted(self) -> None:
        """Show nothing."""

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Progress]:  # noqa: ARG002
        """Show nothing."""
        return nullcontext(self)

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True)
class World:
    """What the command line reads of its machine and passes in: clock, environment, how to show progress.

    elapsed is seconds that go on while the machine sleeps, as they do for everybody else. folder is that of the
    policy's file: relative paths in the policy are from there.
    """

    clock: Callable[[], datetime]
    environment: Mapping[str, str]
    progress: Progress
    ending: threading.Event = field(default_factory=threading.Event)  # set once somebody asked drtool to end
    patience_s: float = STORE_PATIENCE_S
    elapsed: Callable[[], float] = time.monotonic
    folder: Path = Path()

    def secret(self, reference: SecretReference | str | None) -> str | None:
        """Return the text that reference stands for. Raises UsageError that names what is missing."""
        if reference is None or isinstance(reference, str):
            return reference
        if isinstance(reference, FileReference):
            reference = FileReference(file=str(self.file(reference.file)))
        return SecretResolver(self.environment, _read_file, cluster_secrets(self.environment)).text(reference)

    def file(self, path: str | None) -> Path | None:
        """Return where a file is that the policy names, if it names one."""
        return self.folder / path if path else None


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Where:
    """Where a repository is, said on the command line instead of in a policy: what a kit holds."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The files with keys that were given. Only one of bundle and recovery is needed, as the verb says.

    grants are the pieces of one grant, in order; they go with the key file of the runner.
    """

    bundle: Path | None = None
    recovery: Path | None = None
    grants: Sequence[Path] = ()
    runner: Path | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A policy (None when only a kit is at hand), its repository, and the machine; grant, if that is all it opens.

    settings say where the repository is, and how one logs in there from this machine.
    """

    policy: Policy | None
    policy_text: str
    repository: Repository
    world: World
    grant: Opened | None = None
    settings: RepositorySettings | Where | None = None

    def need_policy(self) -> Policy:
        """Return the policy. Raises UsageError where none was given."""
        if self.policy is None:
            raise UsageError("this needs a policy", hint="Give --policy FILE, or set DRTOOL_POLICY.")
        return self.policy

    def need_writer(self) -> None:
        """Return when the keys at hand are a writer's. Raises Refused."""
        if self.repository.records.keys.role != "writer":
            raise not_a_writer(self.repository.records.keys.role)

    def fenced(self, assure: Callable[[], object]) -> "Session":
        """Return this session for who may change the store only as long as assure returns.

        It is asked before each attempt: an outage of the store may be waited out for longer than a Lease lasts.
        """
        known = self.repository
        store = fenced(known.store, assure)
        records = copy(known.records)  # with what it remembers
        records.store = store
        return replace(self, repository=replace(known, store=store, records=records))

    def close(self) -> None:
        """Let go of the store's connections."""
        self.repository.store.close()


def not_a_writer(role: str) -> Refused:
    """Return the error for who asks for a writer's work with the keys of role."""
    return Refused(
        f"this takes a writer's bundle; what was given are the keys of a {role}",
        hint="Give the bundle that `drtool init` wrote: --bundle FILE, or writer in the policy's repository.",
    )


def connect(settings: RepositorySettings | Where, world: World) -> ObjectStore:
    """Return the store that settings name, with retries. Contacts nothing yet. Raises UsageError."""
    return RetryingStore(plain_store(settings, world), deadline_s=world.patience_s, ending=world.ending)


def plain_store(settings: RepositorySettings | Where, world: World) -> ObjectStore:
    """Return the store that settings name, whose outages nobody waits out. Contacts nothing yet. Raises UsageError."""
    credentials: Callable[[], S3Credentials] | None = None
    if isinstance(settings, RepositorySettings) and settings.access_key is not None:
        repository = settings

        def credentials() -> S3Credentials:
            return S3Credentials(
                world.secret(repository.access_key) or "",
                world.secret(repository.secret_key) or "",
                world.secret(repository.session_token),
            )

    return open_store(
        settings.url,
        clock=world.clock,
        endpoint=settings.endpoint,
        region=settings.region,
        credentials=credentials,
        ca_file=store_ca(settings, world),
    )


def store_ca(settings: RepositorySettings | Where, world: World) -> Path | None:
    """Return the file of the authorities that are trusted for a store, if one is named."""
    return settings.ca_file if isinstance(settings, Where) else world.file(settings.ca_file)


def open_session(policy_file: Path | None, where: Where | None, keys: KeyFiles, world: World) -> Session:
    """Return an open session. The recovery key is looked at first, where one is given: a wrong one is said at once."""
    text = read_policy(policy_file) if policy_file else ""
    policy = parse_policy(text, str(policy_file)) if policy_file else None
    settings = where or (policy.repository if policy else None)
    if settings is None:
        raise UsageError(
            "there is neither a policy nor a repository's URL",
            hint="Give --policy FILE, or set DRTOOL_POLICY; or --repository URL with --bundle FILE or "
            "--recovery-key-file FILE.",
        )
    repository, grant = _open(connect(settings, world), keys, policy, world)
    if policy is not None and repository.config.policy != policy.name:
        raise UsageError(
            f"the repository belongs to policy {repository.config.policy}, not to {policy.name}",
            hint=_without_policy(policy_file, world) if where else _OF_ITS_OWN,
        )
    return Session(policy, text, repository, world, grant, settings)


def _without_policy(policy_file: Path | None, world: World) -> str:
    """Return how who named a repository goes on, where the policy beside it is of another one."""
    if str(policy_file) == world.environment.get("DRTOOL_POLICY"):
        return (
            f"DRTOOL_POLICY is set to {policy_file}, a policy of another repository: for what takes no policy, as "
            "restore, points, status and verify, begin with `env -u DRTOOL_POLICY drtool …`."
        )
    return f"{_OF_ITS_OWN} What takes no policy, as restore, points, status and verify: leave --policy out."


def _open(
    store: ObjectStore, keys: KeyFiles, policy: Policy | None, world: World
) -> tuple[Repository, Opened | None]:
    """Return the repository as the keys at hand show it: those of a grant before all others."""
    if keys.grants or keys.runner:
        if not keys.grants or keys.runner is None:
            raise UsageError(
                "a grant and its runner's key file go together",
                hint="Give --grant FILE and --runner-key-file FILE.",
            )
        runner = parse_runner(read_key_file(keys.runner))
        return open_with_grant(store, b"".join(map(read_key_bytes, keys.grants)), runner, world.clock())
    line, operator = _recovery(keys.recovery)
    if line is not None:
        return open_with_recovery(store, line, operator), None
    return open_with_bundle(store, read_bundle(keys, policy, world)), None


def _recovery(file: Path | None) -> tuple[RecoveryLine | None, SigningKey | None]:
    if file is None:
        return None, None
    text = read_key_file(file)
    operator = parse_seed(text, "OPERATOR") if "DRTOOL-OPERATOR-" in text else None
    return parse_recovery(text), operator


def read_bundle(keys: KeyFiles, policy: Policy | None, world: World) -> Bundle:
    """Return the bundle of a role: that of keys, else the one that the policy names. Raises UsageError."""
    text = read_key_file(keys.bundle) if keys.bundle else None
    if text is None and policy is not None and policy.repository.writer is not None:
        text = world.secret(policy.repository.writer)
    if text is None:
        raise UsageError(
            "no keys were given",
            hint="Give --bundle FILE (what `drtool init` wrote), or --recovery-key-file FILE (from the kit).",
        )
    return parse_bundle(text)
