"""What pydantic found, in words for people: where, what is wrong, and what was probably meant."""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drtool.policy.names import Fault, Path, nearest
from drtool.policy.schema import Policy

_PLACES_OF_SECRETS = ("env", "file", "secret")  # the first that is given counts
_MESSAGES = {
    "missing": "is missing",
    "union_tag_not_found": "is missing",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
}


def schema_faults(error: ValidationError, data: object) -> Iterator[Fault]:
    """Yield a fault for each error that pydantic found in data. None repeats a value that may be a secret."""
    meant: dict[Path, str] = {}
    for details, path in _errors(error, data):
        yield _fault(path, details, data)
        if details["type"] == "union_tag_invalid" and (word := _near(details)):
            meant[path] = word
    if meant:
        yield from _hidden_faults(meant, data)


def _errors(error: ValidationError, data: object) -> Iterator[tuple[ErrorDetails, Path]]:
    for details in error.errors():
        path = _path_in_data(details, data)
        # The schema's own look at names stops at the first; the loader has had them all. And pydantic counts only
        # the valid items of a list: the others have faults of their own.
        is_echo = (details["type"] == "refused" and not path) or (
            details["type"] == "too_short" and _at(data, path)
        )
        if not is_echo:
            yield details, path


def _hidden_faults(meant: Mapping[Path, str], data: object) -> Iterator[Fault]:
    """Yield what else is wrong with the volumes whose sources, by path, are those words: pydantic did not look.

    A password among it has to be heard of in the first round, not in the next.
    """
    corrected: Any = copy.deepcopy(data)
    for path, word in meant.items():
        _at(corrected, path[:-1])[path[-1]] = word
    volumes = {path[:-1] for path in meant}
    try:
        Policy.model_validate(corrected)
    except ValidationError as error:
        for details, path in _errors(error, corrected):
            if any(path[: len(volume)] == volume for volume in volumes):
                yield _fault(path, details, corrected)


def _fault(path: Path, details: ErrorDetails, data: object) -> Fault:
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path, data)
        case "refused":
            return Fault(path, **details["ctx"])
        case "reference":
            return Fault(
                path, details["msg"], is_secret=True
            )  # what was meant as a reference may hold the secret
        case "literal_error" | "union_tag_invalid":
            return _wrong_word(path, details)
        case kind:
            told = _MESSAGES.get(kind) or details["msg"].replace("Input should", "must")
            return Fault(path, told, is_secret=_may_be_a_secret(path, details["input"]))


def _may_be_a_secret(path: Path, value: object) -> bool:
    """Return whether value is of no shape that a policy has, but may be a URL that is known to few."""
    return isinstance(value, str) and ("://" in value or path[:1] in (("notify",), ("heartbeat",)))


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _path_in_data(details: ErrorDetails, data: object) -> Path:
    """Return where the error is in data: pydantic's path also names the chosen kinds of unions, which are no keys."""
    path: list[str | int] = []
    for part in details["loc"]:
        if isinstance(data, Mapping) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
        else:
            continue
        path.append(part)
    if details["type"] == "missing":
        path.append(details["loc"][-1])
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path.append("source")
    return tuple(path)


def _wrong_word(path: Path, details: ErrorDetails) -> Fault:
    words = _expected_words(details)
    near = _near(details)
    return Fault(path, f"must be {_one_of(words)}", f"did you mean {near}?" if near else "")


def _near(details: ErrorDetails) -> str:
    """Return the word that was probably meant; empty where none is close."""
    given = details["ctx"].get("tag") or details["input"]
    return nearest(str(given), _expected_words(details))


def _expected_words(details: ErrorDetails) -> list[str]:
    expected: str = details["ctx"].get("expected_tags") or details["ctx"]["expected"]
    return re.findall(r"'([^']*)'", expected) or [expected]


def _unknown_key(path: Path, data: object) -> Fault:
    rivals = [name for name in _PLACES_OF_SECRETS if name in _at(data, path[:-1])]
    if path[-1] in rivals:
        return Fault(
            path, f"names a second place, beside {rivals[0]}", "a value comes from one", is_secret=True
        )
    known = sorted(_known_keys(path[:-1], data))
    near = nearest(str(path[-1]), known)
    suggestion = f"did you mean {near}?" if near else f"known here: {', '.join(known)}"
    # A misspelled `password` has a value too.
    return Fault(path, "unknown key", suggestion, is_secret=True)


def _known_keys(path: Path, data: Any) -> set[str]:
    """Return the keys that a mapping at path may have: the schema is walked along the data."""
    models: list[type[BaseModel]] = [Policy]
    for part in path:
        data = data[part]
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [found for field in fields for found in _models_in(field.annotation)]
        models = [model for model in models if _fits(model, data)] or models
    return {key for model in models for key in model.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _fits(model: type[BaseModel], data: object) -> bool:
    """Return whether data can be meant as model: of its source, or sharing a key where there is no source."""
    if not isinstance(data, Mapping):
        return True
    if "source" in model.model_fields:
        return data.get("source") in get_args(model.model_fields["source"].annotation)
    return any(key in model.model_fields for key in data)


def _one_of(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
