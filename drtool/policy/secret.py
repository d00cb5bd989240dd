"""Secrets: a policy names where one is, the value is read late, and once read it cannot be printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, NoReturn

from pydantic import BeforeValidator, Discriminator, Tag

from drtool.errors import UsageError
from drtool.policy.model import EnvironmentName, KubernetesName, Model, Text, refusal

_MASK = "********"


class OutOfReach(UsageError):
    """The secret is in a cluster, and nothing here can ask that: elsewhere it may be read all the same."""


class EnvironmentReference(Model):
    """The secret is the value of an environment variable."""

    env: EnvironmentName


class FileReference(Model):
    """The secret is the content of a file, without the line end at its end.

    A relative path is from the folder of the policy's file.
    """

    file: Text


class KubernetesReference(Model):
    """The secret is one key of a Kubernetes Secret in the policy's namespace."""

    secret: KubernetesName
    key: Text


Reference = EnvironmentReference | FileReference | KubernetesReference


def _tag(value: object) -> str | None:
    """Return which kind of reference value is. Braces keep a tag apart from the keys of a policy."""
    match value:
        case {"env": _} | EnvironmentReference():
            return "{env}"
        case {"file": _} | FileReference():
            return "{file}"
        case {"secret": _} | KubernetesReference():
            return "{secret}"
        case str():
            return "{text}"
    return None


_FORMS = "{env: NAME}, {file: PATH} or {secret: NAME, key: KEY}"


def _refuse_literal(value: object) -> object:
    if _tag(value) == "{text}" or isinstance(value, int | float):
        raise refusal(
            "a secret is never written into a policy", f"name where it is: {_FORMS}", is_secret=True
        )
    return value


def _expected(what: str) -> Discriminator:
    return Discriminator(_tag, custom_error_type="reference", custom_error_message=f"must be {what}")


_Environment = Annotated[EnvironmentReference, Tag("{env}")]
_File = Annotated[FileReference, Tag("{file}")]
_Kubernetes = Annotated[KubernetesReference, Tag("{secret}")]

SecretReference = Annotated[
    _Environment | _File | _Kubernetes, _expected(_FORMS), BeforeValidator(_refuse_literal)
]
TextOrReference = Annotated[
    Annotated[Text, Tag("{text}")] | _Environment | _File | _Kubernetes, _expected(f"text, {_FORMS}")
]


class Secret:
    """A value that no repr, format, pickle or JSON shows. `reveal` is the one way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; hand it straight to the library that needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, specification: str) -> str:
        return _MASK

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True, repr=False)
class SecretResolver:
    """Reads what references name, from what the command line hands in.

    read_file returns the text of a file, or raises OSError or ValueError. read_kubernetes takes the name of a Secret
    and a key, and raises a DrtoolError of its own; without it Kubernetes Secrets are out of reach.
    """

    environment: Mapping[str, str]
    read_file: Callable[[str], str]
    read_kubernetes: Callable[[str, str], str] | None = None

    def resolve(self, reference: Reference) -> Secret:
        """Return the secret. Raises UsageError, naming the place that is missing or empty."""
        value, place = self._read(reference)
        if not value:
            condition = "is not set" if value is None else "is empty"
            raise UsageError(
                f"{place} {condition}", hint="The policy reads a secret from there; put it in place."
            )
        return Secret(value)

    def text(self, value: str | Reference) -> str:
        """Return a value that may stand in the policy itself or be referred to, such as a user's name."""
        return value if isinstance(value, str) else self.resolve(value).reveal()

    def _read(self, reference: Reference) -> tuple[str | None, str]:
        """Return the value, None if it is not set, and the name of its place."""
        if isinstance(reference, EnvironmentReference):
            return self.environment.get(reference.env), f"environment variable {reference.env}"
        if isinstance(reference, FileReference):
            return self._file(reference.file), f"file {reference.file}"
        key, secret = reference.key, reference.secret
        return self._kubernetes(secret, key), f"key {key} of Secret {secret}"

    def _file(self, path: str) -> str:
        try:
            return self.read_file(path).removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError) as error:
            # Not the error's own text: a decoding error repeats bytes of the secret.
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(
                f"secret file {path} cannot be read: {reason}",
                hint="The policy reads a secret from this file; put it in place, readable by this user.",
            ) from None

    def _kubernetes(self, secret: str, key: str) -> str:
        if self.read_kubernetes is None:
            raise OutOfReach(
                f"key {key} of Secret {secret} is not reachable from here",
                hint="Run where the cluster can be asked, or name the secret by {env: NAME} or {file: PATH}.",
            )
        return self.read_kubernetes(secret, key)
