"""Where data lies: in the systems as their teams deploy them, and in the shapes that others have."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from drtool.policy.load import parse_policy
from drtool.policy.volumes import Volume
from drtool.recovery.places import Identity, ImageFacts, Place, place_of
from drtool.recovery.refusal import Refusal
from tests.cluster.protection import policy_of
from tests.recovery.captured import Json, captured, workload
from tests.recovery.test_systems import objects_of

IMAGE = ImageFacts(999, 999, 999, "/var/lib/postgresql/data/pgdata")
REDIS = ImageFacts(999, 999, 999)


def volume(text: str) -> Volume:
    policy = f"""\
version: 1
name: shop
repository: {{url: "file:///srv"}}
objectives: {{rpo: 15m, rto: 1h}}
kubernetes: {{namespace: shop}}
volumes: [{{name: it, {text}}}]
"""
    return parse_policy(policy, "shop").volumes[0]


def found(text: str, *objects: Json, image: ImageFacts | None = None, **settings: str) -> Place:
    place = place_of(volume(text), objects, {"settings": settings}, image)
    assert isinstance(place, Place), place
    return place


def refused(text: str, *objects: Json) -> str:
    refusal = place_of(volume(text), objects, {})
    assert isinstance(refusal, Refusal)
    assert refusal.about == "volume it"
    assert refusal.hint.endswith(".")
    return refusal.message


@pytest.mark.parametrize(
    ("system", "name", "claim", "path", "pod"),
    [
        ("wesago", "postgres", "data-postgres-0", "pgdata", "postgres-0"),
        ("wesago", "redis", "data-redis-0", "", "redis-0"),
        ("wesago", "media", "media", "", ""),
        ("wesago", "logs", "rsyslog", "", ""),
        ("misago", "postgres", "postgres-pvc", "pgdata", "postgres-0"),
        ("misago", "redis", None, "", "redis-0"),
        ("misago", "media", "nginx-pvc", "", ""),
        ("funkwhale", "postgres", "fw-postgres-pv-claim", "pgdata", "postgres-0"),
        ("funkwhale", "redis", "fw-redis-pv-claim", "", "redis-0"),
        ("funkwhale", "music", "fw-music-pv-claim", "", ""),
        ("tiny", "postgres", "data-postgres-0", "pgdata", "postgres-0"),
        ("tiny", "redis", "data-redis-0", "", "redis-0"),
        ("tiny", "files", "files", "", ""),
    ],
)
def test_the_data_of_every_system_is_found(
    system: str, name: str, claim: str | None, path: str, pod: str
) -> None:
    policy = parse_policy(policy_of(system)("bucket", "https://store.example"), system)
    image = {"postgres": IMAGE, "redis": REDIS}.get(name)
    place = place_of(policy.volume(name), objects_of(system), {}, image)
    assert isinstance(place, Place), place
    assert (place.claim, place.path, place.pod) == (claim, path, pod)
    if name in ("postgres", "redis"):
        assert place.image == f"drtool.test/{name}:test"
        assert (place.identity.user, place.identity.group) == (999, 999)
    else:
        assert (place.identity.user, place.identity.group) == (1000, 1000)


def pod(*names: str, **rest: Any) -> Json:
    """Return the spec of a pod with containers of these names; the first serves PostgreSQL, and mounts data."""
    containers: list[Json] = [{"name": name, "image": f"{name}:1"} for name in names]
    containers[0] |= {
        "ports": [{"containerPort": 5432}],
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data/"}],
        **rest.pop("first", {}),
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "pg"}}]
    return {"containers": containers, "volumes": volumes, **rest}


def service(name: str, **spec: Any) -> Json:
    return captured("v1", "Service", name, spec=spec)


POSTGRES = "source: postgres, user: drtool, host: db"
DB = service("db", selector={"app": "pg"}, ports=[{"port": 5432}])


def test_the_server_itself_says_where_its_data_is_before_its_container_and_its_image() -> None:
    first = {"env": [{"name": "PGDATA", "value": "/var/lib/postgresql/data/by-container"}]}
    holder = workload("Deployment", "pg", pod=pod("postgres", first=first))
    told = {"data_directory": "/var/lib/postgresql/data/told"}
    assert found(POSTGRES, DB, holder, image=IMAGE, **told).path == "told"
    assert found(POSTGRES, DB, holder, image=IMAGE).path == "by-container"
    plain = workload("Deployment", "pg", pod=pod("postgres"))
    assert found(POSTGRES, DB, plain, image=IMAGE).path == "pgdata"
    assert found(POSTGRES, DB, plain).path == ""


def test_a_data_directory_is_read_from_config_maps_and_secrets() -> None:
    encoded = {"dir": b64encode(b"/var/lib/postgresql/data/secret").decode(), "broken": "?"}
    secret = captured("v1", "Secret", "s", data=encoded)
    config = captured("v1", "ConfigMap", "c", data={"DATA": "/var/lib/postgresql/data/map"})
    one = {"env": [{"name": "PGDATA", "valueFrom": {"secretKeyRef": {"name": "s", "key": "dir"}}}]}
    many = {"envFrom": [{"prefix": "PG", "configMapRef": {"name": "c"}}]}
    for first, path in ((one, "secret"), (many, "map")):
        holder = workload("Deployment", "pg", pod=pod("postgres", first=first))
        assert found(POSTGRES, DB, holder, secret, config).path == path


def test_a_folder_of_a_claim_is_the_place_where_only_that_is_mounted() -> None:
    mounts = [
        {"name": "other", "mountPath": "/var/lib"},
        {"name": "data", "mountPath": "/var/lib/postgresql/data", "subPath": "db/main"},
    ]
    holder = workload("Deployment", "pg", pod=pod("postgres", first={"volumeMounts": mounts}))
    assert found(POSTGRES, DB, holder).path == "db/main"
    assert found(POSTGRES, DB, holder, image=IMAGE).path == "db/main/pgdata"
    mounts[1]["subPathExpr"] = mounts[1].pop("subPath")
    assert "subPathExpr of claim pg" in refused(POSTGRES, DB, holder)


def test_as_whom_it_runs_is_said_by_container_pod_and_image_in_this_order() -> None:
    shared = {"runAsUser": 70, "fsGroup": 5, "supplementalGroups": [8]}
    first = {"securityContext": {"runAsUser": 71, "runAsGroup": 72, "runAsNonRoot": True}}
    holder = workload("Deployment", "pg", pod=pod("postgres", first=first, securityContext=shared))
    assert found(POSTGRES, DB, holder, image=IMAGE).identity == Identity(71, 72, 5, (8,), is_non_root=True)
    plain = workload("Deployment", "pg", pod=pod("postgres"))
    assert found(POSTGRES, DB, plain).identity == Identity()
    by_root = found(POSTGRES, DB, plain, image=replace(IMAGE, starts_as=0))
    assert by_root.identity == Identity(999, 999)
    assert by_root.starts_as_root
    assert not found(POSTGRES, DB, holder, image=replace(IMAGE, starts_as=0)).starts_as_root


def runs_before(container: Json) -> Place:
    """Return the place of a server's data before which a container with the same claim runs."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    first = {"name": "own", "image": "busybox", "volumeMounts": mounts, **container}
    holder = workload("StatefulSet", "pg", pod=pod("postgres", initContainers=[first]))
    return found(POSTGRES, DB, holder, image=IMAGE)


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["own"], "securityContext": {"runAsUser": 0}},
        {"command": ["sh", "-c"], "args": ["chown -R 999 /data"]},  # its image starts as root, or it fails
    ],
)
def test_a_claim_that_root_gives_to_the_server_is_given_to_who_recovers_it(container: Json) -> None:
    assert runs_before(container).starts_as_root


