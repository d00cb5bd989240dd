"""What a look at the target finds that decides on what a plan says: an API server of the tests."""

from pathlib import Path

import pytest

from drtool.operations.plan_target import TargetLook
from drtool.recovery.wishes import Wishes
from drtool.sources.kubernetes.client import Cluster
from tests.recovery.captured import captured
from tests.recovery.stage import FACTS, changes_of
from tests.sources.kubernetes.shop import at, item, shop


@pytest.mark.parametrize(("may_see", "found"), [(True, {"web-tls"}), (False, set())])
def test_the_certificates_of_ingresses_are_looked_for_in_the_target(
    tmp_path: Path, *, may_see: bool, found: set[str]
) -> None:
    tls = [{"secretName": "web-tls"}, {"secretName": "lost-tls"}, {}]
    ingress = captured("networking.k8s.io/v1", "Ingress", "web", spec={"tls": tls})
    preparation, _ = changes_of([ingress], Wishes(), FACTS, [])
    with shop() as api:
        api.collections[at("secrets")] = [item("web-tls"), item("another")]
        if not may_see:
            api.forbidden |= {f"{at('secrets')}/{name}" for name in ("web-tls", "lost-tls")}
        with Cluster.open(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}) as cluster:
            facts = TargetLook(cluster, "here", "shop").facts(preparation.objects, ())
    assert facts.certificates == found
    assert [each for each in facts.lacking if "get secrets" in each] == []
