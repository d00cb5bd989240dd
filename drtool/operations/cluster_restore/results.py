"""What a restore into a cluster is asked for, what it asks back, and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from drtool.errors import Refused
from drtool.operations.cluster_restore.replay import Enrolment
from drtool.operations.session import Session
from drtool.recovery.target import TargetCluster
from drtool.recovery.wishes import Wishes
from drtool.sources.base import Json, Proof

Ending = Literal[
    "restored",
    "restored, and not proven",
    "restored, and an objective was missed",
    "restored, and not protected",
    "failed",
    "aborted",
]


def not_at_hand() -> Refused:
    """Return what is said where nobody gives the admin's key: who restores decides who backs that up again."""
    return Refused(
        "the plan enrols a new writer, so that what comes back is backed up again, and the admin's key is not at hand",
        hint="Give --admin-key-file FILE and --writer-secrets DIR; or --enrol later: nothing is then backed up until "
        "`drtool keys enrol` is run.",
    )


def nobody_to_ask(_files: Sequence[str]) -> Enrolment:
    """Ask nobody. Raises Refused."""
    raise not_at_hand()


@dataclass(frozen=True, slots=True)
class ClusterRestoreRequest:
    """What is asked for. context is a name in the kubeconfig. resume and abort name a run; its plan then decides.

    Of the wishes a run that is gone on with takes one: without enrol, a new writer is enrolled later, whatever its plan
    says. machine tells others who holds the namespace: host and process. enrolment is needed where a new writer is
    enrolled; ask_enrolment asks for it, and gets the files that its folder has to have; reopen opens the repository
    anew.
    """

    context: str
    wishes: Wishes = field(default_factory=Wishes)
    resume: str | None = None
    abort: str | None = None
    machine: str = ""
    enrolment: Enrolment | None = None
    ask_enrolment: Callable[[Sequence[str]], Enrolment] = nobody_to_ask
    reopen: Callable[[], Session] | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a person has to confirm before anything is written: which cluster, how many objects are applied there.

    replaced counts those of them that are deleted first. switched are the claims that get another volume, in place,
    and stopped what is stopped for it. began is the cluster that the run began in, where a CA tells it from this one.
    taken_over are volumes and longer limits that the admin signs, of the policy that was given.
    """

    policy: str
    target: TargetCluster
    namespace: str
    applied: int
    replaced: int
    switched: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    began: TargetCluster | None = None
    taken_over: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """What the cluster is confirmed by where nobody types: beside that of the one that the run began in, if any."""
        identity = self.target.identity
        return identity if self.began is None else f"{self.began.identity},{identity}"

    @property
    def phrase(self) -> str:
        """What is to be typed: nothing that a tired person types by habit, and what stops for it."""
        target = self.target
        known = target.uid[:8] or f"{target.where} {target.authority[:8]}".strip()
        was = f" was {self.began.authority[:8]}" if self.began else ""
        where = f"{self.namespace} {known}{was}"
        return " ".join([where, *(f"stop {name.rpartition('/')[2]}" for name in self.stopped)])


@dataclass(frozen=True, slots=True)
class RestoredVolume:
    """One volume that is back. loss is what its own moment lost, against the moment that was asked for, else now."""

    volume: str
    source: str
    point: str
    moment: datetime
    loss: timedelta
    rpo: timedelta
    size: int = 0
    seconds: float = 0.0
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedReferences:
    """The files that a query lists, and how many of them are missing in a volume; first are some of those.

    failed says why nobody knows what is missing: then the numbers say nothing.
    """

    name: str
    database: str
    files: str
    listed: int = 0
    missing: int = 0
    first: tuple[str, ...] = ()
    failed: str = ""

    @property
    def is_whole(self) -> bool:
        """Return whether every file is known to be there."""
        return not self.missing and not self.failed


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not come to its end. steps are those that were begun and are not done, of planned in all.

    way_on says how to go on, or back.
    """

    cause: str
    hint: str
    steps: tuple[str, ...]
    done: int
    planned: int
    way_on: str


@dataclass(frozen=True, slots=True)
class ClusterRestoreResult:
    """How a run ended. It begins when its plan is asked for, not when that is confirmed: nobody has their application.

    phases are seconds by phase, whole ones only; seconds is from its begin to its end. missed says which promise was
    not kept; failure why there is no end, where there is none. notes are what a person must still look at or do;
    enrol_later is the statement without which nothing is backed up, where a new writer is enrolled later. undone is
    what an abort took away and put back.
    """

    run: str
    policy: str
    target: TargetCluster
    namespace: str
    outcome: Ending
    begun: datetime
    ended: datetime
    rto: timedelta
    volumes: tuple[RestoredVolume, ...] = ()
    references: tuple[CheckedReferences, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    enrol_later: str = ""
    undone: Json = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def seconds(self) -> float:
        """How long it took, from the begin of the run to its end."""
        return (self.ended - self.begun).total_seconds()
