"""A run is undone: all that it made goes, and what was there before is as it was."""

from pathlib import Path

import pytest

from drtool.errors import DrtoolError, Refused
from drtool.operations.cluster_restore import abort
from drtool.operations.cluster_restore.abort import abort_run
from drtool.operations.cluster_restore.apply import apply_objects, link_owners, put_namespace
from drtool.operations.cluster_restore.replay import RUN_LABEL
from tests.operations.cluster_restore.runs import RUN, Run, at, live, run
from tests.operations.cluster_restore.test_apply import DEFINITION, SETTINGS, THEIRS, owned
from tests.recovery.captured import captured, claim, workload
from tests.sources.kubernetes.api import Json

NAMESPACE = captured("v1", "Namespace", "shop")
SHOP = live("Namespace", "shop")
CARTS = "/apis/shop.test/v1/carts"
HIDDEN = ("resourceVersion", "generation", "creationTimestamp", "uid")


def done(found: Run) -> Run:
    """Apply and link all, as far as nothing is started."""
    for step in found.replay.plan.steps:
        if step.kind in ("apply", "link"):
            found.replay.journal.write(step.id, "begun", {})
            (apply_objects if step.kind == "apply" else link_owners)(found.replay, step)
    return found


def seen(found: Run) -> dict[str, Json]:
    return {
        f"{path}/{each['metadata']['name']}": {
            **each,
            "status": None,
            "metadata": {key: value for key, value in each["metadata"].items() if key not in HIDDEN},
        }
        for path, items in found.api.collections.items()
        for each in items
    }


def test_all_that_a_run_made_goes_and_movers_with_it(tmp_path: Path) -> None:
    marked = {"labels": {RUN_LABEL: RUN}}
    beside = [live("Job", "drtool-mover", metadata=marked), live("Secret", "drtool-mover", metadata=marked)]
    with run(tmp_path, [NAMESPACE, SETTINGS, workload("Deployment", "web"), claim("media")]) as found:
        before = seen(found)
        put_namespace(found.replay)
        for each in beside:
            found.api.collections[at(each["kind"])].append(each)
        result = abort_run(done(found).replay)
        assert seen(found) == before
        assert result == {"removed": 6, "put_back": [], "kept_volumes": []}
        assert abort_run(found.replay)["removed"] == 0
    assert [each.state for each in found.replay.journal.entries() if each.step == "abort"] == [
        *("begun", "done"),
        *("begun", "done"),
    ]


@pytest.mark.parametrize("immutable", [False, True])
def test_what_was_there_before_is_as_it_was(tmp_path: Path, *, immutable: bool) -> None:
    theirs = {**THEIRS, "immutable": True} if immutable else THEIRS
    with run(tmp_path, [NAMESPACE, SETTINGS], [SHOP, theirs], "replace") as found:
        before = seen(found)
        done(found)
        assert seen(found) != before
        abort_run(found.replay)
        assert seen(found) == before
        found.find("ConfigMap", "settings")["data"] = {"colour": "changed by its owner since"}
        abort_run(found.replay)
        assert found.find("ConfigMap", "settings")["data"] == {"colour": "changed by its owner since"}


def test_the_account_of_a_namespace_that_the_run_made_goes_with_it(tmp_path: Path) -> None:
    account = captured("v1", "ServiceAccount", "default", metadata={"labels": {"team": "shop"}})
    with run(tmp_path, [NAMESPACE, account]) as found:
        put_namespace(found.replay)
        found.api.collections[at("ServiceAccount")] = [live("ServiceAccount", "default")]
        assert abort_run(done(found).replay)["put_back"] == []
        assert found.api.collections[at("Namespace")] == []


def test_what_was_there_before_is_freed_from_owners_that_go(tmp_path: Path) -> None:
    theirs = live("Secret", "of-web", data={"password": "YQ=="})
    ours = {**owned("Deployment", "web", "apps/v1"), "data": {"password": "Yg=="}}
    objects = [NAMESPACE, workload("Deployment", "web"), ours]
    with run(tmp_path, objects, [SHOP, theirs], "replace") as found:
        before = seen(found)
        assert done(found).find("Secret", "of-web")["metadata"]["ownerReferences"]
        begin = len(found.api.asked)
        abort_run(found.replay)
        after = seen(found)
        after[f"{at('Secret')}/of-web"]["metadata"].pop("ownerReferences", None)
        assert after == before
        asked = [each.split("?")[0] for each in found.api.asked[begin:]]
        assert asked.index(f"PATCH {at('Secret')}/of-web") < asked.index(f"DELETE {at('Deployment')}/web")


def test_what_owned_something_and_is_made_anew_owns_it_again(tmp_path: Path) -> None:
    web = live("Deployment", "web", spec={"selector": {"matchLabels": {"app": "old"}}})
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "uid-web"}
    theirs = live("Secret", "key", data={"a": "YQ=="}, metadata={"ownerReferences": [owner]})
    ours = captured("v1", "Secret", "key", data={"a": "Yg=="})
    with run(
        tmp_path, [NAMESPACE, ours, workload("Deployment", "web")], [SHOP, web, theirs], "replace"
    ) as found:
        abort_run(done(found).replay)
        [reference] = found.find("Secret", "key")["metadata"]["ownerReferences"]
        made_anew = found.find("Deployment", "web")["metadata"]
    assert reference == {**owner, "uid": made_anew["uid"]}
    assert made_anew["uid"] != "uid-web"
    assert "labels" not in made_anew


