"""The keys: who could read the backups, when that was last proven, and what lies where a writer is.

Who takes over the cluster must find no recovery key there, nor what a maintainer or the admin signs with.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from drtool.errors import DrtoolError
from drtool.operations.cluster_secrets import VARIABLE
from drtool.operations.doctor.patient import Findings, Patient
from drtool.operations.doctor.policy import references
from drtool.operations.results import Finding
from drtool.operations.status import run_status
from drtool.policy.moments import to_second
from drtool.sources.kubernetes.transport import is_in_pod

AREA: Final = "keys"
PROVEN_WITHIN: Final = timedelta(days=180)
_KEYS: Final = {
    r"DRTOOL-(?:RECOVERY|SEED)-": "a recovery key",
    r"DRTOOL-ADMIN-": "the admin's key",
    r'"role": "maintainer"': "a maintainer's bundle",
}
AWAY: Final = (
    "Move it out of the reach of what it protects; whoever could read it there may have: make a new one."
)


def examine_keys(patient: Patient) -> Findings:
    """Yield how the recipients stand, and every key that lies where it must not."""
    if patient.session is not None:
        yield from _recipients(patient)
    found = list(_lying_about(patient))
    yield from found
    if not found:
        yield Finding(
            AREA, "", "ok", "no recovery, admin or maintainer key lies in what drtool is given here"
        )


def _recipients(patient: Patient) -> Iterator[Finding]:
    assert patient.session is not None  # noqa: S101 - asked by the caller
    status = run_status(patient.session)
    names = ", ".join(status.recipients)
    if len(status.recipients) == 1:
        said = f"{names} is the only recipient: if that recovery key is lost, so is everything"
        yield Finding(AREA, names, "warning", said, "Name several recipients when a repository is made.")
    else:
        yield Finding(AREA, "", "ok", f"recipients: {names}")
    mend = ("drtool keys prove",)
    hint = "Somebody who holds a kit types it in, and the operator's line with it."
    if status.last_proven is None:
        said = "no recovery key was ever proven: nobody knows whether the kit opens anything"
        yield Finding(AREA, "", "warning", said, hint, mend, "shell")
    elif status.at - status.last_proven > PROVEN_WITHIN:
        said = f"no recovery key was proven since {to_second(status.last_proven)}"
        yield Finding(AREA, "", "error", said, hint, mend, "shell")
    else:
        yield Finding(AREA, "", "ok", f"a recovery key was proven at {to_second(status.last_proven)}")


def _lying_about(patient: Patient) -> Iterator[Finding]:
    """Yield each place with a key. In a pod that is an error; on a machine of one's own, it may be meant."""
    level = "error" if is_in_pod(patient.world.environment) else "warning"
    for place, text in _texts(patient):
        for what in kinds_of_keys(text):
            yield Finding(AREA, place, level, f"{place} holds {what}", AWAY)  # type: ignore[arg-type]  # one of two words


def kinds_of_keys(text: str) -> list[str]:
    """Return which keys stand in text that must not lie beside a writer."""
    return [what for pattern, what in _KEYS.items() if re.search(pattern, text)]


def _texts(patient: Patient) -> Iterator[tuple[str, str]]:
    """Yield what can be read from here, with its place: environment, mounted Secrets, what policy and options name."""
    environment = patient.world.environment
    for name, value in environment.items():
        yield f"environment variable {name}", value
    named = [environment.get("DRTOOL_RECOVERY_KEY_FILE"), environment.get("DRTOOL_BUNDLE")]
    given = [patient.keys.recovery, patient.keys.bundle]
    files = {Path(each) for each in (*named, *given) if each}
    if folder := environment.get(VARIABLE):
        files |= {each for each in Path(folder).glob("*/*") if each.is_file()}
    for file in sorted(files):
        try:
            yield f"file {file}", file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # what cannot be read here holds no key for us
    for place, reference in references(patient.policy):
        try:
            yield place, patient.world.secret(reference) or ""
        except DrtoolError:
            continue  # said by the policy's checks
