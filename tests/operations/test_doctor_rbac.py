"""Rights and rules: what a Role says, verb by verb, and back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.cli.doctor import rights_answer
from drtool.errors import UsageError
from drtool.operations.doctor.rbac import Right, rights_of, rules_of, run_rbac
from drtool.operations.results import MissingRights
from drtool.operations.session import Silent, World
from drtool.policy.load import parse_policy
from tests.sources.kubernetes.api import Api

POLICY = """\
version: 1
name: shop
repository: {{url: "file:///srv"}}
objectives: {{rpo: 15m, rto: 1h}}
{more}volumes: [{{name: files, source: files, path: /srv/files}}]
"""
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def missing(folder: Path, user: str, lacks: set[str]) -> tuple[dict[str, Any], ...]:
    """Return what doctor prints for a user who lacks the verbs on kinds that lacks says: `get pods`."""

    def review(sent: dict[str, Any]) -> dict[str, Any]:
        wanted = sent["spec"]["resourceAttributes"]
        verb = f"{wanted['verb']} {wanted['resource']}"
        return {"status": {"allowed": verb not in lacks}}

    who = {"status": {"userInfo": {"username": user}}}
    lacks = lacks | {"impersonate serviceaccounts"}
    with Api({}, {WHO: who, REVIEWS: review}) as api:
        world = World(lambda: datetime.now(UTC), {"KUBECONFIG": str(api.kubeconfig(folder))}, Silent())
        policy = parse_policy(POLICY.format(more="kubernetes: {namespace: shop}\n"), "shop")
        return run_rbac(policy, world, None).objects


def test_a_second_apply_takes_no_right_of_the_first_away(tmp_path: Path) -> None:
    first, _ = missing(tmp_path, "ann", {"get pods", "get cronjobs"})
    second, _ = missing(tmp_path, "ann", {"get cronjobs"})
    assert second == first
    assert {Right("", "pods", "get"), Right("batch", "cronjobs", "get")} <= set(rights_of(first["rules"]))
    assert missing(tmp_path, "ann", set()) == ()


def test_each_person_and_account_has_a_role_of_its_own(tmp_path: Path) -> None:
    users = ("ann", "ben", *(f"system:serviceaccount:{place}:drtool-backup" for place in ("shop", "other")))
    bound = [missing(tmp_path, user, {"create events"}) for user in users]
    assert len({role["metadata"]["name"] for role, _ in bound}) == len(users)
    assert all(binding["roleRef"]["name"] == role["metadata"]["name"] for role, binding in bound)
    subjects = [(subject["kind"], subject["name"]) for _, binding in bound for subject in binding["subjects"]]
    account = ("ServiceAccount", "drtool-backup")
    assert subjects == [("User", "ann"), ("User", "ben"), account, ("User", users[3])]


def rule(group: str, resources: list[str], verbs: list[str], *names: str) -> dict[str, Any]:
    made: dict[str, Any] = {"apiGroups": [group], "resources": resources, "verbs": verbs}
    return {**made, "resourceNames": list(names)} if names else made


def test_a_rule_is_as_many_rights_as_it_has_verbs_kinds_and_names() -> None:
    assert set(rights_of([rule("batch", ["jobs", "cronjobs"], ["get"], "a", "b")])) == {
        Right("batch", plural, "get", name) for plural in ("jobs", "cronjobs") for name in ("a", "b")
    }


def test_rights_become_rules_again_kinds_with_the_same_verbs_together() -> None:
    rules = [
        rule("", ["pods", "secrets"], ["get", "list"]),
        rule("", ["events"], ["create"]),
        rule("batch", ["cronjobs"], ["get"], "a"),
    ]
    rights = sorted(rights_of(rules))
    assert set(rights_of(rules_of(rights))) == set(rights)
    assert len(rules_of(rights)) == 3


def test_a_policy_without_a_namespace_has_no_rights_to_ask_for(tmp_path: Path) -> None:
    world = World(lambda: datetime.now(UTC), {}, Silent())
    with pytest.raises(UsageError, match="names no namespace"):
        run_rbac(parse_policy(POLICY.format(more=""), "shop"), world, None)


def test_a_cluster_that_is_not_configured_is_wrong_usage(tmp_path: Path) -> None:
    world = World(lambda: datetime.now(UTC), {"KUBECONFIG": str(tmp_path / "none")}, Silent())
    with pytest.raises(UsageError, match="no cluster is configured"):
        run_rbac(parse_policy(POLICY.format(more="kubernetes: {namespace: shop}\n"), "shop"), world, None)


def test_whom_it_could_not_ask_for_is_said() -> None:
    said = rights_answer(MissingRights("shop", "shop", ("ann",), ("drtool-backup",), ()))
    assert (said.verdict, said.exit_code) == ("doctor: ann lacks no right", 0)
    assert said.advice.endswith("drtool-backup.")


def test_roles_are_applied_where_they_were_asked_for() -> None:
    role = {"kind": "Role", "metadata": {"name": "drtool-operator-1"}}
    said = rights_answer(MissingRights("shop", "shop", ("ann",), (), (role,)), "east")
    assert "`kubectl --context=east apply --filename=-`" in said.advice