@pytest.mark.parametrize("is_used", [True, False])
def test_a_definition_stays_while_others_have_objects_of_it(tmp_path: Path, *, is_used: bool) -> None:
    with run(tmp_path, [NAMESPACE, DEFINITION], [SHOP]) as found:
        done(found)
        found.api.collections[CARTS] = [live("Cart", "theirs", metadata={"namespace": "other"})] * is_used
        abort_run(found.replay)
        left = found.api.collections[at("CustomResourceDefinition")]
        assert [each["metadata"]["labels"] for each in left] == [{}] * is_used
    assert bool(found.told.notes) == is_used


def test_a_definition_stays_that_nobody_may_look_below(tmp_path: Path) -> None:
    with run(tmp_path, [NAMESPACE, DEFINITION], [SHOP]) as found:
        done(found)
        found.api.forbidden.add(CARTS)
        abort_run(found.replay)
        assert found.find("CustomResourceDefinition", "carts.shop.test")


def volume(name: str, policy: str, uid: str, **reference: str) -> Json:
    claimed = {"namespace": "shop", "name": "media", "uid": uid, **reference}
    spec = {"claimRef": claimed, "persistentVolumeReclaimPolicy": policy}
    return live("PersistentVolume", name, spec=spec, status={"phase": "Bound"})


def test_volumes_are_waited_for_and_those_that_stay_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abort, "_GONE_S", 0.1)
    volumes = [
        volume("going", "Delete", "uid-of-a-claim-that-went"),
        volume("kept", "Retain", "uid-of-a-claim-that-went"),
        volume("in-use", "Delete", "uid-media"),
        volume("of-others", "Delete", "x", namespace="other"),
    ]
    with run(tmp_path, [NAMESPACE, claim("media")], [SHOP, *volumes]) as found:
        assert abort_run(found.replay)["kept_volumes"] == ["going", "in-use", "kept"]
        found.api.collections[at("PersistentVolumeClaim")] = [live("PersistentVolumeClaim", "media")]
        assert abort_run(found.replay)["kept_volumes"] == ["going", "kept"]
        found.api.collections[at("PersistentVolume")] = volumes[1:]
        assert abort_run(found.replay)["kept_volumes"] == ["kept"]


def test_nothing_is_undone_once_something_was_started(tmp_path: Path) -> None:
    with run(tmp_path, [NAMESPACE, workload("Deployment", "web")]) as found:
        done(found)
        before = seen(found)
        found.replay.journal.write("start tier 1", "begun", {})
        with pytest.raises(Refused, match="has started workloads"):
            abort_run(found.replay)
        assert seen(found) == before


def test_what_others_live_on_by_now_is_not_taken_away(tmp_path: Path) -> None:
    used = [{"name": "data", "persistentVolumeClaim": {"claimName": "media"}}]
    pods = {
        "ended": {"spec": {"volumes": used}, "status": {"phase": "Succeeded"}},
        "elsewhere": {"spec": {"volumes": []}, "status": {"phase": "Running"}},
    }
    with run(tmp_path, [claim("media"), SETTINGS], there=[SHOP]) as found:
        done(found)
        for name, content in pods.items():
            found.api.collections[at("Pod")].append(live("Pod", name, **content))
        other = live("Pod", "web-1", spec={"volumes": used}, status={"phase": "Running"})
        found.api.collections[at("Pod")].append(other)
        before = seen(found)
        with pytest.raises(Refused, match="at work on what it made: web-1"):
            abort_run(found.replay)
        assert seen(found) == before
        found.api.collections[at("Pod")].remove(other)
        assert abort_run(found.replay)["removed"] == 2


def test_a_namespace_that_no_plan_has_goes_too_if_the_run_made_it(tmp_path: Path) -> None:
    with run(tmp_path, [SETTINGS]) as found:
        put_namespace(found.replay)
        abort_run(found.replay)
        assert found.api.collections["/api/v1/namespaces"] == []
    with run(tmp_path, [SETTINGS], [SHOP]) as found:
        abort_run(found.replay)
        assert [each["metadata"]["name"] for each in found.api.collections["/api/v1/namespaces"]] == ["shop"]


def test_what_cannot_be_put_back_fails_an_abort_that_has_taken_things_away(tmp_path: Path) -> None:
    with run(tmp_path, [SETTINGS], [SHOP, THEIRS], if_exists="replace") as found:
        done(found)
        found.api.answers["/api/v1"]["resources"] = [
            each for each in found.api.answers["/api/v1"]["resources"] if each["kind"] != "ConfigMap"
        ]
        with pytest.raises(DrtoolError, match="does not serve v1 ConfigMap; it is undone in part") as caught:
            abort_run(found.replay)

    assert caught.value.exit_code == 1
    assert f"--abort {RUN}" in caught.value.hint
