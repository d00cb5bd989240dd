"""Objects into a target in which more happens than a plan can know."""

from pathlib import Path

import pytest

from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore import apply
from drtool.operations.cluster_restore.apply import apply_objects, link_owners, put_namespace
from drtool.sources.kubernetes.faults import Forbidden
from tests.operations.cluster_restore.runs import Run, at, is_marked, live, run
from tests.recovery.captured import captured, workload
from tests.sources.kubernetes.api import Json

SETTINGS = captured("v1", "ConfigMap", "settings", data={"colour": "old"})
THEIRS = live("ConfigMap", "settings", data={"colour": "new"})
DEFINITION = captured(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "carts.shop.test",
    spec={
        "group": "shop.test",
        "names": {"kind": "Cart", "plural": "carts"},
        "versions": [{"name": "v1", "served": True}],
    },
)


def settings(found: Run) -> Json:
    return found.find("ConfigMap", "settings")


def test_many_objects_come_each_once_and_bear_the_label(tmp_path: Path) -> None:
    many = [captured("v1", "ConfigMap", f"map-{number}", data={}) for number in range(40)]
    with run(tmp_path, many) as found:
        for _ in range(2):
            assert apply_objects(found.replay, found.step("apply core/ConfigMap")) == {"objects": 40}
        there = found.api.collections[at("ConfigMap")]

    assert len(there) == 40
    assert all(map(is_marked, there))
    assert found.originals() == []


def test_what_came_since_the_plan_was_made_is_not_overwritten(tmp_path: Path) -> None:
    with run(tmp_path, [SETTINGS], [THEIRS]) as found:
        with pytest.raises(Refused, match="came to be since the plan was made"):
            apply_objects(found.replay, found.step("apply core/ConfigMap"))
        assert settings(found) == THEIRS


def test_what_came_since_and_is_wished_to_stay_or_is_equal_stays(tmp_path: Path) -> None:
    equal = {**THEIRS, "data": {"colour": "old"}}
    for there, wish in ((THEIRS, "keep"), (equal, "refuse")):
        with run(tmp_path, [SETTINGS], [there], wish) as found:  # type: ignore[arg-type]
            apply_objects(found.replay, found.step("apply core/ConfigMap"))
            assert settings(found) == there


def test_what_is_taken_over_is_noted_once_even_by_a_run_that_goes_on(tmp_path: Path) -> None:
    with run(tmp_path, [SETTINGS], [THEIRS], "replace") as found:
        for _ in range(2):
            apply_objects(found.replay, found.step("apply core/ConfigMap"))
        assert settings(found)["data"] == {"colour": "old"}
        assert found.originals() == ["settings"]

        del settings(found)["metadata"]["labels"]  # as a tool may that knows nothing of it
        apply_objects(found.replay, found.step("apply core/ConfigMap"))
        assert found.originals() == ["settings"]


def test_what_cannot_be_changed_is_made_anew(tmp_path: Path) -> None:
    with run(tmp_path, [SETTINGS], [{**THEIRS, "immutable": True}], "replace") as found:
        apply_objects(found.replay, found.step("apply core/ConfigMap"))
        assert settings(found)["metadata"]["uid"] != THEIRS["metadata"]["uid"]


def test_a_namespace_is_made_once(tmp_path: Path) -> None:
    with run(tmp_path, []) as found:
        put_namespace(found.replay)
        put_namespace(found.replay)
        assert is_marked(found.find("Namespace", "shop"))
        assert len(found.api.written) == 1


@pytest.mark.parametrize("said", ["status unknown for quota: room", "error looking up service account"])
def test_a_namespace_that_is_not_settled_yet_is_waited_for(tmp_path: Path, said: str) -> None:
    refusals = [(403, f"forbidden: {said}")]
    with run(tmp_path, [SETTINGS]) as found:
        found.api.refuses = lambda *_: refusals.pop() if refusals else None
        apply_objects(found.replay, found.step("apply core/ConfigMap"))
        assert is_marked(settings(found))


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("exceeded quota: room", "Raise the quota"),
        ('admission webhook "no.example" denied the request: no', "change the rule"),
        ("may not", "doctor --rbac"),
    ],
)
def test_who_says_no_is_told(tmp_path: Path, said: str, hint: str) -> None:
    with run(tmp_path, [SETTINGS]) as found:
        found.api.refuses = lambda *_: (403, said)
        with pytest.raises(Forbidden, match=said) as fault:
            apply_objects(found.replay, found.step("apply core/ConfigMap"))
    assert hint in fault.value.hint


