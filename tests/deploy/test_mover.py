"""The Job of a mover: what it holds, as whom it runs, and where it may connect."""

import re
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from drtool.deploy.claim_job import Runs
from drtool.deploy.hands import agent_command
from drtool.deploy.image_pod import image_pod
from drtool.deploy.mover import (
    PIECE,
    Lender,
    Mover,
    Seeds,
    grant_secrets,
    key_secret,
    mover_job,
    mover_name,
    mover_network,
    pieces_of,
    settle_job,
)

PLACEMENT = {"nodeSelector": {"disk": "fast"}}
LENDER = Lender("postgres:15", ("registry",), {"limits": {"memory": "1Gi"}})
MOVER = Mover(
    run="r1",
    volume="pg",
    image="drtool:1",
    claim="data-pg-0",
    path="pgdata",
    runs=Runs(999, 998, 997, (5,), PLACEMENT),
    lender=LENDER,
    pieces=2,
    secrets={"app": ["DB"]},
)
FILES = replace(MOVER, volume="media", path="", lender=None, runs=Runs(), secrets={}, pieces=1)


def pod(mover: Mover) -> Any:
    return mover_job(mover)["spec"]["template"]["spec"]


def test_a_mover_has_one_claim_and_its_own_secrets_and_no_token() -> None:
    found = pod(MOVER)
    volumes = {each["name"]: each for each in found["volumes"]}
    assert not found["automountServiceAccountToken"]
    assert "serviceAccountName" not in found
    assert volumes["claim"]["persistentVolumeClaim"] == {"claimName": "data-pg-0"}
    assert volumes["run"]["secret"] == {"secretName": MOVER.name}
    assert [each["secret"]["name"] for each in volumes["grant"]["projected"]["sources"]] == [
        f"{MOVER.name}-grant-0",
        f"{MOVER.name}-grant-1",
    ]
    assert volumes["secret-0"]["secret"]["items"] == [{"key": "DB", "path": "DB"}]
    mounted = {each["name"] for each in found["containers"][0]["volumeMounts"]}
    assert mounted == volumes.keys()


def test_the_command_line_names_all_that_is_mounted() -> None:
    arguments = " ".join(pod(replace(MOVER, has_ca=True))["containers"][0]["args"])
    assert arguments == (
        "mover restore pg --claim /claims/data-pg-0 --path pgdata --run r1 --repository urls:///etc/drtool/run/urls "
        "--ca-file /etc/drtool/run/ca.pem --runner-key-file /etc/drtool/run/runner "
        "--grant /etc/drtool/grant/grant-0 --grant /etc/drtool/grant/grant-1 --hands /hands"
    )
    assert "--hands" not in pod(FILES)["containers"][0]["args"]


