"""What is made of what the target says to objects that are only tried."""

from dataclasses import replace
from typing import Any

import pytest

from drtool.recovery.compare import Action, Change
from drtool.recovery.manifests.objects import kind_of, ref_of
from drtool.recovery.manifests.order import place_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.refusal import Refusal
from drtool.recovery.tried import ELSEWHERE, STAND_IN, Attempt, Said, Tried, attempts_of, judge
from tests.recovery.captured import Json, captured, workload
from tests.recovery.stage import FACTS

LABEL = "drtool.io/run"
THERE = replace(FACTS, phase="Active")
AWAY = replace(FACTS, phase="")
MISFIT = "failed to create typed patch object ({}; apps/v1, Kind=Deployment): .spec.odd: field not declared in schema"


def prepared(item: Json) -> Prepared:
    return Prepared(ref_of(item), place_of(*kind_of(item)), item)


def attempts(*items: Json, action: Action = "create", facts: Any = THERE) -> list[Attempt]:
    objects = [prepared(each) for each in items]
    return attempts_of(objects, [Change(each.ref, "new", action) for each in objects], facts)


def judged(attempt: Attempt, status: int, words: str, *others: Json, facts: Any = THERE) -> Tried:
    """Return what is made of words about an attempt; others come back beside it, and are let in."""
    rest = [(each, Said(200, "", "")) for each in attempts(*others, facts=facts)]
    return judge([(attempt, Said(status, words, "Mend it.")), *rest], facts)


def the_one(*items: Json, action: Action = "create", facts: Any = THERE) -> Attempt:
    [found] = attempts(*items, action=action, facts=facts)
    return found


WEB = workload("Deployment", "web")
SECRET = captured("v1", "Secret", "password", type="Opaque", data={"a": "c2VjcmV0", "b": "eA=="})


@pytest.mark.parametrize("action", ["keep", "nothing", "refuse"])
def test_what_is_not_applied_is_not_tried(action: Action) -> None:
    assert attempts(WEB, action=action) == []


def test_an_object_is_tried_as_it_is_applied() -> None:
    body = the_one(WEB).body(LABEL)

    metadata = body["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("web", "shop")
    assert LABEL in metadata["labels"]
    assert body["spec"]["replicas"] == 0
    assert WEB["spec"]["replicas"] == 2


@pytest.mark.parametrize("key", ["data", "stringData"])
def test_nothing_of_a_secret_is_sent(key: str) -> None:
    item = captured("v1", "Secret", "password", type="Opaque", **{key: {"a": "c2VjcmV0", "b": "eA=="}})

    body = the_one(item).body(LABEL)

    assert body[key].keys() == {"a", "b"}
    assert not [each for each in ("c2VjcmV0", "eA==") if each in str(body)]


def test_what_is_replaced_is_tried_as_if_it_were_not_there() -> None:
    metadata = the_one(WEB, action="replace").body(LABEL)["metadata"]

    assert (metadata["name"], metadata["namespace"]) == (STAND_IN, "shop")


def test_what_has_no_namespace_yet_is_tried_in_another_one_and_the_namespace_as_itself() -> None:
    shop = captured("v1", "Namespace", "shop")
    names = [each.body(LABEL)["metadata"] for each in attempts(shop, WEB, facts=AWAY)]

    assert [(each["name"], each.get("namespace")) for each in names] == [
        ("shop", None),
        (STAND_IN, ELSEWHERE),
    ]


def test_what_is_refused_is_told_with_its_kind_its_namespace_its_name_and_the_words_of_the_server() -> None:
    class_ = captured("storage.k8s.io/v1", "StorageClass", "fast")
    found = judged(the_one(WEB), 422, 'Deployment.apps "web" is invalid: no')
    of_cluster = judged(the_one(class_), 403, "policy says no")

    said = 'is refused by the target: Deployment.apps "web" is invalid: no'
    assert found == Tried((Refusal("Deployment shop/web", said, "Mend it."),))
    assert [each.about for each in of_cluster.refusals] == ["StorageClass fast"]


def test_all_refusals_are_told_in_the_order_of_the_plan() -> None:
    tried = attempts(*(captured("v1", "ConfigMap", name) for name in "cab"))
    found = judge([(each, Said(422, "no", "")) for each in tried], THERE)

    assert [each.about for each in found.refusals] == [f"ConfigMap shop/{name}" for name in "cab"]


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (
            'admission webhook "no.example" does not support dry run',
            400,
            "webhook no.example takes no dry run",
        ),
        ('namespaces "shop" not found', 404, "it needs what comes back with it"),
        ('roles.rbac.authorization.k8s.io "reader" not found', 404, "it needs what comes back with it"),
        (
            'pods "web" is forbidden: no PriorityClass with name reader was found',
            403,
            "it needs what comes back with it",
        ),
        (
            'pods "web" is forbidden: exceeded quota: room, requested: pods=1',
            403,
            "its quota comes back with it",
        ),
        (
            'pods "web" is forbidden: status unknown for quota: x, resources: y',
            403,
            "its quota is not counted yet",
        ),
    ],
)
def test_what_only_the_rest_of_the_plan_decides_is_no_refusal(words: str, status: int, why: str) -> None:
    beside = [
        captured("v1", "Namespace", "shop"),
        captured("rbac.authorization.k8s.io/v1", "Role", "reader"),
        captured("v1", "ResourceQuota", "room"),
    ]
    found = judged(the_one(WEB), status, words, *beside)

    note = f"{why}: whether the target lets in Deployment web is known only when it is applied"
    assert found == Tried((), (note,))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ('roles.rbac.authorization.k8s.io "another" not found', 404),
        ('pods "web" is forbidden: exceeded quota: another, requested: pods=1', 403),
        ('deployments.apps "web" is forbidden: User "me" cannot patch resource "deployments"', 403),
        ('admission webhook "no.example" denied the request: no', 403),
    ],
)
def test_what_the_plan_does_not_bring_is_a_refusal(words: str, status: int) -> None:
    assert len(judged(the_one(WEB), status, words).refusals) == 1


