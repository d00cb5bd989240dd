"""Hooks: what a team does by hand and no manifest holds, at its place in a restore into a cluster."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from drtool.policy.model import Duration, KubernetesName, Model, Name, Text, one_form, refusal
from drtool.policy.volumes import RunAs

Command = Annotated[tuple[Text, ...], Field(min_length=1)]


class StartPlace(Model):
    """The start of a workload. Its tier is ready once it has started."""

    start: KubernetesName


class RestorePlace(Model):
    """The restore of a volume. Its data is proven once it is restored."""

    restore: Name


class PhasePlace(Model):
    """A whole phase. The one before these makes the namespace, in which all hooks run."""

    phase: Literal["deployment", "data", "testing"]


Place = Annotated[
    Annotated[StartPlace, Tag("{start}")]
    | Annotated[RestorePlace, Tag("{restore}")]
    | Annotated[PhasePlace, Tag("{phase}")],
    one_form("start", "restore", "phase"),
]


class HookBase(Model):
    """When a hook runs, for how long, and what its failure does: stop the restore there, or be noted.

    It runs before or after a place: `after: {start: web}`, `before: {restore: media}`, `after: {phase: testing}`. What
    comes behind it waits. A hook that had begun and not ended when drtool was killed runs again on --resume, and so
    does one that failed: write one that may run twice.
    """

    name: Text
    before: Place | None = None
    after: Place | None = None
    time_limit: Duration = timedelta(minutes=5)
    on_failure: Literal["stop", "note"] = "stop"

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.before is None) == (self.after is None):
            raise refusal("a hook needs exactly one of before and after", "as in after: {start: WORKLOAD}")
        return self

    @property
    def place(self) -> StartPlace | RestorePlace | PhasePlace:
        """Where it runs, before or after it."""
        place = self.before or self.after
        assert place is not None  # noqa: S101 - the validator saw to it
        return place


class CommandHook(HookBase):
    """A command, no shell, in a pod of a workload that runs by then: in the first that is ready.

    container is that of the pod's annotation kubectl.kubernetes.io/default-container, else its first, if not given.
    """

    command: Command
    workload: KubernetesName
    container: KubernetesName | None = None

    @model_validator(mode="after")
    def _runs_beside_workloads(self) -> Self:
        is_end = isinstance(self.after, PhasePlace) and self.after.phase == "testing"
        if not isinstance(self.place, StartPlace) and not is_end:
            raise refusal(
                "runs while no workload does, so it has no pod to run its command in",
                "write after: {start: WORKLOAD}, or give a job, which has a pod of its own",
            )
        return self


class HookJob(Model):
    """A pod of its own in the namespace: restricted, without rights to the API, deleted in the end.

    command is run as it stands, no shell, by an unprivileged user: run_as, else drtool's.
    """

    image: Text
    command: Command
    run_as: RunAs | None = None


class JobHook(HookBase):
    """A command in a pod of its own, from any image."""

    job: HookJob


Hook = Annotated[
    Annotated[CommandHook, Tag("{command}")] | Annotated[JobHook, Tag("{job}")], one_form("command", "job")
]