@pytest.mark.parametrize(
    "container",
    [
        {"args": ["chown", "999", "/data"], "securityContext": {"runAsUser": 999}},
        {"command": ["wait"]},
        {"command": ["own"], "securityContext": {"runAsUser": 0}, "volumeMounts": [{"name": "other"}]},
        {"command": ["own"], "securityContext": {"runAsUser": 0}, "volumeMounts": None},
    ],
)
def test_a_claim_that_nobody_gives_is_not_given(container: Json) -> None:
    assert not runs_before(container).starts_as_root


def test_a_mover_asks_of_its_node_what_the_workload_asks() -> None:
    term = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}
    affinity = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]},
    }
    asks = {
        "nodeSelector": {"disk": "fast", "drtool.io/held": "true"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "affinity": affinity,
        "imagePullSecrets": [{"name": "registry"}],
    }
    place = found(POSTGRES, DB, workload("Deployment", "pg", pod=pod("postgres", **asks)))
    assert place.placement == {
        "nodeSelector": {"disk": "fast"},
        "tolerations": asks["tolerations"],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}},
    }
    assert place.pull_secrets == ("registry",)


def test_the_first_pod_of_a_set_is_that_of_its_first_ordinal_or_the_one_that_is_named() -> None:
    template = [{"metadata": {"name": "data"}}]
    holder = workload(
        "StatefulSet", "pg", pod=pod("postgres"), volumeClaimTemplates=template, ordinals={"start": 3}
    )
    assert found(POSTGRES, DB, holder).claim == "data-pg-3"
    named = "source: postgres, user: drtool, host: pg-4.db.shop.svc"
    assert (found(named, DB, holder).claim, found(named, DB, holder).pod) == ("data-pg-4", "pg-4")
    one = service("db", selector={"statefulset.kubernetes.io/pod-name": "pg-5"})
    assert found(POSTGRES, one, holder).claim == "data-pg-5"


