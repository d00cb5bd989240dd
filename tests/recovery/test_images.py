"""Which images a plan needs, what a pod tells of one, and what that means for the plan."""

from dataclasses import replace
from typing import Any

import pytest

from drtool.recovery.images import Image, ImageFact, images_of, look, note_images, refuse_images, waits_for
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.plan import Plan
from drtool.recovery.points import VolumePoint
from drtool.recovery.steps import label
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import Json, captured, workload
from tests.recovery.stage import NOW, changes_of, facts, made, policy

POSTGRES = "postgres (PostgreSQL) {}.4 (Debian {}.4-1)\n"
REDIS = "Redis server v={} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1\n"
RDB = {"Redis 6.2.14": 9, "Redis 7.0.15": 10}


def pod(*images: str, **more: Any) -> dict[str, Any]:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    return {"containers": containers, **more}


def prepared(*objects: Json) -> dict[str, Prepared]:
    found = changes_of(objects, Wishes(), facts(), ())[0].objects
    return {label(each.ref): each for each in found}


def images(*objects: Json, own: str = "") -> list[Image]:
    these = prepared(*objects)
    return list(images_of(these, these, own))


def test_every_image_of_what_comes_back_is_named_once_with_all_who_use_it() -> None:
    web = workload("Deployment", "web", pod=pod("app:1", "log:1", initContainers=[{"image": "wait:1"}]))
    job = {"jobTemplate": {"spec": {"template": {"spec": pod("app:1")}}}, "schedule": "@daily"}
    nightly = captured("batch/v1", "CronJob", "nightly", spec=job)

    found = images(web, nightly, captured("v1", "ConfigMap", "settings"), own="drtool:1")

    assert [(each.name, each.users) for each in found] == [
        ("app:1", ("Deployment web", "CronJob nightly")),
        ("drtool:1", ("drtool itself",)),
        ("log:1", ("Deployment web",)),
        ("wait:1", ("Deployment web",)),
    ]


def test_what_shall_not_run_needs_no_image() -> None:
    spec = {"suspend": True, "jobTemplate": {"spec": {"template": {"spec": pod("old:1")}}}}

    assert (
        images(
            workload("Deployment", "off", replicas=0, pod=pod("gone:1")),
            captured("batch/v1", "CronJob", "idle", spec=spec),
        )
        == []
    )


def test_an_image_is_pulled_as_its_workload_pulls_it() -> None:
    secret = captured("v1", "Secret", "registry", type="kubernetes.io/dockerconfigjson")
    account = captured("v1", "ServiceAccount", "default", imagePullSecrets=[{"name": "registry"}])
    strict = [{"name": "a", "image": "app:1", "imagePullPolicy": "Always"}]
    arm = {"nodeSelector": {"kubernetes.io/arch": "arm64"}, "tolerations": [{"operator": "Exists"}]}
    mild = {"containers": [{**strict[0], "imagePullPolicy": "IfNotPresent"}]}
    named = {"imagePullSecrets": [{"name": "registry"}, {"name": "not-captured"}]}

    [found] = images(
        secret,
        account,
        workload("Deployment", "a", pod={"containers": strict, **arm, **named}),
        workload("Deployment", "b", pod={**mild, "serviceAccountName": "other"}),
    )

    assert found == Image("app:1", ("Deployment a", "Deployment b"), "Always", ("registry",), arm)


def test_drtools_own_image_may_be_that_of_a_workload() -> None:
    [found] = images(workload("Deployment", "web"), own="app:1")

    assert found.users == ("Deployment web", "drtool itself")


def state(**what: Any) -> Json:
    return {"status": {"phase": "Pending", "containerStatuses": [{"name": "probe", "state": what}]}}


@pytest.mark.parametrize(
    ("status", "fault", "may_change"),
    [
        ({}, None, True),
        (state(waiting={"reason": "ContainerCreating"}), None, True),
        (state(running={}), None, True),
        (state(waiting={"reason": "ErrImagePull", "message": "no\nhost"}), "cannot be pulled: no host", True),
        (state(waiting={"reason": "ImagePullBackOff"}), "cannot be pulled: ImagePullBackOff", True),
        (state(waiting={"reason": "InvalidImageName", "message": "odd"}), "cannot be pulled: odd", False),
        (state(waiting={"reason": "ErrImageNeverPull"}), "cannot be pulled: ErrImageNeverPull", False),
        (state(waiting={"reason": "CreateContainerError", "message": "no /bin/sh"}), "", False),
        (state(terminated={"exitCode": 128, "message": "stat /bin/sh: no such file"}), "", False),
        (
            state(terminated={"exitCode": 1, "message": "exec /bin/sh: exec format error"}),
            "is of another architecture than the node",
            False,
        ),
        (
            state(waiting={"reason": "RunContainerError", "message": "exec format error"}),
            "is of another architecture than the node",
            False,
        ),
        (
            {"status": {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}},
            "was not tried, for its pod failed: low on disk",
            False,
        ),
    ],
)  # fmt: skip
def test_the_state_of_a_pod_tells_of_its_image(status: Json, fault: str | None, may_change: bool) -> None:  # noqa: FBT001 - a table
    found = look("app:1", status)

    assert (found[0] and found[0].fault, found[1]) == (fault, may_change)


