"""`drtool policy`: is a policy valid, can it keep its word, and what does it say with its defaults."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from drtool.cli.exits import exit_codes
from drtool.cli.options import POLICY, Invocation, common
from drtool.cli.output import Answer, say_text, table
from drtool.cli.units import NONE, counted, size
from drtool.errors import PolicyInvalid
from drtool.policy.cadence import tail_interval
from drtool.policy.check import Finding, PolicyReport, check_policy
from drtool.policy.durations import brief_duration, format_duration
from drtool.policy.load import load_policy
from drtool.policy.promises import PROMISES, Standing
from drtool.policy.schema import Policy, policy_schema
from drtool.policy.volumes import PostgresVolume

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
    policy that cannot meet its own RPO ends with 2 as well.
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
    counts = [
        counted(found, level)
        for level in ("error", "warning")
        if (found := [finding for finding in report.findings if finding.level == level])
    ]
    with_counts = f": {', '.join(counts)}" if counts else ""
    word = "can keep its word" if report.ok else "cannot keep its word"
    return Answer(
        command="policy-check",
        verdict=f"policy check: {report.policy} {word}{with_counts}",
        advice=_advice(report),
        facts=report.to_json(),
        lines=[*_findings(report), *_arithmetic(report), *_promises(report), *_costs(report)],
        exit_code=0 if report.ok else PolicyInvalid.exit_code,
    )


def _advice(report: PolicyReport) -> str:
    for finding in report.findings:
        if finding.hint:
            return f"{_subject(finding)}{finding.hint}"
    return "`drtool init` makes its repository."


def _subject(finding: Finding) -> str:
    return f"{finding.volume}: " if finding.volume else ""


def _findings(report: PolicyReport) -> list[str]:
    rows = [
        (finding.level, finding.volume or NONE, finding.message, finding.hint) for finding in report.findings
    ]
    return table(("FINDING", "VOLUME", "WHAT", "HINT"), rows)


def _arithmetic(report: PolicyReport) -> list[str]:
    header = ("VOLUME", "SOURCE", "RUNS", "RPO", "WORST EXPOSURE", "ONE FAILURE", "ARITHMETIC")
    return table(
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
    )


def _promises(report: PolicyReport) -> list[str]:
    rows = [
        (f"{number} {text}", *(volume.promises[number - 1].standing.value for volume in report.volumes))
        for number, text in enumerate(PROMISES, 1)
    ]
    reasons = [
        f"{volume.name}, promise {promise.number}, {promise.standing.value}: {promise.reason}"
        for volume in report.volumes
        for promise in volume.promises
        if promise.standing is not Standing.HOLDS
    ]
    header = ("PROMISE", *(volume.name for volume in report.volumes))
    return [*table(header, rows), *reasons]


def _costs(report: PolicyReport) -> list[str]:
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
    return table(("VOLUME", "POINTS KEPT", "OBJECTS A MONTH", "REQUESTS A MONTH", "STORED"), rows)


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
