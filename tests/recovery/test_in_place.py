"""Named volumes of a system that runs: what is switched, what is stopped for it, and what speaks against it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from drtool.errors import UsageError
from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.recovery.in_place import Switch, beside_claims, in_place_of, placed_beside, uses
from drtool.recovery.manifests.objects import Json, spec_of
from drtool.recovery.places import Place
from drtool.recovery.plan import Plan, Request, from_json, to_json
from drtool.recovery.plan_in_place import make_plan_in_place
from drtool.recovery.points import choose_points
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetFacts
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import captured, claim, volume, workload
from tests.recovery.stage import FACTS, NOW, POINTS, POLICY, ago, facts, point, policy

NODES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "values": ["a"]}]}]}
BESIDE = "20260301t120000z"


def owned(item: Json, kind: str, name: str) -> Json:
    reference = {"apiVersion": "x/v1", "kind": kind, "name": name, "uid": "u", "controller": True}
    return {**item, "metadata": {**item["metadata"], "ownerReferences": [reference]}}


def mounting(name: str) -> Json:
    """Return what the pods of a workload have that mount a claim by its name."""
    container = {"name": "app", "image": "app:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return {
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
    }


def served(name: str, image: str, folder: str, replicas: int = 1) -> Json:
    mounted = [{"name": "data", "mountPath": folder}]
    container = {"name": name, "image": image, "volumeMounts": mounted}
    templates = [{"metadata": {"name": "data"}, "spec": {}}]
    return workload(
        "StatefulSet", name, replicas, pod={"containers": [container]}, volumeClaimTemplates=templates
    )


def bound(name: str, **spec: Any) -> list[Json]:
    return [claim(name), volume(f"pv-{name}", **spec)]


def pod(name: str, of: str, phase: str = "Running") -> Json:
    return captured("v1", "Pod", name, spec=mounting(of), status={"phase": phase})


def cron_job(name: str, of: str, *, suspend: bool = False) -> Json:
    template = {"spec": {"template": {"spec": mounting(of)}}}
    spec = {"schedule": "* * * * *", "suspend": suspend, "jobTemplate": template}
    return captured("batch/v1", "CronJob", name, spec=spec)


DB, REDIS = (captured("v1", "Service", name, spec={"selector": {"app": name}}) for name in ("db", "redis"))
REPLICATED = served("db", "postgres:17", "/var/lib/postgresql/data", 3)
SECOND = captured("v1", "Service", "db", spec={"selector": {"statefulset.kubernetes.io/pod-name": "db-1"}})
STANDING = [
    served("db", "postgres:17", "/var/lib/postgresql/data"),
    served("redis", "redis:7", "/data"),
    *(workload("Deployment", name, pod=mounting("media")) for name in ("web", "worker")),
    workload("Deployment", "idle", 0, pod=mounting("media")),
    workload("Deployment", "other"),
    *(DB, REDIS),
    *bound("data-db-0", nodeAffinity={"required": NODES}),
    *bound("data-redis-0"),
    *bound("media"),
    cron_job("thumbnails", "media"),
    cron_job("asleep", "media", suspend=True),
    owned(pod("db-0", "data-db-0"), "StatefulSet", "db"),
    owned(pod("web-1-x", "media"), "ReplicaSet", "web-1"),
    owned(workload("ReplicaSet", "web-1", pod=mounting("media")), "Deployment", "web"),
    owned(pod("thumbnails-1-x", "media"), "Job", "thumbnails-1"),
    owned(captured("batch/v1", "Job", "thumbnails-1"), "CronJob", "thumbnails"),
    pod("ended", "media", "Succeeded"),
    pod("elsewhere", "cache"),
]


# A second PostgreSQL, in a policy and where it stands.
ANOTHER = replace(point("second", 600, 1), source="postgres")
SECOND_DATABASE = "  - {name: second, source: postgres, host: second, user: drtool}"
TWO = policy(SECOND_DATABASE)
BOTH = [
    *STANDING,
    served("second", "postgres:17", "/var/lib/postgresql/data"),
    captured("v1", "Service", "second", spec={"selector": {"app": "second"}}),
    *bound("data-second-0"),
]


def without(*names: str) -> list[Json]:
    return [each for each in STANDING if each["metadata"]["name"] not in names]


def planned(
    *volumes: str,
    objects: Sequence[Json] = STANDING,
    of: Policy | None = None,
    target: TargetFacts = FACTS,
    **wished: Any,
) -> Plan | tuple[Refusal, ...]:
    wishes, promised = Wishes(volumes=volumes, in_place=True, **wished), of or policy()
    choice = choose_points(promised, (*POINTS, ANOTHER), wishes, NOW)
    found = in_place_of(promised, choice.volumes, objects, {}, wishes, NOW)
    return make_plan_in_place(promised, Request(wishes, NOW, ("shop", "shop")), choice, found, target)


def plan(*volumes: str, **options: Any) -> Plan:
    found = planned(*volumes, **options)
    assert isinstance(found, Plan), found
    return found


def reasons(*volumes: str, **options: Any) -> list[str]:
    found = planned(*volumes, **options)
    assert not isinstance(found, Plan)
    assert all(each.hint.endswith(".") for each in found)
    return [f"{each.about} {each.message}" for each in found]


def test_all_is_whole_beside_before_anything_stops() -> None:
    found = plan("postgres", at=ago(10))

    assert [(phase.name, [step.id for step in phase.steps]) for phase in found.phases] == [
        ("infrastructure", []),
        ("deployment", []),
        (
            "data",
            [
                "safety backup postgres",
                "apply core/PersistentVolumeClaim",
                "restore postgres",
                "prove postgres",
            ],
        ),
        ("testing", ["switch volumes", "start again"]),
    ]
    needs = [step.needs for step in found.steps]
    assert needs == [(), *((step.id,) for step in found.steps[:-1])]
    steps = {step.id: step for step in found.steps}
    assert steps["restore postgres"].moment == ago(10)
    assert steps["apply core/PersistentVolumeClaim"].objects == (
        f"core/PersistentVolumeClaim/data-db-0-{BESIDE}",
    )
    assert steps["switch volumes"].objects == steps["start again"].objects == ("apps/StatefulSet/db",)
    assert from_json(to_json(found)) == found
    assert found.disk == {"fast": 2**30}


def test_several_volumes_are_switched_at_once_with_all_that_uses_them() -> None:
    found = plan("media", "redis", of=policy("recovery: {probes: [{name: alive, http: 'http://web'}]}"))

    ids = [step.id for step in found.steps]
    assert ids[:3] == ["safety backup redis", "safety backup media", "apply core/PersistentVolumeClaim"]
    assert ids[-3:] == ["switch volumes", "start again", "probe alive"]
    switch = found.steps[ids.index("switch volumes")]
    assert set(switch.needs) == {"prove media", "prove redis"}
    assert switch.objects == (
        *("apps/Deployment/web", "apps/Deployment/worker", "apps/StatefulSet/redis"),
        "batch/CronJob/thumbnails",
    )


def test_two_databases_go_back_in_one_switch_and_one_new_writer_follows_both() -> None:
    found = plan("postgres", "second", objects=BOTH, of=TWO, enrol=True, at=ago(10))

    ids = [step.id for step in found.steps]
    assert ids[:2] == ["safety backup postgres", "safety backup second"]
    assert ids[-5:] == ["switch volumes", "start again", "enrol writer", "protect again", "first backup"]
    [switch] = [step for step in found.steps if step.kind == "switch"]
    assert switch.objects == ("apps/StatefulSet/db", "apps/StatefulSet/second")
    assert set(switch.needs) == {"prove postgres", "prove second"}
    assert {each.moment for each in found.volumes} == {ago(10)}
    assert not [note for note in found.notes if "needs a new writer" in note]


def test_a_new_writer_follows_where_it_is_wished_for_and_is_asked_for_where_not() -> None:
    kinds = [step.kind for step in plan("postgres", enrol=True).steps]
    assert kinds[-3:] == ["enrol", "protect", "backup"]
    assert not [note for note in plan("postgres", enrol=True).notes if "needs a new writer" in note]
    assert [note for note in plan("postgres").notes if "needs a new writer" in note]
    assert not [note for note in plan("media").notes if "new writer" in note]


def test_the_claim_is_made_anew_as_it_was_but_for_its_volume() -> None:
    theirs = claim("media", accessModes=["ReadWriteMany"], dataSource={"name": "snapshot"}, size="2Gi")
    theirs["metadata"]["labels"] = {"app": "web"}
    theirs["metadata"]["annotations"]["team"] = "shop"
    theirs["spec"]["resources"]["requests"]["storage"] = "1Gi"  # it was given more
    theirs = owned(theirs, "StatefulSet", "web")
    [switch] = plan("media", objects=[*without("media"), theirs]).in_place

    assert switch.body["metadata"] == {
        "name": "media",
        "namespace": "shop",
        "labels": {"app": "web"},
        "annotations": {"team": "shop"},
    }
    assert switch.body["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "fast",
    }
    [beside] = beside_claims([switch])
    assert beside["metadata"] == {"name": f"media-{BESIDE}", "namespace": "shop"}
    assert beside["spec"] == switch.body["spec"]


def test_replicas_of_a_postgres_get_empty_volumes_and_clone_the_first() -> None:
    there = [
        *bound("data-db-1"),
        *bound("data-db-7"),
        *bound("data-db-x"),
        *bound("other-db-0"),
        claim("data-db-8", volumeName=""),
    ]
    found = plan("postgres", objects=[*without("db"), DB, REPLICATED, *there], classes={"fast": "mine"})

    assert [(each.claim, each.beside) for each in found.in_place] == [
        ("data-db-0", f"data-db-0-{BESIDE}"),
        ("data-db-1", ""),
        ("data-db-7", ""),  # it was scaled down, and would come up with the old life
    ]
    assert found.disk == {"mine": 3 * 2**30}
    [made] = [step for step in found.steps if step.kind == "apply"]
    assert made.objects == (f"core/PersistentVolumeClaim/data-db-0-{BESIDE}",)
    assert [each for each in found.notes if "claim data-db-1: it gets an empty volume" in each]


def test_what_is_known_to_have_no_room_is_refused() -> None:
    small = [*without("media"), claim("media", size="500")]
    assert reasons("media", objects=small) == ["claim media has 500 B, and volume media needs 1000 B"]
    folders = facts(storage_classes={"fast": "rancher.io/local-path"})  # as large as the disk of their node
    assert plan("media", objects=small, target=folders).disk == {"fast": 500}
    full = facts(capacities=[{"storageClassName": "fast", "capacity": "10Mi"}])
    assert reasons("media", target=full) == [
        "storage class fast has 10 MiB left, and the claims ask for 1 GiB"
    ]


def test_another_class_can_be_wished_for() -> None:
    [switch] = plan("media", classes={"fast": "mine"}).in_place
    assert spec_of(switch.body)["storageClassName"] == "mine"


def test_the_new_volume_is_made_where_the_old_one_can_be_used() -> None:
    [local] = plan("postgres").in_place
    [network] = plan("redis").in_place
    place = Place("data-db-0", placement={"affinity": {"old": 1}, "nodeSelector": {"disk": "ssd"}})

    found = placed_beside(place, local)
    assert isinstance(found, Place)
    assert found.claim == local.beside
    required = {"requiredDuringSchedulingIgnoredDuringExecution": NODES}
    assert found.placement == {"nodeSelector": {"disk": "ssd"}, "affinity": {"nodeAffinity": required}}
    elsewhere = placed_beside(Place("data-redis-0", placement=place.placement), network)
    assert isinstance(elsewhere, Place)
    assert elsewhere.placement == place.placement
    assert isinstance(placed_beside(Place("another"), local), Refusal)


def test_what_is_stopped_and_what_stays_behind_is_said() -> None:
    below = served("db", "postgres:17", "/var/lib/postgresql")
    notes = plan("postgres", objects=[*without("db"), below, DB]).notes
    assert [each for each in notes if "StatefulSet db: it is stopped" in each]
    assert [each for each in notes if "beside data stays in the old volume" in each]


def test_hooks_are_not_run_and_those_whose_place_it_is_are_named() -> None:
    job = "job: {image: 'x:1', command: [a]}"
    places = ("before: {start: web}", "after: {restore: media}", "after: {start: db}", "after: {phase: data}")
    hooks = ", ".join(f"{{name: h{number}, {job}, {each}}}" for number, each in enumerate(places))
    found = plan("media", of=policy(f"recovery: {{hooks: [{hooks}]}}"))

    assert not [step for step in found.steps if step.kind == "hook"]
    assert [note.partition(",")[0] for note in found.notes if note.startswith("hook")] == [
        "hook h0: it runs before the start of web in a whole restore",
        "hook h1: it runs after the restore of media in a whole restore",
    ]


@pytest.mark.parametrize(
    ("volumes", "looked"),
    [
        (("postgres",), ["posts"]),
        (("media",), ["posts", "covers"]),
        (("redis",), []),
        (("second",), ["covers"]),
    ],
)
def test_files_that_rows_refer_to_are_looked_for_whichever_of_both_goes_back(
    volumes: tuple[str, ...], looked: list[str]
) -> None:
    one, two = (
        f"{{name: {name}, database: {database}, files: media, sql: select 1}}"
        for name, database in (("posts", "postgres"), ("covers", "second"))
    )
    probes = "probes: [{name: front, http: 'http://web/'}]"
    of = policy(f"{SECOND_DATABASE}\nrecovery: {{references: [{one}, {two}], {probes}}}")
    kinds = {step.id: step.kind for step in plan(*volumes, objects=BOTH, of=of, enrol=True).steps}
    assert [name for name, kind in kinds.items() if kind == "references"] == [
        f"references {each}" for each in looked
    ]
    behind = ["probe", *(["references"] * len(looked))]
    assert [*kinds.values()][-len(behind) :] == behind


@pytest.mark.parametrize(
    ("volume_name", "objects", "said"),
    [
        ("postgres", without("data-db-0"), "claim data-db-0 is not there with a volume"),
        ("postgres", without("pv-data-db-0"), "claim data-db-0 is not there with a volume"),
        ("postgres", without("db"), "volume postgres is reached as db"),
        ("objects", STANDING, "volume objects is of source manifests"),
        (
            "redis",
            [*without("redis"), served("redis", "redis:7", "/data", 3), REDIS],
            "StatefulSet redis has 3 pods with a volume each: the others would hold another life of redis",
        ),
        (
            "postgres",
            [
                *without("db"),
                {**REPLICATED, "spec": {**REPLICATED["spec"], "ordinals": {"start": 0}}},
                SECOND,
                *bound("data-db-1"),
            ],
            "StatefulSet db starts with pod 0, and postgres goes back in pod 1",
        ),
        (
            "media",
            [*STANDING, owned(workload("StatefulSet", "files", pod=mounting("media")), "Cluster", "files")],
            "StatefulSet files is kept by Cluster files",
        ),
        (
            "media",
            [*STANDING, workload("DaemonSet", "index", pod=mounting("media"))],
            "DaemonSet index uses the claim on every node",
        ),
        (
            "media",
            [*STANDING, pod("shell", "media")],
            "pod shell uses a claim that is switched, and is of no",
        ),
        (
            "media",
            [*STANDING, owned(pod("once-x", "media"), "Job", "once")],
            "pod once-x uses a claim that is switched, and is of Job once",
        ),
    ],
)
def test_what_cannot_be_switched_is_refused_by_name(volume_name: str, objects: list[Json], said: str) -> None:
    assert [each for each in reasons(volume_name, objects=objects) if each.startswith(said)]


@pytest.mark.parametrize(
    ("redis", "said"),
    [
        ("broker: hold, host: redis", "volume redis is to hold its queues"),
        ("sentinel: {service: sentinel, master: main}", "volume redis is watched by Sentinels"),
    ],
)
def test_a_redis_that_takes_more_is_refused(redis: str, said: str) -> None:
    text = POLICY.format(more="", at="before")
    of = parse_policy(text.replace("source: redis, host: redis", f"source: redis, {redis}"), "shop")
    assert [each for each in reasons("redis", of=of) if each.startswith(said)]


def test_a_redis_without_a_claim_is_refused() -> None:
    bare = workload("StatefulSet", "redis", 1)
    assert reasons("redis", objects=[*without("redis"), REDIS, bare]) == [
        "volume redis has no claim: its data goes with pod redis-0"
    ]


def test_two_volumes_on_one_claim_are_not_switched_apart() -> None:
    more = policy("  - {name: thumbnails, source: files, claim: media}")
    assert "claim media has volume thumbnails beside media, which would not come along" in reasons(
        "media", of=more
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [("data-db-0", True), ("data-db-10", True), ("data-db-x", False), ("data-db", False), ("media", False)],
)
def test_whose_claims_are_made_by_a_stateful_set(name: str, *, found: bool) -> None:
    assert uses(STANDING[0], name) is found
    assert not uses(STANDING[5], name)


@pytest.mark.parametrize(
    ("wished", "said"),
    [
        ({"volumes": ()}, "--in-place stops what uses the volumes that it switches, and none is named"),
        ({"namespace": "other"}, "--namespace is for objects"),
        ({"if_exists": "replace"}, "--if-exists is for objects"),
        ({"hosts": {"a": "b"}}, "--host is for objects"),
        ({"with_jobs": True}, "--with-jobs is for objects"),
    ],
)
def test_nothing_else_is_wished_for_in_place(wished: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Wishes(**{"volumes": ("media",), "in_place": True, **wished})


def test_the_names_of_a_switch_fit() -> None:
    [switch] = plan("media").in_place
    assert isinstance(switch, Switch)
    assert (switch.claim, switch.beside) == ("media", f"media-{BESIDE}")


def test_what_may_be_a_standby_is_named_for_it_goes_on_with_the_life_before() -> None:
    standby = workload("Deployment", "db-read", pod={"containers": [{"name": "db", "image": "postgres:17"}]})
    notes = plan("postgres", objects=[*STANDING, standby]).notes
    assert [note for note in notes if "Deployment db-read runs an image of postgres, too" in note]
    assert not [note for note in plan("media", objects=[*STANDING, standby]).notes if "db-read" in note]
    assert not [note for note in plan("postgres").notes if "runs an image" in note]


def test_ended_pods_on_a_claim_are_named_for_they_are_deleted() -> None:
    names = ("web-1-x", "thumbnails-1-x")
    [note] = [each for each in plan("media", objects=without(*names)).notes if "have ended" in each]
    assert note.endswith(": ended")


def test_a_claim_that_names_no_class_is_made_anew_without_one() -> None:
    theirs = claim("media")
    del theirs["spec"]["storageClassName"]
    [switch] = plan("media", objects=[*without("media"), theirs]).in_place
    assert "storageClassName" not in switch.body["spec"]


def test_a_new_writer_is_at_work_before_a_probe_may_fail() -> None:
    probed = policy("recovery: {probes: [{name: front, http: 'http://web/'}]}")
    kinds = [step.kind for step in plan("postgres", of=probed, enrol=True).steps]
    assert kinds[-4:] == ["enrol", "protect", "backup", "probe"]