def test_it_runs_as_the_workload_does_where_the_workload_may() -> None:
    found = pod(MOVER)
    assert found["securityContext"] == {
        "runAsUser": 999,
        "runAsGroup": 998,
        "runAsNonRoot": True,
        "fsGroup": 997,
        "supplementalGroups": [5],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert found["nodeSelector"] == PLACEMENT["nodeSelector"]
    assert pod(FILES)["securityContext"]["runAsUser"] == pod(FILES)["securityContext"]["runAsGroup"] == 10001
    for each in (*found["containers"], *found["initContainers"]):
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_files_of_several_owners_take_root_and_five_capabilities() -> None:
    found = pod(replace(FILES, runs=Runs(0, 0)))
    assert "runAsNonRoot" not in found["securityContext"]
    added = found["containers"][0]["securityContext"]["capabilities"]["add"]
    assert added == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"]


def test_the_application_lends_its_programs_over_shared_folders_and_processes() -> None:
    found = pod(MOVER)
    [hands] = found["initContainers"]
    assert found["shareProcessNamespace"]
    assert found["imagePullSecrets"] == [{"name": "registry"}]
    assert (hands["image"], hands["restartPolicy"]) == ("postgres:15", "Always")
    assert hands["resources"] == {"limits": {"memory": "1Gi"}}
    places = {each["name"]: each["mountPath"] for each in found["containers"][0]["volumeMounts"]}
    lent = {each["name"]: each["mountPath"] for each in hands["volumeMounts"]}
    assert lent == {name: places[name] for name in ("claim", "tmp", "hands")}
    assert not pod(FILES)["shareProcessNamespace"]


def test_an_image_that_starts_as_root_gives_the_claim_to_its_user_first() -> None:
    own, hands = pod(replace(MOVER, lender=replace(LENDER, starts_as_root=True)))["initContainers"]
    assert (own["name"], hands["name"]) == ("own", "hands")
    assert own["securityContext"]["runAsUser"] == 0
    assert own["command"][-2:] == ["/claims/data-pg-0", "999:998"]


def test_secrets_hold_a_grant_in_pieces_the_key_and_the_urls() -> None:
    grant = bytes(range(256)) * 8000
    pieces = [b64decode(value) for each in grant_secrets(MOVER, grant) for value in each["data"].values()]
    assert pieces == pieces_of(grant)
    assert b"".join(pieces) == grant
    assert max(map(len, pieces)) == PIECE
    held = key_secret(MOVER, "key", b"urls", b"ca")["data"]
    assert {name: b64decode(value) for name, value in held.items()} == {
        "runner": b"key",
        "urls": b"urls",
        "ca.pem": b"ca",
    }
    assert key_secret(MOVER, "key", b"urls", None)["data"].keys() == {"runner", "urls"}


@pytest.mark.parametrize(
    ("endpoint", "rule"),
    [
        ("https://store.example:9000", {"ports": [{"protocol": "TCP", "port": 9000}]}),
        (
            "http://10.0.0.1",
            {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"protocol": "TCP", "port": 80}]},
        ),
    ],
)
def test_it_reaches_names_and_the_store_and_nobody_reaches_it(endpoint: str, rule: object) -> None:
    spec = mover_network(MOVER, endpoint)["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= MOVER.labels.items()
    assert spec["podSelector"]["matchLabels"].keys() >= {"drtool.io/run", "drtool.io/volume"}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert spec["egress"][1:] == [rule]
    assert {each["port"] for each in spec["egress"][0]["ports"]} == {53}


def test_one_that_fills_a_server_has_no_claim_and_reaches_that_and_is_reached_by_that() -> None:
    seeds = Seeds('{"source":"redis"}', 6379, 20123, {"app": "redis"})
    mover = replace(MOVER, claim="", path="data", seeds=seeds)
    arguments = pod(mover)["containers"][0]["args"]
    assert " ".join(arguments[:6]) == "mover restore pg --claim /claims/none --path"
    assert arguments[-4:] == ["--into", '{"source":"redis"}', "--port", "20123"]
    volumes = {each["name"]: each for each in pod(mover)["volumes"]}
    assert volumes["claim"] == {"name": "claim", "emptyDir": {}}
    spec = mover_network(mover, None)["spec"]
    server = [{"podSelector": {"matchLabels": {"app": "redis"}}}]
    assert spec["egress"][-1] == {"to": server, "ports": [{"protocol": "TCP", "port": 6379}]}
    assert spec["ingress"] == [{"from": server, "ports": [{"protocol": "TCP", "port": 20123}]}]


def test_an_image_is_asked_as_whom_it_runs() -> None:
    found = image_pod(MOVER, LENDER)
    spec = found["spec"]
    assert found["metadata"]["labels"] == MOVER.labels
    assert "runAsUser" not in spec["securityContext"]
    assert spec["containers"][0]["image"] == "postgres:15"
    assert spec["restartPolicy"] == "Never"
    asked = image_pod(MOVER, replace(LENDER, is_non_root=True))["spec"]
    assert asked["securityContext"]["runAsNonRoot"]
    assert "runAsNonRoot" not in spec["securityContext"]


def test_names_fit_and_tell_runs_and_volumes_apart() -> None:
    long = "a" * 60
    names = {mover_name("r1", long), mover_name("r2", long), mover_name("r1", long + "b")}
    assert len(names) == 3
    assert max(map(len, names)) <= 63 - len("-grant-99")


def test_what_a_container_runs_is_what_was_written_once_kubelet_has_read_it() -> None:
    def expanded(words: list[str]) -> list[str]:
        """As kubelet does: a dollar that another one follows stands for one, and $(NAME) for a variable."""
        return [
            re.sub(r"\$\$|\$\((\w+)\)", lambda found: "VALUE" if found[1] else "$", word) for word in words
        ]

    hands = pod(MOVER)["initContainers"][-1]
    assert expanded(hands["command"]) == agent_command("/hands")
    assert "echo $$" in " ".join(expanded(hands["command"]))


def test_who_takes_the_mark_away_has_the_claim_as_the_mover_has_it_and_nothing_else() -> None:
    for mover in (MOVER, FILES, replace(FILES, runs=Runs(0, 0))):
        job = settle_job(mover)
        assert job["spec"]["suspend"]
        found, theirs = job["spec"]["template"]["spec"], pod(mover)
        for part in ("securityContext", "automountServiceAccountToken", "restartPolicy"):
            assert found[part] == theirs[part]
        assert found.get("nodeSelector") == theirs.get("nodeSelector")
        [container] = found["containers"]
        assert container["securityContext"] == theirs["containers"][0]["securityContext"]
        assert [each["name"] for each in found["volumes"]] == ["claim", "tmp"]
        selected = mover_network(mover, None)["spec"]["podSelector"]["matchLabels"].items()
        assert selected <= job["spec"]["template"]["metadata"]["labels"].items()
