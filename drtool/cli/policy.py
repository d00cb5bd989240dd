"""`drtool policy`: is a policy valid, can it keep its word, and what does it say with its defaults."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from drtool.cli.exits import exit_codes
from drtool.cli.options import POLICY, Invocation, common
from drtool.cli.output import Answer, say_text
from drtool.cli.table import Table
from drtool.cli.units import NONE, counted
from drtool.errors import PolicyInvalid
from drtool.policy.cadence import tail_interval
from drtool.policy.check import Finding, PolicyReport, check_policy
from drtool.policy.durations import brief_duration, format_duration
from drtool.policy.load import load_policy
from drtool.policy.promises import PROMISES, Promise, Standing
from drtool.policy.schema import Policy, policy_schema
from drtool.policy.sizes import size
from drtool.policy.take_over import TAKE_OVER
from drtool.policy.volumes import PostgresVolume

_LATER: Final = f"A repository that is there takes over what the policy got later by `{TAKE_OVER}`."
_FILE = click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group("policy")
def command() -> None:
    """Check a policy, show it with its defaults, print its schema."""


@command.command("check", epilog=exit_codes())
@_FILE
@common(POLICY)
def check(invocation: Invocation, file: Path | None) -> int:
    """Say whether a policy is valid, and whether it can keep its word.

    FILE or --policy. Nothing is contacted. All faults of an invalid policy come at once, with line and column; a
    policy that cannot meet its own objectives ends with 2 as well. A promise of drtool's that it breaks is said
    first, and ends with 0: that may be meant.
    """
    return invocation.say(answer(check_policy(load_policy(file or invocation.policy_file()))))


@command.command("show", epilog=exit_codes())
@_FILE
@common(POLICY)
def show(invocation: Invocation, file: Path | None) -> int:
    """Print a policy with all its defaults filled in.

    Secrets stay what they are in a policy: references.
    """
    policy = resolved(load_policy(file or invocation.policy_file()))
    if invocation.as_json:
        facts = {"policy": policy}
        return invocation.say(Answer("policy-show", f"policy {policy['name']}", "", facts))
    say_text("\n".join(yaml_lines(policy)))
    return 0


@command.command("schema", epilog=exit_codes())
@common()
def schema(_invocation: Invocation) -> int:
    """Print the JSON Schema of policy files, for editors."""
    say_text(json.dumps(policy_schema(), indent=2))
    return 0


def answer(report: PolicyReport) -> Answer:
    """Return what a check says: findings, arithmetic, promises, costs."""
    levels = Counter[str](finding.level for finding in report.findings)
    counts = [counted(levels[level], level) for level in ("error", "warning") if levels[level]]
    with_counts = f": {', '.join(counts)}" if counts else ""
    return Answer(
        command="policy-check",
        verdict=f"policy check: {report.policy} {_word(report)}{with_counts}",
        advice=_advice(report),
        facts=report.to_json(),
        lines=[_findings(report), _arithmetic(report), *_promises(report), _costs(report), "", _LATER],
        exit_code=0 if report.ok else PolicyInvalid.exit_code,
        alarm=bool(report.promises_that(Standing.BROKEN)),
    )


def _word(report: PolicyReport) -> str:
    """Return whether a policy can keep its word, with the promises that it breaks, as the table below has them."""
    broken, open_ones = (report.promises_that(standing) for standing in (Standing.BROKEN, Standing.PROBE))
    if not report.ok:
        return "cannot keep its word" + (f", and breaks {_promise(broken)}" if broken else "")
    if broken:
        return f"can meet its objectives, but breaks {_promise(broken)}"
    return "can keep its word" + (f", if the store lets {_promise(open_ones)} hold" if open_ones else "")


def _promise(numbers: Sequence[int]) -> str:
    """Return promise 3; promises 3 and 6; promises 1, 3 and 6."""
    *first, last = map(str, numbers)
    return f"promises {', '.join(first)} and {last}" if first else f"promise {last}"


def _advice(report: PolicyReport) -> str:
    for finding in report.findings:
        if finding.hint:
            return f"{_subject(finding)}{finding.hint}"
    if report.promises_that(Standing.BROKEN):
        return "The lines below the promises say why; `drtool init` makes its repository all the same."
    return "`drtool init` makes its repository."


def _subject(finding: Finding) -> str:
    return f"{finding.volume}: " if finding.volume else ""


def _findings(report: PolicyReport) -> Table:
    rows = [
        (finding.level, finding.volume or NONE, finding.message, finding.hint) for finding in report.findings
    ]
    return Table(("FINDING", "VOLUME", "WHAT", "HINT"), rows)


def _arithmetic(report: PolicyReport) -> Table:
    header = ("VOLUME", "SOURCE", "RUNS", "RPO", "WORST EXPOSURE", "ONE FAILURE", "ARITHMETIC")
    return Table(
        header,
        [
            (
                volume.name,
                volume.source,
                volume.runs,
                brief_duration(volume.cadence.rpo),
                brief_duration(volume.cadence.worst_exposure),
                "survived" if volume.cadence.survives_a_failure else "breaks it",
                volume.cadence.arithmetic,
            )
            for volume in report.volumes
        ],
        spare=("SOURCE", "ONE FAILURE"),
    )


def _promises(report: PolicyReport) -> list[str | Table]:
    rows = [
        (f"{number} {text}", *(volume.promises[number - 1].standing.value for volume in report.volumes))
        for number, text in enumerate(PROMISES, 1)
    ]
    reasons: dict[Promise, list[str]] = {}
    for volume in report.volumes:
        for promise in volume.promises:
            if promise.standing is not Standing.HOLDS:
                reasons.setdefault(promise, []).append(volume.name)
    told = [
        f"promise {promise.number}, {promise.standing.value} for {', '.join(names)}: {promise.reason}"
        for promise, names in sorted(reasons.items(), key=lambda item: item[0].number)
    ]
    header = ("PROMISE", *(volume.name for volume in report.volumes))
    return [Table(header, rows), *told]


def _costs(report: PolicyReport) -> Table:
    rows = [
        (
            volume.name,
            str(volume.cost.points),
            str(volume.cost.objects),
            str(volume.cost.requests),
            NONE if volume.cost.stored_bytes is None else size(volume.cost.stored_bytes),
        )
        for volume in report.volumes
    ]
    return Table(("VOLUME", "POINTS KEPT", "OBJECTS A MONTH", "REQUESTS A MONTH", "STORED"), rows)


def resolved(policy: Policy) -> dict[str, Any]:
    """Return policy as plain data, with what each volume inherits or derives written out."""
    data = policy.model_dump(mode="json", exclude_none=True)
    inherited = {name: data["objectives"][name] for name in ("rpo", "rto")} | {"retention": data["retention"]}
    for index, volume in enumerate(policy.volumes):
        given = inherited | data["volumes"][index]
        if isinstance(volume, PostgresVolume):
            given["tail_every"] = format_duration(tail_interval(policy, volume))
        data["volumes"][index] = {name: given[name] for name in type(volume).model_fields if name in given}
    return data


def yaml_lines(value: dict[str, Any] | list[Any], indent: str = "") -> Iterator[str]:
    """Yield value as YAML: mappings and lists in blocks, scalars as JSON writes them, which is YAML too."""
    pairs = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, item in pairs:
        head = indent + (key if key == "-" else f"{key}:")
        if not isinstance(item, dict | list) or not item:
            yield f"{head} {json.dumps(item, ensure_ascii=False)}"
        elif key == "-":
            first, *more = yaml_lines(item, indent + "  ")
            yield from (f"{head} {first.lstrip()}", *more)
        else:
            yield head
            yield from yaml_lines(item, indent + "  ")
