import pytest

from drtool.policy.kinds import custom_groups, fault_of, matches, matches_any
from tests.policy.conftest import MakePolicy


@pytest.mark.parametrize(
    ("pattern", "group", "kind", "is_match"),
    [
        ("Secret", "", "Secret", True),
        ("Secret", "example.com", "Secret", True),
        ("core/Secret", "example.com", "Secret", False),
        ("core/*", "", "ConfigMap", True),
        ("apps/*", "apps", "Deployment", True),
        ("apps/*", "apps.example.com", "Deployment", False),
        ("*.cert-manager.io/*", "acme.cert-manager.io", "Order", True),
        ("*.cert-manager.io/*", "cert-manager.io", "Certificate", False),
        ("*Role*", "rbac.authorization.k8s.io", "ClusterRoleBinding", True),
        ("secret", "", "Secret", False),
    ],
)
def test_a_pattern_names_kinds_and_groups(pattern: str, group: str, kind: str, *, is_match: bool) -> None:
    assert matches(pattern, group, kind) == is_match
    assert matches_any(("Nothing", pattern), group, kind) == is_match


@pytest.mark.parametrize(
    ("pattern", "fault", "suggestion"),
    [
        ("secrets", "is no kind: secrets", "did you mean Secret?"),
        ("secret", "is no kind: secret", "did you mean Secret?"),
        ("Deploymnet", "is no kind: Deploymnet", "did you mean Deployment?"),
        ("apps/deployments", "is no kind: deployments", "did you mean Deployment?"),
        ("gadget", "is no kind: gadget", "write it as in manifests: Deployment, and not deployments"),
        ("app/Deployment", "is of no API group: app", "did you mean apps?"),
        ("zzz/Deployment", "is of no API group: zzz", "a group is written as in apiVersion: apps, or core"),
        (
            "a b",
            "is no kind of Kubernetes objects",
            "write KIND or GROUP/KIND, with * for any text: Secret, apps/*",
        ),
        ("apps/v1/Deployment", "is no kind of Kubernetes objects", None),
        ("", "is no kind of Kubernetes objects", None),
    ],
)
def test_what_names_no_kind_is_refused_with_what_was_meant(
    pattern: str, fault: str, suggestion: str | None
) -> None:
    found = fault_of(pattern)

    assert found is not None
    assert found[0] == fault
    assert suggestion in (None, found[1])


@pytest.mark.parametrize(
    "pattern",
    ["Secret", "core/ConfigMap", "apps/*", "*", "Widget", "example.com/Widget", "*.io/*", "batch/CronJob"],
)
def test_what_may_name_a_kind_is_taken(pattern: str) -> None:
    assert fault_of(pattern) is None


def test_a_policy_chooses_kinds_and_every_fault_has_its_place(make_policy: MakePolicy) -> None:
    volume = {"name": "m", "source": "manifests", "include": ["apps/*", "Secret"], "exclude": ["Job"]}
    [chosen] = make_policy(kubernetes={"namespace": "shop"}, volumes=[volume]).volumes
    assert chosen.source == "manifests"
    assert (chosen.include, chosen.exclude) == (("apps/*", "Secret"), ("Job",))

    with pytest.raises(ValueError, match=r"volumes.0.*include.1[\s\S]*is no kind: secrets"):
        make_policy(volumes=[{**volume, "include": ["apps/*", "secrets"]}])
    with pytest.raises(ValueError, match="Job is both included and excluded"):
        make_policy(volumes=[{**volume, "include": ["Job"]}])


def test_groups_of_custom_resources_are_those_that_are_named_in_full() -> None:
    patterns = (
        "*",
        "Secret",
        "apps/*",
        "networking.k8s.io/Ingress",
        "*.io/*",
        "traefik.io/*",
        "cert-manager.io/Issuer",
    )

    assert custom_groups(patterns) == {"traefik.io", "cert-manager.io"}
