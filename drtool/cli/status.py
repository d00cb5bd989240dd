"""`drtool status`: what would be lost now, against what was promised."""

from datetime import datetime
from typing import Final

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import KEYS, PLACE, Invocation, common
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.units import NONE, counted, relative, when
from drtool.errors import ObjectiveMissed
from drtool.operations.results import Status, VolumeStatus
from drtool.operations.status import no_point, run_status
from drtool.policy.durations import brief_duration
from drtool.policy.moments import to_second

_HEADER: Final = (
    *(
        "VOLUME",
        "SOURCE",
        "EXPOSURE",
        "RPO",
        "NEWEST",
        "POINTS",
        "NEXT RUN",
        "VERIFIED",
        "HISTORY",
        "VERDICT",
    ),
)


@click.command("status", epilog=exit_codes(4, 9, *STORE))
@click.option("--check", is_flag=True, help="End with 9 when a promise is broken now.")
@common(PLACE, KEYS)
def command(invocation: Invocation, *, check: bool) -> int:
    """Say what would be lost now, volume by volume.

    Computed from what is durable in the repository. The bucket and a reader's bundle (`drtool keys reader`) are
    enough: without --policy the one that the newest run stored counts. Ends with 0 whatever it finds, unless
    --check is given.
    """
    return invocation.say(answer(run_status(invocation.session()), check=check))


def answer(status: Status, *, check: bool = False) -> Answer:
    """Return what a status says."""
    outside = [volume.volume for volume in status.volumes if not volume.inside]
    verdict = f"status: {status.policy} is inside of its objectives"
    if outside:
        verdict = f"status: RED, outside of the RPO: {', '.join(outside)}"
    elif status.faults:
        verdict = f"status: RED, {counted(len(status.faults), 'fault')}"
    elif warnings := len(status.warnings) + len(_failures(status)):
        verdict += f", {counted(warnings, 'warning')}"
    advice = _advice(status, outside)
    remarks = _remarks(status, {advice, *map(no_point, outside)})
    return Answer(
        command="status",
        verdict=verdict,
        advice=advice,
        facts={"status": status, "red": status.red},
        lines=[
            Table(
                _HEADER,
                [_row(volume, status.at) for volume in status.volumes],
                spare=("SOURCE", "POINTS", "VERIFIED", "NEXT RUN"),
            ),
            *(each for each in _failures(status) if each != advice),
            *(["", *remarks] if remarks else []),
            "",
            f"repository  {status.repository}",
            f"policy      {_policy(status)}",
            f"history     {_history(status)}",
            f"recipients  {', '.join(status.recipients)}; a key was last proven: {when(status.last_proven, status.at)}",
        ],
        exit_code=ObjectiveMissed.exit_code if check and status.red else 0,
        alarm=status.red,
    )


def _advice(status: Status, outside: list[str]) -> str:
    if outside:
        is_known = any(volume.overdue for volume in status.volumes if not volume.inside)
        is_new = not any(volume.points for volume in status.volumes)
        why = "" if is_known or is_new else "; look at why it did not run"
        return f"Run `drtool backup {' '.join(outside)}`{why}."
    return next(iter((*status.faults, *_failures(status), *status.warnings)), "There is nothing to do.")


def _remarks(status: Status, said: set[str]) -> list[str]:
    """Return a line for each cause that was not said yet."""
    told = [("fault", text) for text in status.faults] + [("warning", text) for text in status.warnings]
    return [f"{level}: {text}" for level, text in told if text not in said]


def _row(volume: VolumeStatus, now: datetime) -> tuple[str, ...]:
    return (
        volume.volume,
        volume.source,
        brief_duration(volume.exposure) if volume.exposure is not None else "all",
        brief_duration(volume.rpo),
        to_second(volume.newest) if volume.newest else NONE,
        str(volume.points),
        _next_run(volume, now),
        f"{volume.verified_by} {relative(volume.last_verified, now)}" if volume.last_verified else "never",
        volume.history,
        "ok" if volume.inside else "RED",
    )


def _next_run(volume: VolumeStatus, now: datetime) -> str:
    if volume.next_run is None:
        return NONE
    return "due now" if volume.next_run == now else relative(volume.next_run, now)


def _policy(status: Status) -> str:
    told = f"as a run told it at {when(status.policy_of, status.at)}" if status.policy_of else "as given"
    return f"{status.policy}, {told}"


def _history(status: Status) -> str:
    """Return whether earlier backups are safe, and what is not so; the whole of what was probed is in the JSON."""
    found = status.protection
    if not found.probed or found.state == "unknown":
        return f"{found.state}: {'; '.join(found.reasons)}"
    failed = [
        name for name, is_failed, _ in (each.partition(": NO, ") for each in found.reasons) if is_failed
    ]
    not_so = f" it is not so that {', '.join(failed)}" if failed else ""
    return f"{found.state}, the writer's probe of {when(found.probed, status.at)} says{not_so}"


def _failures(status: Status) -> list[str]:
    return [
        f"{volume.volume}: the last run failed: {volume.last_failure}"
        for volume in status.volumes
        if volume.last_failure
    ]