def test_a_right_that_is_refused_already_is_a_note() -> None:
    words = 'deployments.apps "web" is forbidden: User "me" cannot patch resource "deployments"'
    found = judged(the_one(WEB), 403, words, facts=replace(THERE, lacking=("patch deployments.apps",)))

    assert found.refusals == ()
    assert [note.partition(":")[0] for note in found.notes] == ["you have not the right to try it"]


@pytest.mark.parametrize("said", [None, Said(500, MISFIT.format("shop/gear"), "")])
def test_a_kind_whose_definition_comes_back_with_it_is_a_note(said: Said | None) -> None:
    names = {"kind": "Widget", "plural": "widgets"}
    definition = captured(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "widgets.example.com",
        spec={"group": "example.com", "names": names},
    )
    defines, gear = attempts(definition, captured("example.com/v1", "Widget", "gear"))
    found = judge([(defines, Said(200, "", "")), (gear, said)], THERE)

    assert found.refusals == ()
    assert [note.partition(":")[0] for note in found.notes] == [
        "the definition of its kind comes back with it"
    ]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("pods is forbidden: exceeded quota: theirs, requested: pods=1", 403),
        ('roles.rbac.authorization.k8s.io "another" not found', 404),
        ('admission webhook "no.example" denied the request: no', 400),
        ("ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no", 422),
        (f'Widget.example.com "{STAND_IN}" is invalid: metadata.name: must be main', 422),
    ],
)
def test_of_what_is_tried_elsewhere_only_the_fields_count(words: str, status: int) -> None:
    found = judged(the_one(WEB, facts=AWAY), status, words, facts=AWAY)

    assert found.refusals == ()
    assert [note.partition(":")[0] for note in found.notes] == ["namespace shop is not there yet"]


def test_fields_that_are_wrong_elsewhere_are_told_under_the_own_name_of_the_object() -> None:
    found = judged(the_one(WEB, facts=AWAY), 500, MISFIT.format(f"{ELSEWHERE}/{STAND_IN}"), facts=AWAY)

    [refusal] = found.refusals
    assert refusal.about == "Deployment shop/web"
    assert refusal.message == f"is refused by the target: {MISFIT.format('shop/web')}"


@pytest.mark.parametrize(
    "words",
    [
        f'Service "{STAND_IN}" is invalid: spec.ports[0].nodePort: 30080: provided port is already allocated',
        "services is forbidden: exceeded quota: theirs, requested: services=1",
    ],
)
def test_what_is_replaced_gives_back_what_it_has(words: str) -> None:
    assert judged(the_one(WEB, action="replace"), 422, words) == Tried()
    assert len(judged(the_one(WEB), 422, words).refusals) == 1


def test_a_note_names_a_few_and_counts_the_rest() -> None:
    tried = attempts(*(captured("v1", "ConfigMap", f"map-{number}") for number in range(7)))
    words = 'admission webhook "no.example" does not support dry run'
    [note] = judge([(each, Said(400, words, "")) for each in tried], THERE).notes

    assert "ConfigMap map-4 and 2 more is" in note