def test_the_last_words_of_a_pod_are_the_versions_of_its_servers() -> None:
    told = POSTGRES.format(15, 15) + POSTGRES.format(17, 17) + REDIS.format("7.0.15")
    found, _ = look("all", state(terminated={"exitCode": 0, "message": told}))

    assert found is not None
    assert (found.postgres, found.redis) == (frozenset({15, 17}), "Redis 7.0.15")
    assert ImageFact("x", said="Valkey server v=8.0.1 sha=0").redis == "Valkey 8.0.1"
    assert (ImageFact("x").postgres, ImageFact("x").redis) == (frozenset(), "")


def test_a_pod_that_nothing_is_known_of_is_said_to_wait() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}

    assert waits_for({}) == "was not pulled in time"
    assert (
        waits_for({"status": {"conditions": [{"type": "Ready", "status": "False"}, condition]}})
        == "was not tried, for its pod fits no node: 0/1 nodes are available"
    )


def point(volume: str, version: int | None) -> VolumePoint:
    plan: Plan = made()
    [found] = [each for each in plan.volumes if each.volume == volume]
    return VolumePoint(
        volume, found.source, found.point, NOW, None, found.loss, found.cost, found.size, version
    )


SERVICE = captured("v1", "Service", "db", spec={"selector": {"app": "db"}})
PORT = {"name": "server", "image": "pg:1", "ports": [{"containerPort": 5432}]}
DATABASE = workload("StatefulSet", "db", pod={"containers": [PORT, *pod("exporter:1")["containers"]]})
OTHER = workload("StatefulSet", "other", pod=pod("pg:2"))
OLD, NEW = (
    ImageFact(name, said=POSTGRES.format(*2 * [major])) for name, major in (("pg:1", 15), ("pg:2", 16))
)


def reasons(volumes: list[VolumePoint], found: list[ImageFact], *objects: Json, of: Any = None) -> list[str]:
    looked = [(Image(each.image, ("StatefulSet db",)), each) for each in found]
    these = refuse_images(of or policy(), volumes, prepared(*objects), looked, RDB)
    return [f"{each.about} {each.message}" for each in these]


def test_an_image_that_cannot_run_is_refused_with_who_needs_it() -> None:
    assert reasons([], [ImageFact("app:1", "cannot be pulled: gone"), ImageFact("b:1")]) == [
        "image app:1 of StatefulSet db cannot be pulled: gone"
    ]


def test_postgresql_of_another_major_is_refused_with_both_versions() -> None:
    assert reasons([point("postgres", 16)], [OLD]) == ["volume postgres is of PostgreSQL 16, and pg:1 has 15"]
    assert reasons([point("postgres", 15)], [OLD, ImageFact("exporter:1")]) == []
    assert reasons([point("postgres", None)], [OLD]) == []


def test_only_the_image_behind_a_databases_host_decides_where_it_is_known() -> None:
    both = [OLD, NEW]

    assert reasons([point("postgres", 16)], both) == []
    assert reasons([point("postgres", 16)], both, SERVICE, DATABASE, OTHER) == [
        "volume postgres is of PostgreSQL 16, and pg:1 has 15"
    ]
    assert reasons([point("postgres", 15)], both, SERVICE, DATABASE, OTHER) == []
    assert reasons([replace(point("media", 15), source="postgres")], both) == []


def test_the_host_of_one_pod_leads_to_its_statefulset() -> None:
    given = policy()
    more = given.volumes[0].model_copy(update={"name": "second", "host": "other-0.others"})
    of = given.model_copy(update={"volumes": (*given.volumes, more)})
    second = VolumePoint("second", "postgres", "p", NOW, None, NOW - NOW, NOW - NOW, 1, 15)

    assert reasons([second], [OLD, NEW], SERVICE, DATABASE, OTHER, of=of) == [
        "volume second is of PostgreSQL 15, and pg:2 has 16"
    ]


def test_a_redis_that_cannot_read_the_rdb_is_refused_with_both_versions() -> None:
    old, new = (ImageFact(version, said=REDIS.format(version)) for version in ("6.2.14", "7.0.15"))

    assert reasons([point("redis", 10)], [old]) == [
        "volume redis is an RDB of version 10, and 6.2.14 has Redis 6.2.14, which reads up to 9"
    ]
    assert reasons([point("redis", 10)], [new, OLD]) == []
    assert reasons([point("redis", 9)], [new]) == []
    assert reasons([point("redis", None)], [old]) == []


def test_a_database_whose_images_tell_nothing_is_a_note() -> None:
    volumes = [point("postgres", 15), point("redis", 10), point("media", None)]

    assert list(note_images(volumes, [OLD])) == [
        "volume redis: no image tells which version of its server it has"
    ]
    assert list(note_images(volumes, [OLD, ImageFact("r", said=REDIS.format("7.0.15"))])) == []
