"""The look at a plan's images: in a namespace of its own, some at once, and nothing left of it whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Timer

import pytest

from drtool.deploy.names import COMMON
from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore.images import Limits, check_images, probe_images
from drtool.operations.session import Silent, World
from drtool.recovery.images import Image
from drtool.recovery.wishes import Wishes
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster
from tests.operations.cluster_restore.planned import plan_of, result_of
from tests.recovery.captured import captured, workload
from tests.sources.kubernetes.kubelet import Becomes, Kubelet

FAST = Limits(image_s=3, failing_s=0, at_once=2)
OWN = "/api/v1/namespaces/drtool-images-run-1"


def ended(message: str = "") -> Json:
    state = {"terminated": {"exitCode": 0, "message": message}}
    return {"phase": "Succeeded", "containerStatuses": [{"state": state}]}


def waits(reason: str) -> Json:
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason}}}]}


def becomes(said: dict[str, Json]) -> Becomes:
    return lambda pod: said.get(pod["spec"]["containers"][0]["image"], ended())


@contextmanager
def target(
    of: Becomes, folder: Path, ending: Event | None = None
) -> Iterator[tuple[Kubelet, World, Cluster]]:
    with Kubelet(of) as api:
        environment = {"KUBECONFIG": str(api.kubeconfig(folder))}
        world = World(lambda: datetime.now(UTC), environment, Silent(), ending or Event())
        with Cluster.open(None, environment, patience_s=5, ending=world.ending) as cluster:
            yield api, world, cluster
        assert OWN in api.deleted
        assert not [each for each in api.collections["/api/v1/namespaces"] if each]


def test_all_images_are_tried_some_at_once_in_restricted_pods_without_a_token(tmp_path: Path) -> None:
    several = [workload("Deployment", f"w{n}", pod={"containers": [{"image": f"i:{n}"}]}) for n in range(4)]
    with target(becomes({}), tmp_path) as (api, world, cluster):
        check_images(world, cluster, "RUN.1", plan_of(*several), FAST)
        pods = [each for each in api.created if each["kind"] == "Pod"]

        assert [each["spec"]["containers"][0]["image"] for each in pods] == [
            "drtool:1",
            *(f"i:{n}" for n in range(4)),
        ]
        assert api.at_once == FAST.at_once
        assert {each["metadata"]["labels"]["drtool.io/run"] for each in api.created} == {"RUN.1"}
        assert not any(each["spec"]["automountServiceAccountToken"] for each in pods)
        [namespace] = [each for each in api.created if each["kind"] == "Namespace"]
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_secrets_that_workloads_pull_with_are_there_as_long_as_the_pods(tmp_path: Path) -> None:
    secret = captured("v1", "Secret", "registry", type="kubernetes.io/dockerconfigjson", data={"a": "Yg=="})
    web = workload("Deployment", "web", pod={"imagePullSecrets": [{"name": "registry"}]})
    with target(becomes({}), tmp_path) as (api, world, cluster):
        check_images(world, cluster, "RUN.1", plan_of(secret, web), FAST)

        [made_secret] = [each for each in api.created if each["kind"] == "Secret"]
        assert made_secret["data"] == {"a": "Yg=="}
        assert made_secret["metadata"]["namespace"] == "drtool-images-run-1"
        pulls = {
            each["spec"]["containers"][0]["image"]: each["spec"]["imagePullSecrets"]
            for each in api.created
            if each["kind"] == "Pod"
        }
        assert pulls == {"app:1": [{"name": "registry"}], "drtool:1": []}


def left(name: str, hours: int, labels: dict[str, str]) -> Json:
    made = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": made}}


def test_what_a_killed_look_left_goes_and_nothing_else(tmp_path: Path) -> None:
    with target(becomes({}), tmp_path) as (api, world, cluster):
        others = [
            left("drtool-images-killed", 30, COMMON),
            left("drtool-images-now", 0, COMMON),  # another drtool looks
            left("drtool-images-mine", 30, {}),
            left("shop", 30, COMMON),
        ]
        api.collections["/api/v1/namespaces"] = list(others)

        check_images(world, cluster, "RUN.1", plan_of(), FAST)

        namespaces = [path for path in api.deleted if path.count("/") == OWN.count("/")]
        assert namespaces == ["/api/v1/namespaces/drtool-images-killed", OWN]
        api.collections["/api/v1/namespaces"] = []


def test_who_may_not_list_namespaces_looks_all_the_same(tmp_path: Path) -> None:
    with target(becomes({}), tmp_path) as (api, world, cluster):
        api.tell(403)
        api.tell(403)  # it is asked once more: a server that has just started refuses everything

        check_images(world, cluster, "RUN.1", plan_of(), FAST)

        assert api.asked[0].startswith("GET /api/v1/namespaces?")


def test_all_that_cannot_run_is_refused_at_once(tmp_path: Path) -> None:
    web = workload("Deployment", "web", pod={"containers": [{"image": "gone:1"}, {"image": "pg:16"}]})
    said = {
        "gone:1": waits("ErrImagePull"),
        "pg:16": ended("postgres (PostgreSQL) 16.2\nRedis server v=6.2.14 sha=0\n"),
    }
    with (
        target(becomes(said), tmp_path) as (_, world, cluster),
        pytest.raises(Refused) as refusal,
    ):
        check_images(world, cluster, "RUN.1", plan_of(web), FAST)

    assert refusal.value.message == (
        "image gone:1 of Deployment web cannot be pulled: ErrImagePull; "
        "volume postgres is of PostgreSQL 15, and pg:16 has 16; "
        "volume redis is an RDB of version 10, and pg:16 has Redis 6.2.14, which reads up to 9"
    )
    assert "--image-registry" in refusal.value.hint


def test_what_no_image_tells_is_noted(tmp_path: Path) -> None:
    with target(becomes({}), tmp_path) as (_, world, cluster):
        notes = check_images(world, cluster, "RUN.1", plan_of(), FAST)

    assert [each.partition(":")[0] for each in notes] == ["volume postgres", "volume redis"]


def test_nothing_is_looked_at_without_a_plan_or_an_image(tmp_path: Path) -> None:
    with Kubelet(becomes({})) as api:
        environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
        world = World(lambda: datetime.now(UTC), environment, Silent())
        with Cluster.open(None, environment) as cluster:
            none = replace(plan_of(), result=result_of(None))
            assert check_images(world, cluster, "RUN.1", none) == ()
            assert check_images(world, cluster, "RUN.1", plan_of(wishes=Wishes())) != ()
        assert api.created == []


def look_at(world: World, cluster: Cluster, *names: str, limits: Limits = FAST) -> dict[str, str]:
    images = [Image(name, ("Deployment web",)) for name in names]
    found = probe_images(world, cluster, "RUN.1", images, [], limits)
    return {name: fact.fault for name, fact in found.items()}


def test_an_image_that_cannot_be_pulled_is_given_some_time_to_be_pulled_after_all(tmp_path: Path) -> None:
    with target(becomes({"a": waits("ErrImagePull")}), tmp_path) as (api, world, cluster):

        def pulled(pod: Json) -> None:
            api.collections[f"{OWN}/pods"] = [{**pod, "status": ended()}]

        made_pod = {"metadata": {"name": "image-0"}}
        later = Timer(1.5, pulled, [made_pod])
        later.start()
        assert look_at(world, cluster, "a", limits=Limits(image_s=30, failing_s=20)) == {"a": ""}
        later.join()


@pytest.mark.parametrize("status", [waits("ContainerCreating"), None])
def test_an_image_that_is_not_pulled_in_time_is_one_that_cannot_run(
    tmp_path: Path, status: Json | None
) -> None:
    with target(becomes({"slow": status or {}}), tmp_path) as (api, world, cluster):
        if status is None:  # somebody deletes the pod under our hands
            Timer(0.2, lambda: api.collections.update({f"{OWN}/pods": []})).start()
        assert look_at(world, cluster, "slow", limits=Limits(image_s=1)) == {"slow": "was not pulled in time"}


def test_a_pod_that_the_cluster_does_not_take_is_a_fault_of_its_image(tmp_path: Path) -> None:
    with target(becomes({}), tmp_path) as (api, world, cluster):
        api.refuses = lambda body: "not here" if body.get("spec", {}).get("containers") else ""
        found = look_at(world, cluster, "a")

    assert "was not tried" in found["a"]
    assert "not here" in found["a"]


@pytest.mark.parametrize("has_accounts", [True, False])
def test_nothing_is_left_when_drtool_is_asked_to_end(tmp_path: Path, has_accounts: bool) -> None:  # noqa: FBT001 - a table
    ending = Event()
    with target(becomes({"slow": waits("ContainerCreating")}), tmp_path, ending) as (api, world, cluster):
        api.has_accounts = has_accounts
        Timer(0.5, ending.set).start()
        with pytest.raises(TemporaryFailure):
            look_at(world, cluster, "slow")


def test_nothing_is_left_when_a_secret_cannot_be_made(tmp_path: Path) -> None:
    refuses: Callable[[Json], str] = lambda body: "quota" if body["kind"] == "Secret" else ""  # noqa: E731 - short
    with target(becomes({}), tmp_path) as (api, world, cluster):
        api.refuses = refuses
        with pytest.raises(Exception, match="quota"):
            probe_images(world, cluster, "RUN.1", [Image("a", ())], [captured("v1", "Secret", "s")], FAST)