def test_a_host_that_leads_to_no_one_workload_is_refused() -> None:
    holder = workload("Deployment", "pg", pod=pod("postgres"))
    twin = captured("apps/v1", "Deployment", "twin", spec=holder["spec"])
    outside = service("db", type="ExternalName", externalName="db.example")
    gone = service("db", selector={"statefulset.kubernetes.io/pod-name": "pg-5"})
    assert "is reached as db, which leads to no workload" in refused(POSTGRES, holder)
    assert "leads to no workload" in refused(POSTGRES, outside, holder)
    assert "behind that lie pg, twin" in refused(POSTGRES, DB, holder, twin)
    assert "behind that lie no workload" in refused(POSTGRES, gone, holder)
    assert "where no capture looks" in refused("source: postgres, user: drtool, host: {env: HOST}")
    assert "where no capture looks" in refused("source: postgres, user: drtool, host: {secret: s, key: k}")
    replica = captured("apps/v1", "ReplicaSet", "rs", spec=holder["spec"], metadata={"ownerReferences": [{}]})
    assert found(POSTGRES, DB, holder, replica).claim == "pg"


def test_the_container_with_the_data_is_told_by_port_or_image_else_refused() -> None:
    silent: Json = {"ports": []}
    by_image = workload("Deployment", "pg", pod=pod("postgres", "exporter", first=silent))
    assert found(POSTGRES, DB, by_image).image == "postgres:1"
    unknown = workload("Deployment", "pg", pod=pod("one", "other", first=silent))
    assert "which of its containers has the data is not told" in refused(POSTGRES, DB, unknown)


def test_data_that_no_claim_holds_is_told() -> None:
    bare = workload("Deployment", "pg", pod=pod("postgres", first={"volumeMounts": []}))
    assert "container postgres mounts nothing there" in refused(POSTGRES, DB, bare)
    folder = {**pod("postgres"), "volumes": [{"name": "data", "emptyDir": {}}]}
    assert found(POSTGRES, DB, workload("Deployment", "pg", pod=folder)).claim is None
    assert "is /srv of a machine" in refused("source: files, path: /srv")
    assert "no data of its own" in refused("source: manifests")


REDIS_SET = {
    "containers": [
        {"name": "redis", "image": "redis:7", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    ]
}
SENTINEL = "source: redis, sentinel: {service: sentinel, master: m}"


def test_sentinels_watch_the_workload_that_serves_the_port_of_the_data() -> None:
    template = [{"metadata": {"name": "data"}}]
    redis = workload("StatefulSet", "redis", pod=REDIS_SET, volumeClaimTemplates=template)
    cache = workload("Deployment", "cache", pod=REDIS_SET)
    services = [
        service("redis", selector={"app": "redis"}, ports=[{"port": 6379}]),
        service("cache", selector={"app": "cache"}, ports=[{"port": 6379}]),
    ]
    assert found(SENTINEL, redis, *services).claim == "data-redis-0"
    assert found(SENTINEL, redis, cache, *services).claim == "data-redis-0"
    assert "is none meant" in refused(SENTINEL, redis)
    other = workload("StatefulSet", "other", pod=REDIS_SET, volumeClaimTemplates=template)
    more = service("other", selector={"app": "other"}, ports=[{"port": 6379}])
    assert "is redis, other meant" in refused(SENTINEL, redis, other, *services, more)


def test_a_redis_that_keeps_its_data_elsewhere_is_followed_there_and_one_that_names_it_otherwise_refused() -> (
    None
):
    settings = captured("v1", "ConfigMap", "settings", data={"redis.conf": "# dir /no\ndir /data/live\n"})
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "redis"}},
        {"name": "settings", "configMap": {"name": "settings"}},
    ]
    behind = service("redis", selector={"app": "redis"}, ports=[{"port": 6379}])

    def serving(*command: str) -> Json:
        containers = [{**REDIS_SET["containers"][0], "command": ["redis-server", *command]}]
        return workload("Deployment", "redis", pod={"containers": containers, "volumes": volumes})

    text = "source: redis, host: redis"
    assert found(text, serving(), behind, settings).path == "live"
    assert found(text, serving("--dir", "/data/other"), behind, settings).path == "other"
    assert found(text, serving("--dir /data/this --save 60 1"), behind).path == "this"
    for name in ("dbfilename shop.rdb", "appendfilename shop.aof", "appenddirname shop"):
        assert f"has {name}: drtool writes" in refused(text, serving(f"--{name}"), behind)


def test_files_are_moved_as_their_policy_says_else_as_their_workload_runs() -> None:
    spec = {**pod("web", first={"ports": []}), "securityContext": {"runAsUser": 33, "fsGroup": 34}}
    holder = workload("Deployment", "web", pod={**spec, "nodeSelector": {"disk": "fast"}})
    text = "source: files, claim: pg"
    assert found(text, holder).identity == Identity(33, None, 34)
    assert found(text, holder).placement == {"nodeSelector": {"disk": "fast"}}
    assert found(f"{text}, pod_security: baseline", holder).identity == Identity(0, 0, 34)
    said = f"{text}, run_as: {{user: 1, group: 2, groups: [3]}}, node_selector: {{a: b}}, tolerations: [{{key: t}}]"
    place = found(said, holder)
    assert place.identity == Identity(1, 2, 34, (3,))
    assert place.placement == {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "t", "operator": "Equal"}]}
    assert found(text).identity == Identity()
