"""What the verbs answer: plain values, which the command line prints as text or as JSON."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from drtool.errors import DrtoolError
from drtool.sources.base import Look, Proof

Outcome = Literal["done", "not due", "failed", "would run"]
PointState = Literal[
    "listed",
    "late",
    "void",
    "suspect",
    "waiting for WAL",
    "without WAL",
    "unreadable",
    "writer ended",
    "not whole",
]


@dataclass(frozen=True, slots=True)
class InitResult:
    """A new repository. kit and admin_sheet hold secrets that exist nowhere else: to be shown once."""

    policy: str
    repository: str
    url: str
    recipients: tuple[str, ...]
    kit: dict[str, str] = field(repr=False)
    admin_sheet: str = field(repr=False)
    bundle: str = field(repr=False)
    probes: tuple["ProbeRow", ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One thing that was asked of the store, and what it did."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class VolumeBackup:
    """How the backup of one volume ended. Sizes in bytes: read from the source, reused, uploaded.

    look is what a dry run found at the source.
    """

    volume: str
    outcome: Outcome
    reason: str = ""
    point: str | None = None
    moment: datetime | None = None
    read: int = 0
    reused: int = 0
    stored: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: DrtoolError | None = None
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What a catch-up of WAL brought: up to which LSN everything is durable, and at which moment that was so.

    gap says what the server had dropped before it could be fetched. restorable tells whether a base backup reaches
    the end of this WAL. received and stored are in bytes: of WAL, and of the objects that keep it. by_follower: a
    follower is at work and keeps up, so there was nothing to do.
    """

    volume: str
    lineage: str
    timeline: int
    begin: str
    end: str
    moment: datetime
    segments: int
    tails: int
    received: int
    stored: int
    seconds: float
    gap: str | None = None
    restorable: bool = True
    by_follower: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """What a follower brought until it was asked to end: up to which LSN everything is durable, as of which moment.

    gaps say what the server had dropped before it could be fetched. Sizes in bytes, as those of a CatchUp.
    """

    volume: str
    lineage: str
    timeline: int
    end: str
    moment: datetime
    segments: int
    tails: int
    received: int
    stored: int
    seconds: float
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point as `points` shows it: one moment, or any moment from begin to end. writer: who made it."""

    volume: str
    source: str
    id: str
    name: str
    begin: datetime
    end: datetime
    size: int
    stored: int
    state: PointState
    detail: str = ""
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Protection:
    """Whether who takes over the cluster could destroy history, as the writer's newest probe of the store found it.

    reasons are what it hangs on; weaknesses what the writer may do beside, and need not.
    """

    state: Literal["protected", "not protected", "unknown"]
    reasons: tuple[str, ...] = ()
    probed: datetime | None = None
    weaknesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """How one volume stands: what would be lost now, against what was promised.

    verified_by says how last_verified was: a level of `verify`, or a restore. overdue says what has not come.
    """

    volume: str
    source: str
    newest: datetime | None
    exposure: timedelta | None
    rpo: timedelta
    inside: bool
    points: int
    next_run: datetime | None
    last_verified: datetime | None
    last_failure: str = ""
    verified_by: str = ""
    overdue: tuple[str, ...] = ()
    history: Literal["protected", "not protected", "unknown"] = "unknown"


@dataclass(frozen=True, slots=True)
class Status:
    """How a policy stands. faults are red, warnings yellow; both say what to do.

    policy_of is when the store received the run that told the policy; None where a policy was given.
    """

    policy: str
    repository: str
    at: datetime
    volumes: tuple[VolumeStatus, ...]
    recipients: tuple[str, ...]
    last_proven: datetime | None
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    policy_of: datetime | None = None
    protection: Protection = Protection("unknown")

    @property
    def red(self) -> bool:
        """Whether a promise is broken now."""
        return bool(self.faults) or any(not volume.inside for volume in self.volumes)


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A restore into a directory: which point, what moment the data has, how long each phase took, what was proven.

    passed_over are newer points that could not be chosen; the notes say why.
    """

    volume: str
    source: str
    point: str
    target: datetime | None
    moment: datetime
    directory: str
    size: int
    seconds: float
    phases: dict[str, float]
    proofs: tuple[Proof, ...]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    passed_over: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """One object that verification found wrong."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a verification looked at, and what it found. share is the part of the objects and chunks that it read.

    unrecorded says why the verification could not be kept, for `status` to see. unfinished are snapshots whose backup
    did not end well, and which can never be restored: no damage, for no run called them a point.
    """

    level: Literal["L0", "L1", "L2"]
    objects: int
    bytes: int
    points: int
    faults: tuple[Fault, ...]
    seconds: float
    share: float = 1.0
    unrecorded: str | None = None
    unfinished: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyProof:
    """What a typed recovery key opened: for each volume the point that was read, and how many runs' keys.

    empty are the volumes without a point. unrecorded says why the proof could not be kept, for `status` to see.
    """

    recipient: str
    volumes: dict[str, str]
    runs: int
    empty: tuple[str, ...] = ()
    unrecorded: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that doctor looked at, about a volume or an object. An error breaks backups, or a promise.

    hint is a sentence. mend holds the statements that put it right, in their order; where says who takes them.
    """

    area: str
    about: str
    level: Literal["ok", "warning", "error"]
    message: str
    hint: str = ""
    mend: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """What doctor found, area by area, errors first in each. is_probed: whether a canary was put into the store."""

    policy: str
    findings: tuple[Finding, ...]
    is_probed: bool

    def of(self, level: str) -> list[Finding]:
        """Return the findings of a level."""
        return [finding for finding in self.findings if finding.level == level]


@dataclass(frozen=True, slots=True)
class MissingRights:
    """What a namespace's users lack: objects are Roles with their RoleBindings, ready to be applied.

    asked are the users for whom the API was asked; unasked those that it would not speak for.
    """

    policy: str
    namespace: str
    asked: tuple[str, ...]
    unasked: tuple[str, ...]
    objects: tuple[dict[str, Any], ...]