def test_a_quota_that_is_never_counted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_SETTLED_S", 0.0)
    with run(tmp_path, [SETTINGS]) as found:
        found.api.refuses = lambda *_: (403, "status unknown for quota")
        with pytest.raises(Forbidden):
            apply_objects(found.replay, found.step("apply core/ConfigMap"))


def test_a_webhook_that_does_not_answer_is_named(tmp_path: Path) -> None:
    said = 'Internal error occurred: failed calling webhook "dead.example": no endpoints'
    with run(tmp_path, [SETTINGS]) as found:
        found.api.refuses = lambda *_: (500, said)
        with pytest.raises(TemporaryFailure, match=r"webhook dead\.example does not answer"):
            apply_objects(found.replay, found.step("apply core/ConfigMap"))


def test_a_definition_that_nobody_establishes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_ESTABLISHED_S", 0.1)
    step = "apply apiextensions.k8s.io/CustomResourceDefinition"
    with run(tmp_path, [DEFINITION]) as found:
        apply_objects(found.replay, found.step(step))
        found.api.becomes = lambda _item: {}
        with pytest.raises(TemporaryFailure, match="is not established"):
            apply_objects(found.replay, found.step(step))
        found.replay.session.world.ending.set()
        monkeypatch.setattr(apply, "_ESTABLISHED_S", 60.0)
        with pytest.raises(TemporaryFailure, match="asked to end"):
            apply_objects(found.replay, found.step(step))


def test_a_kind_that_nobody_serves_is_told(tmp_path: Path) -> None:
    web = captured("v1", "ResourceQuota", "web", spec={})
    with run(tmp_path, [web]) as found, pytest.raises(Refused, match="does not serve v1 ResourceQuota"):
        apply_objects(found.replay, found.step("apply core/ResourceQuota"))


def owned(kind: str, name: str, api_version: str) -> Json:
    owner = {"apiVersion": api_version, "kind": kind, "name": name, "uid": f"old-{name}"}
    return captured("v1", "Secret", f"of-{name}", data={}, metadata={"ownerReferences": [owner]})


def test_owners_are_named_by_their_new_uids_and_others_stay(tmp_path: Path) -> None:
    of_web, of_definition = (
        owned("Deployment", "web", "apps/v1"),
        owned("CustomResourceDefinition", "carts.shop.test", "apiextensions.k8s.io/v1"),
    )
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "of-another"}
    with run(tmp_path, [workload("Deployment", "web"), DEFINITION, of_web, of_definition]) as found:
        for step in found.replay.plan.steps:
            if step.kind == "apply":
                apply_objects(found.replay, step)
        found.find("Secret", "of-web")["metadata"]["ownerReferences"] = [other]
        for _ in range(2):
            link_owners(found.replay, found.step("link owners"))

        references = found.find("Secret", "of-web")["metadata"]["ownerReferences"]
        web = found.find("Deployment", "web")["metadata"]["uid"]
        assert [each["uid"] for each in references] == ["of-another", web]
        [reference] = found.find("Secret", "of-carts.shop.test")["metadata"]["ownerReferences"]
        definition = found.find("CustomResourceDefinition", "carts.shop.test")
        assert reference["uid"] == definition["metadata"]["uid"]


def test_an_owner_that_is_not_there_is_left_out_and_told(tmp_path: Path) -> None:
    with run(tmp_path, [workload("Deployment", "web"), owned("Deployment", "web", "apps/v1")]) as found:
        assert link_owners(found.replay, found.step("link owners"))["notes"] == []  # nothing to link
        apply_objects(found.replay, found.step("apply core/Secret"))
        told = link_owners(found.replay, found.step("link owners"))["notes"]
        assert found.find("Secret", "of-web")["metadata"]["ownerReferences"] == []
    assert told == ["Secret of-web: its owner Deployment web is not there"]
