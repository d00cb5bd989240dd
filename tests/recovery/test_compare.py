"""What applying an object would change."""

from copy import deepcopy
from typing import Any

import pytest

from drtool.recovery.compare import Change
from drtool.recovery.wishes import IfExists, Wishes
from tests.recovery.captured import Json, captured, claim, workload
from tests.recovery.stage import FACTS, changes_of


def change(item: Json, live: Json | None, if_exists: IfExists = "refuse") -> Change:
    _, changes = changes_of(
        [item], Wishes(if_exists=if_exists, with_jobs=True), FACTS, [live] if live else []
    )
    return changes[0]


def but(item: Json, **spec: Any) -> Json:
    """Return item with other fields in its spec."""
    other = deepcopy(item)
    other["spec"] |= spec
    return other


WEB = workload("Deployment", "web")
SETTINGS = captured("v1", "ConfigMap", "c", data={"a": "1"})


def test_what_is_not_there_is_new_and_what_the_server_adds_makes_no_difference() -> None:
    live = but(WEB, progressDeadlineSeconds=600)

    assert (change(WEB, None).state, change(WEB, None).action) == ("new", "create")
    assert (
        change(SETTINGS, captured("v1", "ConfigMap", "c", data={"a": "1", "more": "2"})).action == "nothing"
    )
    assert (change(WEB, live).state, change(WEB, live).action) == ("equal", "update")  # for it has to wait


@pytest.mark.parametrize(
    ("if_exists", "action"), [("refuse", "refuse"), ("keep", "keep"), ("replace", "update")]
)
def test_what_differs_is_treated_as_asked(if_exists: IfExists, action: str) -> None:
    found = change(SETTINGS, captured("v1", "ConfigMap", "c", data={"a": "2"}), if_exists)

    assert (found.state, found.action) == ("changed", action)
    assert (found.before["data"], found.after["data"]) == ({"a": "2"}, {"a": "1"})


ROLE = {"apiGroup": "x", "kind": "Role", "name": "x"}
BINDING = captured("rbac.authorization.k8s.io/v1", "RoleBinding", "b", roleRef=ROLE)
SET = workload("StatefulSet", "db", serviceName="db")
POD = captured("v1", "Pod", "p", spec={"serviceAccountName": "x", "containers": []})
HEADLESS = captured("v1", "Service", "s", spec={"clusterIP": "None"})


@pytest.mark.parametrize(
    ("item", "live", "action"),
    [
        pytest.param(WEB, but(WEB, replicas=5), "update", id="27-replicas"),
        pytest.param(WEB, but(WEB, selector={"matchLabels": {"a": "b"}}), "replace", id="27-selector"),
        pytest.param(SET, but(SET, serviceName="other"), "replace", id="27-set"),
        pytest.param(SET, but(SET, minReadySeconds=3, replicas=7), "update", id="27-set-that-may"),
        pytest.param(BINDING, {**BINDING, "roleRef": {**ROLE, "name": "y"}}, "replace", id="27-role-ref"),
        pytest.param(HEADLESS, but(HEADLESS, clusterIP="10.0.0.1"), "replace", id="27-headless"),
        pytest.param(
            {**SETTINGS, "immutable": True},
            {**SETTINGS, "data": {}, "immutable": True},
            "replace",
            id="27-immutable",
        ),
        pytest.param(
            SETTINGS,
            captured("v1", "ConfigMap", "c", data={"a": "2"}, immutable=True),
            "replace",
            id="27-immutable-since",
        ),
        pytest.param(
            SETTINGS,
            captured("v1", "ConfigMap", "c", data={"a": "1"}, immutable=True),
            "nothing",
            id="27-equal",
        ),
        pytest.param(SETTINGS, {**SETTINGS, "data": {}}, "update", id="27-config-map"),
        pytest.param(
            SETTINGS,
            {**SETTINGS, "data": {}, "immutable": True},
            "replace",
            id="27-config-map-that-may-not-change",
        ),
        pytest.param(POD, but(POD, serviceAccountName="other"), "replace", id="27-pod"),
        pytest.param(
            captured("v1", "ServiceAccount", "default", imagePullSecrets=[{"name": "a"}]),
            captured("v1", "ServiceAccount", "default"),
            "update",
            id="30-default-account",
        ),
        pytest.param(
            captured("rbac.authorization.k8s.io/v1", "ClusterRole", "r", rules=[1]),
            captured("rbac.authorization.k8s.io/v1", "ClusterRole", "r", rules=[1, 2]),
            "keep",
            id="60-of-the-cluster",
        ),
    ],
)
def test_replacing_goes_as_far_as_it_must_and_never_beyond_the_namespace(
    item: Json, live: Json, action: str
) -> None:
    assert change(item, live, "replace").action == action


def test_60_the_classes_of_the_target_are_its_own() -> None:
    mine, theirs = (captured("storage.k8s.io/v1", "StorageClass", "fast", provisioner=name) for name in "ab")

    assert [change(mine, theirs, if_exists).action for if_exists in ("refuse", "keep", "replace")] == [
        "keep"
    ] * 3
    assert (
        change(
            captured("v1", "ServiceAccount", "default", x=1), captured("v1", "ServiceAccount", "default")
        ).action
        == "update"
    )


@pytest.mark.parametrize(
    ("if_exists", "action"), [("refuse", "refuse"), ("keep", "keep"), ("replace", "refuse")]
)
def test_27_a_claim_that_is_there_is_never_replaced_be_it_equal_or_not(
    if_exists: IfExists, action: str
) -> None:
    mine = claim("data")

    assert change(mine, mine, if_exists).action == action
    assert change(mine, claim("data", size="9Gi"), if_exists).action == action


def test_62_no_value_of_a_secret_is_shown_only_which_differ() -> None:
    mine = captured("v1", "Secret", "s", data={"same": "c2FtZQ==", "other": "bWluZQ=="}, type="Opaque")
    theirs = {**mine, "data": {"same": "c2FtZQ==", "other": "dGhlaXJz"}}
    found = change(mine, theirs, "replace")

    assert found.before["data"] == {"other": "(hidden)", "same": "(hidden)"}
    assert found.after["data"] == {"other": "(hidden, differs)", "same": "(hidden)"}
    labelled = {**mine, "metadata": {**mine["metadata"], "labels": {"a": "b"}}}
    assert "c2FtZQ==" not in f"{change(labelled, mine).before}{change(labelled, mine).after}"
    bare = captured("v1", "Secret", "s", type="Opaque")
    assert change({**bare, "type": "x"}, bare, "replace").action == "replace"
