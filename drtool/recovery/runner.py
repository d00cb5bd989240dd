"""A plan executed: every step once, after what it needs, independent ones side by side, journaled before and after.

It knows no cluster and no repository: what a step does is in the actions, where a journal is kept is in its sink.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from drtool.errors import Corrupt, DrtoolError, Refused, TemporaryFailure
from drtool.recovery.journal import JournalSink, State
from drtool.recovery.manifests.objects import Json
from drtool.recovery.steps import Step, StepKind

Action = Callable[[Step], Json]

_AT_ONCE: Final = 4  # steps: volumes, for all else waits for the step before it


@dataclass(frozen=True, slots=True)
class Runner:
    """What executes steps. tell is told of each what the journal was, from any thread.

    actions are safe to call again for a step that was begun before, and end early by themselves once ending is set.
    way_on is a sentence that says how to go on with what was stopped.
    """

    actions: Mapping[StepKind, Action]
    journal: JournalSink
    ending: threading.Event
    tell: Callable[[Step, State], None] = lambda _step, _state: None
    way_on: str = ""

    def run(self, steps: Sequence[Step], done: dict[str, Json]) -> None:
        """Do the steps that are not in done, and keep there what each ends with.

        Of those that may begin the first of the plan does. Once one has failed, or ending is set, none begins any more;
        those under way are waited for: what they finish is not done twice. Raises the first error, with its step's
        name before it, and no Refused for a step that was begun; TemporaryFailure where ending left steps out; Refused
        for a step that nobody knows how to do.
        """
        self._check(steps, done)
        waiting = [step for step in steps if step.id not in done]
        running: dict[Future[None], Step] = {}
        failed: DrtoolError | None = None
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="drtool-step") as pool:
            while True:
                if failed is None and not self.ending.is_set():
                    for step in _ready(waiting, done)[: _AT_ONCE - len(running)]:
                        waiting.remove(step)
                        running[pool.submit(self._do, step, done)] = step
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    fault = self._fault_of(future, running.pop(future))
                    failed = failed or fault
        if failed is not None:
            raise failed
        if waiting:
            raise TemporaryFailure(f"the run was ended before step {waiting[0].id}", hint=self.way_on)

    def _check(self, steps: Sequence[Step], done: Collection[str]) -> None:
        """Return when every step can be done, and has its turn. Raises Refused, Corrupt."""
        before = set(done)
        for step in steps:
            if step.kind not in self.actions:
                raise Refused(
                    f"step {step.id} is of kind {step.kind}, which this drtool does not know",
                    hint="A newer drtool made the plan: execute it with that one.",
                )
            if not before.issuperset(step.needs):
                raise Corrupt(f"step {step.id} of the plan needs what does not come before it")
            before.add(step.id)

    def _do(self, step: Step, done: dict[str, Json]) -> None:
        self.journal.write(step.id, "begun", {})
        self.tell(step, "begun")
        try:
            result = self.actions[step.kind](step)
        except Exception as fault:
            with suppress(
                DrtoolError
            ):  # what the step failed with counts, not that it could not be written down
                self.journal.write(step.id, "failed", _told(fault))
            self.tell(step, "failed")
            raise
        self.journal.write(step.id, "done", result)
        done[step.id] = result
        self.tell(step, "done")

    def _fault_of(self, future: Future[None], step: Step) -> DrtoolError | None:
        """Return what a step that has ended failed with, as a person should read it. Raises what nobody foresaw."""
        try:
            future.result()
        except DrtoolError as fault:
            hint = " ".join(each for each in (fault.hint, self.way_on) if each)
            named = _kind(fault)(f"step {step.id}: {fault.message}", hint=hint)
            named.__cause__ = fault
            return named
        return None


def _ready(waiting: Sequence[Step], done: Mapping[str, Json]) -> list[Step]:
    """Return those whose needs are done, in the order of the plan."""
    return [step for step in waiting if all(need in done for need in step.needs)]


def _told(fault: Exception) -> Json:
    """Return what a journal keeps of an error."""
    if isinstance(fault, DrtoolError):
        return {"error": fault.message, "hint": fault.hint, "exit": _kind(fault).exit_code}
    return {"error": f"{type(fault).__name__}: {fault}", "hint": "", "exit": DrtoolError.exit_code}


def _kind(fault: DrtoolError) -> type[DrtoolError]:
    """Return what a step's error is to the run: one that refuses has changed something, and so have those before it."""
    return DrtoolError if isinstance(fault, Refused) else type(fault)
