import copy
import json
import pickle
from collections.abc import Callable

import pytest
from pydantic import TypeAdapter, ValidationError

from drtool.errors import UsageError
from drtool.policy.secret import (
    EnvironmentReference,
    FileReference,
    KubernetesReference,
    Secret,
    SecretReference,
    SecretResolver,
    TextOrReference,
)

VALUE = "hunter2"


def no_files(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        lambda secret: f"{secret:>20}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - one of the ways to print
        lambda secret: json.dumps({"password": secret}, default=str),
        lambda secret: repr([secret]),
    ],
    ids=["repr", "str", "format", "f-string", "percent", "json", "list"],
)
def test_a_secret_when_shown_is_a_mask(show: Callable[[Secret], str]) -> None:
    assert VALUE not in show(Secret(VALUE))
    assert "****" in show(Secret(VALUE))


def test_a_secret_can_be_copied_but_neither_pickled_nor_dumped_as_json() -> None:
    secret = Secret(VALUE)
    assert copy.copy(secret).reveal() == VALUE
    assert copy.deepcopy({"a": secret})["a"].reveal() == VALUE
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_references_are_resolved_from_what_is_handed_in() -> None:
    resolver = SecretResolver(
        environment={"PGPASSWORD": VALUE},
        read_file=lambda path: f"{path} says {VALUE}\r\n",
        read_kubernetes=lambda secret, key: f"{secret}/{key}",
    )
    assert resolver.resolve(EnvironmentReference(env="PGPASSWORD")).reveal() == VALUE
    assert resolver.resolve(FileReference(file="/run/x")).reveal() == f"/run/x says {VALUE}"
    assert resolver.resolve(KubernetesReference(secret="s", key="k")).reveal() == "s/k"
    assert resolver.text("literal") == "literal"
    assert resolver.text(EnvironmentReference(env="PGPASSWORD")) == VALUE
    assert VALUE not in repr(resolver)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (EnvironmentReference(env="ABSENT"), "environment variable ABSENT is not set"),
        (EnvironmentReference(env="EMPTY"), "environment variable EMPTY is empty"),
        (FileReference(file="/none"), "secret file /none cannot be read: No such file or directory"),
        (KubernetesReference(secret="s", key="k"), "key k of Secret s is not reachable from here"),
    ],
)
def test_a_secret_that_is_not_there_is_named(
    reference: EnvironmentReference | FileReference | KubernetesReference, message: str
) -> None:
    resolver = SecretResolver(environment={"EMPTY": ""}, read_file=no_files)
    with pytest.raises(UsageError) as caught:
        resolver.resolve(reference)
    assert caught.value.message == message
    assert caught.value.hint


def test_a_secret_file_that_is_no_text_is_refused_without_its_bytes() -> None:
    resolver = SecretResolver(environment={}, read_file=lambda path: b"hunter2\xff".decode())
    with pytest.raises(UsageError, match="it is not UTF-8 text") as caught:
        resolver.resolve(FileReference(file="/x"))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("given", [VALUE, 42, True, {"evn": VALUE}, [VALUE], None, {VALUE: None}])
def test_what_is_no_reference_is_refused_without_repeating_it(given: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(SecretReference).validate_python(given)
    assert VALUE not in str(caught.value.errors()[0]["msg"])
    assert "{env: NAME}" in str(caught.value.errors()[0]) or "is never written" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["text", {"env": "A"}, {"file": "/a"}, {"secret": "s", "key": "k"}, EnvironmentReference(env="A")],
)
def test_text_may_be_given_or_referred_to(value: object) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(TextOrReference)
    read = adapter.validate_python(value)
    assert adapter.validate_python(adapter.dump_python(read)) == read
    assert adapter.validate_python(read) == read
