import json

import pytest

from drtool.errors import Corrupt
from drtool.sources.base import STAT_SIZE
from drtool.sources.kubernetes.objects import DIGEST, content_of, encode, is_path, path_of, stat_record
from tests.sources.kubernetes.test_selection import kind

SECRET = kind("v1 Secret", "password", data={"a": "c2VjcmV0", "ü": "x"})


@pytest.mark.parametrize(
    ("api_version", "name", "path"),
    [
        ("v1 Secret", "password", "core/Secret/password.json"),
        ("apps/v1 Deployment", "web.v1", "apps/Deployment/web.v1.json"),
        ("rbac.authorization.k8s.io/v1 Role", "system:x", "rbac.authorization.k8s.io/Role/system:x.json"),
        (
            "rbac.authorization.k8s.io/v1 Role",
            "../up x\n",
            "rbac.authorization.k8s.io/Role/%2E.%2Fup%20x%0A.json",
        ),
    ],
)
def test_the_path_of_an_object_is_safe_as_that_of_a_file(api_version: str, name: str, path: str) -> None:
    assert path_of(kind(api_version, name)) == path
    assert is_path(path)


def test_long_names_stay_apart_and_fit_a_file_system() -> None:
    first, second = (path_of(kind("v1 Secret", "x" * 250 + end)) for end in ("abc", "abd"))

    assert first != second
    assert is_path(first)
    assert len(first.split("/")[2]) < 255


@pytest.mark.parametrize(
    "path", ["", "a/b", "a/b/c/d", "../b/c", "a/../c", "a/b/..", "/b/c", "a/b/c\n", "a//c"]
)
def test_a_path_that_leads_elsewhere_is_none(path: str) -> None:
    assert not is_path(path)


def test_an_object_is_kept_readable_with_its_hash_behind_it() -> None:
    data = encode(SECRET)

    content = content_of("x", data)
    assert json.loads(content)["data"] == SECRET["data"]
    assert "ü" in content.decode()
    assert len(data) == len(content) + DIGEST
    assert encode({**SECRET, "data": dict(reversed(SECRET["data"].items()))}) == data
    with pytest.raises(Corrupt, match="x is not what was captured"):
        content_of("x", data.replace(b"c2Vj", b"d2Vj"))


def test_a_stat_record_changes_with_the_object_and_says_nothing_of_it() -> None:
    def record(**changes: str) -> bytes | None:
        metadata = {**SECRET["metadata"], **changes}
        return stat_record({**SECRET, "metadata": metadata})

    known = record()
    assert known is not None
    assert len(known) == STAT_SIZE
    assert record(name="other", labels="other") == known
    assert len({known, record(uid="2"), record(resourceVersion="2")}) == 3
    assert stat_record({**SECRET, "apiVersion": "v2"}) != known
    assert stat_record({**SECRET, "data": {}}) == known
    assert record(uid="") is None
    assert record(resourceVersion="") is None
