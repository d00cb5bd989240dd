"""One run of a plan into a cluster, as its actions see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drtool.operations.key_files import read_key_file
from drtool.operations.session import Session
from drtool.policy.schema import Policy
from drtool.recovery.journal import JournalSink
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.plan import Plan
from drtool.repository.format.crypto import SigningKey
from drtool.repository.kit import parse_seed
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster

RUN_LABEL = "drtool.io/run"  # of every object that a run made, with its name
MANAGER = "drtool"  # of the fields that a run applies


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a new writer is enrolled with: the admin's key, and a folder with drtool's own Secrets, as SECRET/KEY.

    The key lies in a file, which is read late, or was typed.
    """

    admin_key: Path | SigningKey
    secrets: Path

    def admin(self) -> SigningKey:
        """Return the admin's key. Raises UsageError where the file has none."""
        if isinstance(self.admin_key, SigningKey):
            return self.admin_key
        return parse_seed(read_key_file(self.admin_key), "ADMIN")


@dataclass(slots=True)
class Fence:
    """What is asked before a run changes anything in the store: nobody, until it holds the Lease of the namespace."""

    assure: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        """Return while a change is ours to make. Raises what assure raises."""
        self.assure()


@dataclass(frozen=True, slots=True)
class Replay:
    """What every action of a run works with. objects are those of the plan, by the names that steps have.

    results is what each step that is done ended with, by its id: of this run, and of those that it goes on from.
    reopen opens the repository anew, as it then is; enrolment is what a new writer is enrolled with. captured are the
    objects that the team's own deployment replaces, where it does. fence is what session, and so journal, asks.
    """

    session: Session
    policy: Policy
    plan: Plan
    run: str
    cluster: Cluster
    objects: Mapping[str, Prepared] = field(repr=False)
    journal: JournalSink
    results: dict[str, Json] = field(default_factory=dict)
    reopen: Callable[[], Session] | None = None
    enrolment: Enrolment | None = None
    captured: Mapping[str, Prepared] = field(default_factory=dict, repr=False)
    fence: Fence = field(default_factory=Fence)

    @property
    def namespace(self) -> str:
        """The namespace that is restored into."""
        return self.plan.namespace[1]
