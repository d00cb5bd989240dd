"""`drtool doctor`: is everything there that backups and restores will need, and what mends it."""

from collections.abc import Iterator
from typing import Final

import click

from drtool.cli.exits import exit_codes
from drtool.cli.options import DRY_RUN, KEYS, POLICY, Invocation, common
from drtool.cli.output import Answer, say_aside, say_text
from drtool.cli.table import Table
from drtool.cli.units import NONE, counted
from drtool.deploy.yaml_text import to_yaml
from drtool.errors import Refused
from drtool.operations.doctor.rbac import run_rbac
from drtool.operations.doctor.run import Options, run_doctor
from drtool.operations.results import Examination, Finding, MissingRights
from drtool.policy.load import load_policy
from drtool.sources.kubernetes.checkup import kubectl

# Doctor is everybody's preflight: like each preflight that refuses, it says all causes, and nothing was touched.
FOUND_ERRORS: Final = Refused.exit_code


@click.command("doctor", epilog=exit_codes(FOUND_ERRORS))
@click.option("--context", metavar="NAME", help="The context of the kubeconfig; the current one otherwise.")
@click.option(
    "--rbac", is_flag=True, help="Print the Roles that are missing in the cluster, as YAML, and nothing else."
)
@DRY_RUN
@common(POLICY, KEYS)
def command(invocation: Invocation, *, context: str | None, rbac: bool, dry_run: bool) -> int:
    """Say whether everything is there that a backup needs, and print what mends the rest.

    Looks at policy, store, keys, PostgreSQL, Redis, files and cluster; one that is away does not stop the others.
    Nothing is changed but for one canary, which is put into the store and removed again; --dry-run leaves it out.
    Ends with 0 if there are warnings at most, with 5 if there is an error or a right is missing.
    """
    if rbac:
        missing = run_rbac(load_policy(invocation.policy_file()), invocation.world, context)
        return _say_rights(invocation, missing, context)
    options = Options(dry_run=dry_run, context=context)
    return invocation.say(
        answer(run_doctor(invocation.policy_file(), invocation.keys, invocation.world, options))
    )


def _say_rights(invocation: Invocation, missing: MissingRights, context: str | None) -> int:
    """Print the Roles on stdout, for `kubectl apply --filename=-`, and the verdict on stderr."""
    said = rights_answer(missing, context)
    if invocation.as_json:
        return invocation.say(said)
    invocation.progress.close()
    if missing.objects:
        say_text("---\n".join(to_yaml(each) for each in missing.objects).rstrip())
    say_aside(f"{said.verdict}\n{said.advice}")
    return said.exit_code


def rights_answer(missing: MissingRights, context: str | None = None) -> Answer:
    """Return what doctor says about rights."""
    roles = [each["metadata"]["name"] for each in missing.objects if each["kind"] == "Role"]
    word = f"lacks rights, which {' and '.join(roles)} would give" if roles else "lacks no right"
    advice = (
        f"Look at the Roles, and apply them: `{kubectl(context)} apply --filename=-`."
        if roles
        else "There is nothing to do."
    )
    if missing.unasked:
        advice += f" Not asked for, as impersonating needs a right, too: {', '.join(missing.unasked)}."
    return Answer(
        command="doctor-rbac",
        verdict=f"doctor: {' and '.join(missing.asked)} {word}",
        advice=advice,
        facts={"rights": missing},
        exit_code=FOUND_ERRORS if roles else 0,
    )


def answer(examination: Examination) -> Answer:
    """Return what an examination says."""
    errors, warnings = examination.of("error"), examination.of("warning")
    counts = [counted(len(each), word) for each, word in ((errors, "error"), (warnings, "warning")) if each]
    verdict = f"doctor: {examination.policy} "
    verdict += (
        f"has {' and '.join(counts)}"
        if counts
        else f"is well, in {counted(len(examination.findings), 'check')}"
    )
    return Answer(
        command="doctor",
        verdict=verdict,
        advice=_advice([*errors, *warnings]),
        facts={"examination": examination},
        lines=[
            Table(("AREA", "ABOUT", "FOUND", "WHAT"), [_row(each) for each in examination.findings]),
            *(line for each in (*errors, *warnings) for line in _remedy(each)),
            "",
            _what_was_changed(examination),
        ],
        exit_code=FOUND_ERRORS if errors else 0,
        alarm=bool(errors),
    )


def _advice(found: list[Finding]) -> str:
    if not found:
        return "There is nothing to do."
    first = found[0]
    done = f"`{first.mend[0]}` ({first.where})" if first.mend else first.hint or first.message
    more = f"; {counted(len(found) - 1, 'more thing')} to mend below" if found[1:] else ""
    return f"First, for {first.about or first.area}: {done.removesuffix('.')}{more}."


def _row(finding: Finding) -> tuple[str, ...]:
    level = finding.level if finding.level == "ok" else finding.level.upper()
    return finding.area, finding.about or NONE, level, finding.message


def _remedy(finding: Finding) -> Iterator[str]:
    """Yield what is wrong, and below it what mends it, ready to be copied."""
    if finding.hint or finding.mend:
        yield ""
        yield f"{finding.level}: {finding.about or finding.area}: {finding.message}"
    if finding.hint:
        yield f"  {finding.hint}"
    if finding.mend:
        yield f"  {finding.where}:"
    # Without its end psql takes the next line for a part of a statement.
    end = ";" if finding.where.startswith("psql") else ""
    yield from (f"    {statement}{end}" for statement in finding.mend)


def _what_was_changed(examination: Examination) -> str:
    if examination.is_probed:
        return "Nothing was changed but for one canary below probe/ in the store."
    return "Nothing was changed, and the store was not probed."
