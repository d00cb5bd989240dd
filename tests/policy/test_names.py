from typing import Any

import pytest

from drtool.policy.names import Fault, name_faults, nearest
from tests.policy.conftest import plain_policy

DB = {"name": "db", "source": "postgres", "host": "h", "user": "u"}
MEDIA = {"name": "media", "source": "files", "claim": "c"}
REFERENCE = {"name": "r", "sql": "select 1", "database": "db", "files": "media"}


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"volumes": [DB, MEDIA]}, []),
        ({"volumes": [DB, DB]}, ["volumes[1].name: db is also the name of volumes[0]"]),
        (
            {"volumes": [{**DB, "proofs": [{"name": "p"}, {"name": "p"}]}]},
            ["volumes[0].proofs[1].name: p is also the name of volumes[0].proofs[0]"],
        ),
        (
            {"recovery": {"probes": [{"name": "p"}, {"name": "p"}]}},
            ["recovery.probes[1].name: p is also the name of recovery.probes[0]"],
        ),
        (
            {"recovery": {"hooks": [{"name": "h"}, {"name": "h"}]}},
            ["recovery.hooks[1].name: h is also the name of recovery.hooks[0]"],
        ),
        (
            {"volumes": [DB, MEDIA], "recovery": {"references": [REFERENCE, REFERENCE]}},
            ["recovery.references[1].name: r is also the name of recovery.references[0]"],
        ),
        (
            {
                "volumes": [DB, {"name": "objects", "source": "manifests"}],
                "recovery": {
                    "hooks": [
                        {"before": {"restore": "objects"}},
                        {"after": {"restore": "bd"}},
                        {"after": {"restore": "db"}},
                        {"after": {"start": "web"}},
                    ]
                },
            },
            [
                "recovery.hooks[0].before.restore: objects is no volume that fits here",
                "recovery.hooks[1].after.restore: bd is no volume that fits here",
            ],
        ),
        ({"volumes": [DB, MEDIA], "recovery": {"order": ["media", "db"]}}, []),
        (
            {"volumes": [DB, MEDIA], "recovery": {"order": ["db", "db"]}},
            ["recovery.order[1]: names db twice", "recovery.order: leaves out media"],
        ),
        (
            {"volumes": [DB], "recovery": {"order": ["db", "bd", ["x"]]}},
            [
                "recovery.order[1]: bd is no volume that fits here",
                "recovery.order[2]: ['x'] is no volume that fits here",
            ],
        ),
        ({"recovery": {"tiers": [["a"], ["b", "a"]]}}, ["recovery.tiers[1][1]: names a twice"]),
        ({"volumes": [DB, MEDIA], "recovery": {"references": [REFERENCE]}}, []),
        (
            {"volumes": [DB, MEDIA], "recovery": {"references": [{**REFERENCE, "database": "media"}]}},
            ["recovery.references[0].database: media is no volume that fits here"],
        ),
        (
            {"volumes": [DB], "recovery": {"references": [REFERENCE]}},
            ["recovery.references[0].files: media is no volume that fits here"],
        ),
        (
            {"drill": {"every": "90d", "namespace": "forum"}},
            ["drill.namespace: is the protected namespace"],
        ),
        (
            {"kubernetes": None, "volumes": [{"name": "m", "source": "manifests"}, MEDIA]},
            [
                "volumes[0].source: source manifests needs `kubernetes: {namespace: …}` in the policy",
                "volumes[1].claim: a claim needs `kubernetes: {namespace: …}` in the policy",
            ],
        ),
        (
            {"kubernetes": None, "volumes": [{**DB, "password": {"secret": "s", "key": "k"}}]},
            ["volumes[0].password: a Kubernetes Secret needs `kubernetes: {namespace: …}` in the policy"],
        ),
        ({"kubernetes": None, "volumes": [{"name": "f", "source": "files", "path": "/x"}]}, []),
    ],
)  # fmt: skip
def test_names_must_mean_something(changes: dict[str, Any], faults: list[str]) -> None:
    found = list(name_faults(plain_policy(**changes)))
    assert [f"{fault.dotted_path}: {fault.message}" for fault in found] == faults


def test_a_wrong_name_comes_with_the_nearest_one_that_fits() -> None:
    policy = plain_policy(volumes=[DB, MEDIA], recovery={"references": [{**REFERENCE, "files": "medai"}]})
    assert [fault.suggestion for fault in name_faults(policy)] == ["did you mean media?"]
    policy = plain_policy(volumes=[DB], recovery={"references": [REFERENCE]})
    assert [fault.suggestion for fault in name_faults(policy)] == ["there is none"]


@pytest.mark.parametrize(
    "data", [None, 1, [], {}, {"volumes": 3}, {"volumes": [None, {"name": ["x"]}], "recovery": []}]
)
def test_any_shape_of_data_is_borne(data: object) -> None:
    assert [fault for fault in name_faults(data) if "needs `kubernetes" not in fault.message] == []


def test_a_path_is_written_with_dots_and_brackets() -> None:
    assert Fault(("volumes", 1, "proofs", 0, "sql"), "").dotted_path == "volumes[1].proofs[0].sql"
    assert Fault((), "").dotted_path == ""


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("auth", ["at", "url"], ""),
        ("evn", ["env", "file"], "env"),
        ("pasword", ["password", "port"], "password"),
        ("recover", ["recovery", "retention"], "recovery"),
        ("objective", ["objectives"], "objectives"),
    ],
)
def test_a_word_is_meant_only_where_it_is_near(word: str, known: list[str], meant: str) -> None:
    assert nearest(word, known) == meant
