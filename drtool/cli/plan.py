"""`drtool plan`: how everything would come back into a cluster, and what speaks against it."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import CHOICE, PLACE, RECOVERY_KEY, Invocation, common, complete_volume
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.target_options import WISHES, wishes_of
from drtool.cli.units import NONE, counted, took, when
from drtool.errors import Refused
from drtool.operations.plan import PlanResult, run_plan
from drtool.policy.moments import to_second
from drtool.policy.sizes import size
from drtool.recovery.plan import Plan
from drtool.recovery.steps import Step

_SHOWN = 3  # objects of a step that its line names


@click.command("plan", epilog=exit_codes(4, 6, *STORE))
@click.argument("volumes", nargs=-1, metavar="[VOLUME]...", shell_complete=complete_volume)
@click.option(
    "--to-cluster", "context", required=True, metavar="CONTEXT", help="A context of the kubeconfig."
)
@common(WISHES, PLACE, RECOVERY_KEY, CHOICE)
def command(invocation: Invocation, *, context: str, **given: Any) -> int:
    """Say how everything would come back into a cluster, and what speaks against it.

    Reads the points and the captured objects with the recovery key, and looks at the cluster; nothing is written.
    Shows for each volume its point and what would be lost, the steps in their order, and what would change in the
    cluster, with no value of a Secret. Ends with 5 and all the reasons at once where it cannot be.
    `drtool restore --to-cluster` makes the same plan, and executes it.
    """
    wishes = wishes_of(invocation, given)
    return invocation.say(answer(run_plan(invocation.session(), context, wishes), invocation.now))


def answer(result: PlanResult, now: datetime) -> Answer:
    """Return what a plan says: the verdict, the volumes, the steps, and what would change."""
    where = f"{result.target.context}, namespace {result.namespace}"
    if result.plan is None:
        count = len(result.refusals)
        speaks = "reason speaks" if count == 1 else "reasons speak"
        verdict = f"plan: {result.policy} cannot come back into {where}: {count} {speaks} against it"
        advice = "Nothing was touched. Each reason says what to do; then plan again."
    else:
        verdict = (
            f"plan: {result.policy} would come back into {where}: "
            f"{counted(len(result.plan.steps), 'step')}, {size(result.plan.size)} of data"
        )
        advice = (
            "Nothing was touched. `drtool restore --to-cluster` with the same options executes this plan."
        )
    return Answer(
        command="plan",
        verdict=verdict,
        advice=advice,
        facts={"plan": result},
        lines=[*_lines(result, now)],
        exit_code=0 if result.plan else Refused.exit_code,
        alarm=bool(result.missed),
    )


def _lines(result: PlanResult, now: datetime) -> Iterator[str | Table]:
    cluster = result.target
    yield ""
    yield f"cluster  {cluster.where}, {cluster.version}, uid {cluster.uid or 'not to be seen'}"
    for refusal in result.refusals:
        yield from ("", f"error: {refusal.about} {refusal.message}", f"hint: {refusal.hint}")
    yield _volumes(result, now)
    if result.volumes:
        yield from ("", f"skew     {took(result.skew.total_seconds())}")
    yield from (f"MISSED   {text}" for text in result.missed)
    if result.plan is not None:
        yield from _takes(result.plan)
        rows = [(phase.name, step.id, _what(step)) for phase in result.plan.phases for step in phase.steps]
        yield Table(("PHASE", "STEP", "WHAT"), rows)
    yield from _changes(result)
    yield from (f"note: {note}" for note in result.notes)


def _takes(plan: Plan) -> Iterator[str]:
    """Yield what a plan takes: room, and time as far as it is known."""
    asked = [f"{size(count)} of class {name or 'by default'}" for name, count in plan.disk.items()]
    if asked:
        yield f"disk     {', '.join(asked)}"
    if plan.predicted is not None:
        yield f"time     {took(plan.predicted.total_seconds())} for the data, as earlier restores took"
    if plan.unmeasured:
        yield f"time     not known: no restore of {', '.join(plan.unmeasured)} was measured yet"


def _volumes(result: PlanResult, now: datetime) -> Table:
    rows = [
        (
            each.volume,
            when(each.moment, now),
            took(each.loss.total_seconds()),
            took(each.cost.total_seconds()) if each.cost else NONE,
            size(each.size),
            each.point.rpartition("-")[2][:8],
        )
        for each in result.volumes
    ]
    return Table(("VOLUME", "COMES BACK TO", "LOSES", "MORE THAN NEWEST", "SIZE", "POINT"), rows)


def _what(step: Step) -> str:
    """Return to what a step is done."""
    if step.moment is not None:
        return f"{size(step.size)} as of {to_second(step.moment)}"
    names = [name.rpartition("/")[2] for name in step.objects]
    more = f", … {len(names)} in all" if len(names) > _SHOWN else ""
    deleted = f"; deleted before: {len(step.replaced)}" if step.replaced else ""
    return f"{', '.join(names[:_SHOWN])}{more}{deleted}" or step.what


def _changes(result: PlanResult) -> Iterator[str | Table]:
    """Yield how the objects stand against the target: each by name, and those that differ with their diff."""
    if not result.changes and not result.left_out:
        return
    counts = Counter(each.state for each in result.changes)
    said = [f"{counts[state]} {state}" for state in ("new", "changed", "equal") if counts[state]]
    yield from ("", f"objects  {', '.join(said) or 'none'}")
    yield Table(
        ("OBJECT", "IN THE TARGET", "ACTION"),
        [(each.object, each.state, each.action) for each in result.changes],
    )
    yield from [""] if result.left_out else []
    for reason, count in result.left_out.items():
        yield f"left out {count}: {reason}"
    for each in result.changes:
        if each.state == "changed":
            yield from ("", f"{each.object}: {each.action}", *(f"  {line}" for line in each.diff))
