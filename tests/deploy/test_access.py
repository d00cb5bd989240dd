from typing import Any

from drtool.deploy.access import access
from drtool.deploy.names import Object
from tests.deploy.conftest import MakePolicy


def roles(objects: list[Object]) -> dict[str, list[dict[str, Any]]]:
    return {each["metadata"]["name"]: each["rules"] for each in objects if each["kind"] == "Role"}


def test_who_backs_up_may_put_events_on_its_own_objects_and_nothing_else(make_policy: MakePolicy) -> None:
    rules = roles(list(access(make_policy(), "shop")))["drtool-backup"]

    assert [(rule["resources"], rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
        (["events"], ["create"], None),
        (["cronjobs"], ["get"], [f"drtool-backup-{name}" for name in ("db", "cache", "media", "objects")]),
        (["deployments"], ["get"], ["drtool-wal-follow-db"]),
    ]


def test_only_who_takes_the_objects_may_read_them_and_nobody_may_enter_a_pod(make_policy: MakePolicy) -> None:
    objects = list(access(make_policy(), "shop"))
    rules = roles(objects)["drtool-manifests"][3:]
    without = make_policy(("  - name: objects\n    source: manifests\n", ""))

    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
    named = [name for rule in rules for name in (*rule["resources"], *rule["apiGroups"])]
    assert "secrets" in named
    assert not [name for name in named if "*" in name or "/" in name]
    assert list(roles(list(access(without, "shop")))) == ["drtool-backup"]


def test_rights_end_with_the_namespace_and_tokens_are_mounted_where_a_pod_asks(
    make_policy: MakePolicy,
) -> None:
    objects = list(access(make_policy(), "shop"))

    assert {each["kind"] for each in objects} == {"ServiceAccount", "Role", "RoleBinding"}
    for each in objects:
        if each["kind"] == "ServiceAccount":
            assert each["automountServiceAccountToken"] is False
        if each["kind"] == "RoleBinding":
            name = each["metadata"]["name"]
            assert each["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": "shop"}]
            assert each["roleRef"]["name"] == name


def test_without_a_postgresql_there_is_no_follower_to_name(make_policy: MakePolicy) -> None:
    text = """  - name: db
    source: postgres
    host: postgres-0.postgres
    user: {secret: postgres-secrets, key: USER}
    password: {secret: postgres-secrets, key: PASSWORD}
"""
    rules = roles(list(access(make_policy((text, "")), "shop")))["drtool-backup"]

    assert [rule["resources"] for rule in rules] == [["events"], ["cronjobs"]]


def test_groups_of_custom_resources_that_the_policy_names_may_be_read_too(make_policy: MakePolicy) -> None:
    text = "    source: manifests\n"
    policy = make_policy((text, f"{text}    include: ['*', traefik.io/*]\n"))

    rules = roles(list(access(policy, "shop")))["drtool-manifests"]

    assert rules[-1] == {"apiGroups": ["traefik.io"], "resources": ["*"], "verbs": ["get", "list"]}
    assert {
        "apiGroups": [""],
        "resources": ["namespaces"],
        "verbs": ["get"],
        "resourceNames": ["shop"],
    } in rules


def test_rights_that_not_every_admin_of_a_namespace_has_are_in_the_role_only_where_they_are_asked_for(
    make_policy: MakePolicy,
) -> None:
    """Whoever applies a Role must hold all of it: until 1.34, dynamic resources are not in the ClusterRole admin."""
    text = "    source: manifests\n"
    asked = make_policy((text, f"{text}    include: ['*', resource.k8s.io/*]\n"))
    claims = {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims", "resourceclaimtemplates"]}

    assert {**claims, "verbs": ["get", "list"]} in roles(list(access(asked, "shop")))["drtool-manifests"]
    without = roles(list(access(make_policy(), "shop")))["drtool-manifests"]
    assert not [rule for rule in without if "resource.k8s.io" in rule["apiGroups"]]
