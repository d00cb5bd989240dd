"""What every part of the schema shares: the frozen base model, and the kinds of text that a policy holds."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from drtool.policy.durations import DURATION, format_duration, parse_duration
from drtool.policy.kinds import PATTERN, fault_of
from drtool.policy.schedule import check_cron, check_time_zone

SIZE = "([1-9][0-9]{0,8})(MiB|GiB|TiB)"
_SIZE_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class Model(BaseModel):
    """A part of a policy: it cannot be changed, knows all its keys, and never shows its input in an error."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def refusal(message: str, suggestion: str = "", *, is_secret: bool = False) -> PydanticCustomError:
    """Return the error for a validator to raise. Neither text may hold the value.

    is_secret: the value may be a secret, so the line that holds it is not shown as it is.
    """
    facts = {"message": message, "suggestion": suggestion, "is_secret": is_secret}
    return PydanticCustomError("refused", "{message}", facts)


def one_form(*keys: str) -> Discriminator:
    """Return what tells models apart by the one key of keys that each has. Braces keep tags apart from keys."""

    def tag(value: object) -> str | None:
        present = (key for key in keys if (key in value if isinstance(value, dict) else hasattr(value, key)))
        return next((f"{{{key}}}" for key in present), None)

    message = f"needs one of {' and '.join(keys)}"
    return Discriminator(tag, custom_error_type="form", custom_error_message=message)


def _matching(pattern: str, fault: str) -> tuple[AfterValidator, WithJsonSchema]:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise refusal(fault)
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise refusal(str(error), "write a number and a unit: 30s, 15m, 1h, 90d") from None


def _size(value: object) -> int:
    match = re.fullmatch(SIZE, value if isinstance(value, str) else "", re.ASCII)
    if match is None:
        raise refusal("is not a size", "write a whole number and a unit: 512MiB, 8GiB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def _format_size(size: int) -> str:
    unit = max(
        (unit for unit, length in _SIZE_UNITS.items() if size % length == 0), key=_SIZE_UNITS.__getitem__
    )
    return f"{size // _SIZE_UNITS[unit]}{unit}"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise refusal("a duration must be longer than zero here")
    return value


def _cron(line: str) -> str:
    try:
        return check_cron(line)
    except ValueError as error:
        raise refusal(
            str(error), "write five fields: minute hour day month weekday, as in */5 * * * *"
        ) from None


def _time_zone(name: str) -> str:
    try:
        return check_time_zone(name)
    except ValueError as error:
        raise refusal(str(error), "write a name of the IANA database, as in Europe/Berlin") from None


def _kind_pattern(text: str) -> str:
    fault = fault_of(text)
    if fault is not None:
        raise refusal(*fault)
    return text


_as_duration = (
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION}$", "examples": ["30s", "15m", "1h", "90d"]}),
)

Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(_format_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{SIZE}$", "examples": ["512MiB", "8GiB"]}),
]
Delay = Annotated[timedelta, *_as_duration]
Duration = Annotated[timedelta, *_as_duration, AfterValidator(_positive)]
CronLine = Annotated[str, AfterValidator(_cron)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]

Text = Annotated[str, *_matching(r"[\s\S]*\S[\s\S]*", "must not be empty")]
Name = Annotated[str, *_matching("[a-z0-9-]{1,25}", "must be 1 to 25 characters of a-z, 0-9 and -")]
KubernetesName = Annotated[
    str,
    *_matching(
        r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
        "is no name that Kubernetes takes: up to 253 characters of a-z, 0-9, - and ., none of the last two at an end",
    ),
]
Namespace = Annotated[
    str,
    *_matching(
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "is no namespace that Kubernetes takes: up to 63 characters of a-z, 0-9 and -, no - at an end",
    ),
]
EnvironmentName = Annotated[
    str, *_matching("[A-Za-z_][A-Za-z0-9_]*", "must be the name of an environment variable, as in PGPASSWORD")
]
KindPattern = Annotated[
    str,
    AfterValidator(_kind_pattern),
    WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$", "examples": ["Secret", "apps/*"]}),
]
