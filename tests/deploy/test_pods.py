import pytest

from drtool.deploy.names import Object
from drtool.deploy.pods import Duty, pod_template
from drtool.policy.schema import Policy
from tests.deploy.conftest import MakePolicy, with_media

VOLUMES = ("db", "cache", "media", "objects")


def pod(policy: Policy, volume: str) -> Object:
    """Return the spec of the pods that back a volume up."""
    duty = Duty(policy.volume(volume), "backup", ("backup", volume, "--due"))
    spec: Object = pod_template(policy, duty, "drtool:1")["spec"]
    return spec


def container(policy: Policy, volume: str) -> Object:
    (only,) = pod(policy, volume)["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("volume", VOLUMES)
def test_every_pod_is_what_the_restricted_standard_asks_for(make_policy: MakePolicy, volume: str) -> None:
    policy = make_policy()

    assert pod(policy, volume)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(policy, volume)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("volume", VOLUMES)
def test_every_pod_says_what_it_needs_and_takes_no_more(make_policy: MakePolicy, volume: str) -> None:
    given = container(make_policy(), volume)["resources"]
    asked = {
        "cpu",
        "memory",
        "ephemeral-storage",
    }  # each of them may have a quota, which refuses who says nothing
    assert (set(given["requests"]), set(given["limits"])) == (asked, asked)


@pytest.mark.parametrize(
    ("volume", "secrets"),
    [
        ("db", {"postgres-secrets": ["USER", "PASSWORD"]}),
        ("cache", {"sentinel-secrets": ["PASSWORD"]}),
        ("media", {}),
        ("objects", {}),
    ],
)
def test_a_pod_holds_exactly_the_keys_that_its_volume_and_the_repository_need(
    make_policy: MakePolicy, volume: str, secrets: dict[str, list[str]]
) -> None:
    policy = make_policy()
    volumes = [each["secret"] for each in pod(policy, volume)["volumes"] if "secret" in each]
    mounts = {each["name"]: each for each in container(policy, volume)["volumeMounts"]}

    held = {each["secretName"]: [item["key"] for item in each["items"]] for each in volumes}
    repository = {"drtool-s3": ["access_key", "secret_key"], "drtool-writer": ["bundle"]}
    assert held == {**repository, **secrets}
    assert all(item["path"] == item["key"] for each in volumes for item in each["items"])
    assert all(each["optional"] for each in volumes)
    paths = {mount["mountPath"] for name, mount in mounts.items() if name.startswith("secret-")}
    assert paths == {f"/etc/drtool/secrets/{name}" for name in held}


def test_a_key_that_is_referred_to_twice_is_held_once(make_policy: MakePolicy) -> None:
    policy = make_policy(("key: USER", "key: PASSWORD"))
    volumes = [each["secret"] for each in pod(policy, "db")["volumes"] if "secret" in each]

    assert [each["items"] for each in volumes if each["secretName"] == "postgres-secrets"] == [
        [{"key": "PASSWORD", "path": "PASSWORD"}]
    ]


def test_only_the_scratch_folder_can_be_written(make_policy: MakePolicy) -> None:
    for volume in VOLUMES:
        mounts = container(make_policy(), volume)["volumeMounts"]
        assert [each["mountPath"] for each in mounts if not each.get("readOnly")] == ["/tmp"]


def test_a_claim_is_mounted_under_its_name_and_only_where_its_files_are_read(make_policy: MakePolicy) -> None:
    policy = make_policy()

    assert {"name": "claim", "mountPath": "/claims/media-claim", "readOnly": True} in container(
        policy, "media"
    )["volumeMounts"]
    for volume in ("db", "cache", "objects"):
        assert "persistentVolumeClaim" not in str(pod(policy, volume))


def test_a_pod_is_told_where_everything_is_and_on_what_to_put_events(make_policy: MakePolicy) -> None:
    policy = make_policy()
    environment = {each["name"]: each.get("value") for each in container(policy, "db")["env"]}
    follow = Duty(policy.volume("db"), "wal-follow", ("wal", "follow", "db"))

    assert environment == {
        "DRTOOL_POLICY": "/etc/drtool/policy/policy.yaml",
        "DRTOOL_SECRETS": "/etc/drtool/secrets",
        "DRTOOL_CLAIMS": "/claims",
        "DRTOOL_TERMINATION_MESSAGE": "/dev/termination-log",
        "DRTOOL_EVENTS": "CronJob/drtool-backup-db",
        "DRTOOL_NAMESPACE": None,
    }
    assert follow.owner == "Deployment/drtool-wal-follow-db"


def test_a_mover_runs_as_the_owner_of_the_files(make_policy: MakePolicy) -> None:
    alone = make_policy(with_media("    run_as: {user: 33, group: 34}\n"))
    in_groups = make_policy(with_media("    run_as: {user: 33, group: 34, groups: [35, 36]}\n"))

    context = pod(alone, "media")["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 33, 34)
    assert "supplementalGroups" not in context
    assert "fsGroup" not in context  # the kubelet would give every file of the claim to it
    assert pod(in_groups, "media")["securityContext"]["supplementalGroups"] == [35, 36]
    assert pod(alone, "db")["securityContext"]["runAsUser"] == 10001


def test_a_mover_for_several_owners_may_pass_over_permissions_and_nothing_else(
    make_policy: MakePolicy,
) -> None:
    policy = make_policy(with_media("    pod_security: baseline\n"))

    assert pod(policy, "media")["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(policy, "media")["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {
            "drop": ["ALL"],
            "add": ["DAC_OVERRIDE"],
        },
    }


def test_a_mover_runs_where_its_policy_says(make_policy: MakePolicy) -> None:
    policy = make_policy(
        with_media(
            "    beside: {app: nginx}\n"
            "    node_selector: {disk: big}\n"
            "    tolerations: [{key: storage, operator: Exists, effect: NoSchedule}]\n"
        )
    )
    spec = pod(policy, "media")

    assert spec["nodeSelector"] == {"disk": "big"}
    assert spec["tolerations"] == [{"key": "storage", "operator": "Exists", "effect": "NoSchedule"}]
    (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term == {
        "labelSelector": {"matchLabels": {"app": "nginx"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    for volume in ("db", "objects"):
        assert not {"affinity", "tolerations", "nodeSelector"} & pod(policy, volume).keys()
