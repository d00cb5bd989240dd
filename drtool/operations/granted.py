"""What a grant tells a restore: everything was chosen when it was made, so that nothing is chosen twice."""

from dataclasses import replace
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from drtool.errors import Corrupt, UsageError
from drtool.operations.coverage import base_of
from drtool.operations.restore_job import Job, RestoreRequest
from drtool.repository.format.grant import Opened
from drtool.repository.format.names import json_time, parse_json_time
from drtool.repository.format.record import Json
from drtool.sources.postgres.pitr import RecoveryChoice

_CHOICE = TypeAdapter(RecoveryChoice)


def tell(at: datetime | None, choice: RecoveryChoice | None) -> Json:
    """Return what a grant is to tell: the moment that was asked for, and the WAL that was chosen."""
    return {
        "at": None if at is None else json_time(at),
        "choice": None if choice is None else _CHOICE.dump_python(choice, mode="json"),
    }


def granted_request(request: RestoreRequest, opened: Opened) -> RestoreRequest:
    """Return request as the grant decides it. Raises UsageError for what would choose otherwise."""
    volume = opened.point.split("/")[1]
    if request.volume != volume:
        raise UsageError(
            f"the grant is for volume {volume}, not for {request.volume}",
            hint=f"Name {volume}, or give the grant of {request.volume}.",
        )
    chosen = {
        "--at": request.at,
        "--as-of": request.as_of,
        "--accept-late": request.accept_late,
        "--accept-void": request.accept_void,
        "--accept-loss": request.accept_loss,
    }
    for option, value in chosen.items():
        if value:
            raise UsageError(
                f"{option} chooses a point, and the grant has chosen one: {opened.point}",
                hint=f"Leave it out, or make another grant: `drtool keys grant {volume} {option} …`.",
            )
    at = opened.grant.told.get("at")
    return replace(
        request, at=None if at is None else parse_json_time(at), accept_late=True, accept_loss=True
    )


def granted_choice(job: Job, opened: Opened) -> RecoveryChoice:
    """Return the WAL that the grant chose. Raises Corrupt when it is not of the granted base backup."""
    try:
        choice = _CHOICE.validate_python(opened.grant.told.get("choice"))
    except ValidationError as fault:
        raise Corrupt("the choice of WAL in the grant is malformed", hint="Make the grant anew.") from fault
    if choice.base != base_of(job.inventory.snapshots[opened.point]):
        raise Corrupt(
            "the grant chose WAL for another base backup than the one it opens", hint="Make the grant anew."
        )
    return choice
