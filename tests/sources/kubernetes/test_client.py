import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from drtool.errors import SourceUnavailable, TemporaryFailure, UsageError
from drtool.sources.kubernetes.client import READY_S, Cluster, Resource
from drtool.sources.kubernetes.faults import Absent, Forbidden, TooLarge, Unauthorized
from drtool.sources.kubernetes.transport import LONGEST
from drtool.sources.kubernetes.writing import apply, try_apply
from tests.sources.kubernetes.api import Api, config_map, write_kubeconfig
from tests.sources.kubernetes.conftest import OpenCluster
from tests.sources.kubernetes.tls import certificate

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PATH = "/api/v1/namespaces/shop/configmaps"


@pytest.fixture
def api() -> Iterator[Api]:
    with Api({PATH: [config_map(f"map-{number}", n=str(number)) for number in range(5)]}) as serving:
        yield serving


@pytest.fixture
def cluster(api: Api, tmp_path: Path, open_cluster: OpenCluster) -> Cluster:
    return open_cluster(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}, patience_s=3)


def names(cluster: Cluster) -> list[str]:
    return [item["metadata"]["name"] for page in cluster.pages(CONFIG_MAPS, "shop") for item in page]


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        (CONFIG_MAPS, "shop", "", PATH),
        (CONFIG_MAPS, None, "", "/api/v1/configmaps"),
        (DEPLOYMENTS, "shop", "web", "/apis/apps/v1/namespaces/shop/deployments/web"),
        (NODES, "shop", "a/b", "/api/v1/nodes/a%2Fb"),
    ],
)
def test_a_resource_knows_its_path(resource: Resource, namespace: str | None, name: str, path: str) -> None:
    assert resource.path(namespace, name) == path


def test_a_listing_comes_page_by_page_and_each_object_says_what_it_is(api: Api, cluster: Cluster) -> None:
    pages = list(cluster.pages(CONFIG_MAPS, "shop"))

    assert [len(page) for page in pages] == [2, 2, 1]
    assert pages[0][0]["kind"] == "ConfigMap"
    assert pages[0][0]["apiVersion"] == "v1"
    assert all("limit=500" in asked for asked in api.asked)


def test_a_listing_whose_rest_expired_begins_anew_and_brings_nothing_twice(
    api: Api, cluster: Cluster
) -> None:
    api.expire_tokens = 1

    assert names(cluster) == [f"map-{number}" for number in range(5)]
    assert len([asked for asked in api.asked if "continue" not in asked]) == 2


def test_an_object_that_was_made_anew_while_a_listing_began_anew_comes_once(
    api: Api, cluster: Cluster
) -> None:
    pages = cluster.pages(CONFIG_MAPS, "shop")
    found = [item["metadata"]["name"] for item in next(pages)]
    api.collections[PATH][0]["metadata"]["uid"] = "another"
    api.expire_tokens = 1

    found += [item["metadata"]["name"] for page in pages for item in page]
    assert found == [f"map-{number}" for number in range(5)]


def test_a_busy_server_is_asked_again_when_it_says(api: Api, cluster: Cluster) -> None:
    api.tell(429, {"Retry-After": "1"})
    begun = time.monotonic()

    assert len(names(cluster)) == 5
    assert time.monotonic() - begun >= 1


def test_a_server_that_stays_busy_is_a_temporary_failure_with_its_own_words(
    api: Api, cluster: Cluster
) -> None:
    for _ in range(9):
        api.tell(503, message="etcd is slow")

    with pytest.raises(TemporaryFailure, match="etcd is slow"):
        names(cluster)


def test_a_server_that_comes_back_is_waited_for(api: Api, tmp_path: Path, open_cluster: OpenCluster) -> None:
    environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
    api.tell(500)
    api.tell(502)

    assert len(names(open_cluster("here", environment, patience_s=5))) == 5


def test_no_connection_outlives_the_context_or_the_credentials(api: Api, tmp_path: Path) -> None:
    with Cluster.open(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}, patience_s=3) as cluster:
        first = cluster._transport._api  # type: ignore[attr-defined]  # else the collector ends what it holds
        assert len(names(cluster)) == 5
        assert not api.is_left(0.1)
        api.tell(401)  # the credentials are read again
        assert len(names(cluster)) == 5
        assert first is not cluster._transport._api  # type: ignore[attr-defined]

    assert api.is_left(5)
    assert len(names(cluster)) == 5  # whoever asks again is answered
    cluster.close()


def test_nobody_there_is_a_temporary_failure_that_names_the_address(
    tmp_path: Path, open_cluster: OpenCluster
) -> None:
    with Api({}) as gone:
        file = gone.kubeconfig(tmp_path)
    with pytest.raises(TemporaryFailure, match=gone.url):
        open_cluster(None, {"KUBECONFIG": str(file)}, patience_s=1).version()


def test_who_is_asked_to_end_waits_no_longer(api: Api, tmp_path: Path, open_cluster: OpenCluster) -> None:
    ending = threading.Event()
    ending.set()
    api.tell(503)
    environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}

    begun = time.monotonic()
    with pytest.raises(TemporaryFailure):
        open_cluster(None, environment, ending=ending).version()
    assert time.monotonic() - begun < 5


def test_what_is_forbidden_is_said_with_what_was_tried(api: Api, cluster: Cluster) -> None:
    for _ in range(2):  # for the first may be that of a server that starts
        api.tell(403, message='User "x" cannot list resource "configmaps"')

    with pytest.raises(Forbidden, match='not allowed to list configmaps in namespace shop: User "x"') as told:
        names(cluster)
    assert "drtool doctor --rbac" in told.value.hint


def test_what_a_starting_server_forbids_is_asked_again_once_it_is_ready(api: Api, cluster: Cluster) -> None:
    api.starting = 2
    api.tell(403, message="RBAC: no rights were read yet")

    assert len(names(cluster)) == 5
    assert api.starting == 0


def test_a_server_that_was_long_in_coming_may_still_take_a_while_to_read_its_rights(
    api: Api, tmp_path: Path, open_cluster: OpenCluster
) -> None:
    cluster = open_cluster(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}, patience_s=60)
    api.starting, api.denying = int(READY_S * 2) + 2, 3  # it is asked twice a second
    api.tell(403)

    assert len(names(cluster)) == 5
    assert api.denying == 0


def test_a_server_that_starts_again_later_is_waited_for_again(api: Api, cluster: Cluster) -> None:
    api.tell(403)
    assert len(names(cluster)) == 5  # it is known to be ready by now
    api.tell(503)
    api.tell(403)
    api.starting = 1

    assert len(names(cluster)) == 5
    assert api.starting == 0


def test_who_may_not_ask_whether_it_is_ready_believes_what_is_said(api: Api, cluster: Cluster) -> None:
    api.readiness = 403
    api.forbidden.add(PATH)
    begun = time.monotonic()

    for _ in range(2):
        with pytest.raises(Forbidden):
            names(cluster)
    assert 2 < time.monotonic() - begun < 5  # once, within the cluster's patience
    assert len(api.asked) == 3


def test_a_token_that_was_renewed_is_read_again(api: Api, tmp_path: Path, open_cluster: OpenCluster) -> None:
    cluster = open_cluster(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}, patience_s=1)
    api.kubeconfig(tmp_path, token="second")
    api.tell(401)

    assert len(names(cluster)) == 5
    assert [token.split()[-1] for token in api.tokens[:2]] == ["first", "second"]


def test_a_token_that_stays_refused_is_said_plainly(api: Api, cluster: Cluster) -> None:
    api.tell(401, message="Unauthorized")
    api.tell(401, message="Unauthorized")

    with pytest.raises(Unauthorized, match="does not take our credentials"):
        names(cluster)


def test_an_object_that_is_not_there_is_none(cluster: Cluster) -> None:
    assert cluster.get(CONFIG_MAPS, "shop", "map-9") is None
    found = cluster.get(CONFIG_MAPS, "shop", "map-3")
    assert found is not None
    assert found["data"] == {"n": "3"}


def test_what_is_refused_for_good_is_not_tried_again(api: Api, cluster: Cluster) -> None:
    api.tell(422, message="name is too long")

    with pytest.raises(SourceUnavailable, match="refuses to create configmaps: name is too long"):
        cluster.create(CONFIG_MAPS, "shop", config_map("new"))
    assert len(api.asked) == 1


def test_what_does_not_fit_the_schema_is_refused_at_once_though_the_server_calls_it_its_own_failure(
    api: Api, cluster: Cluster
) -> None:
    misfit = "failed to create typed patch object (shop/new; /v1, Kind=ConfigMap): .odd: field not declared in schema"
    api.tell(500, message=misfit)

    with pytest.raises(
        SourceUnavailable, match=r"refuses to apply configmaps new: .*\.odd: field not declared"
    ):
        apply(cluster, CONFIG_MAPS, config_map("new"), "drtool")
    assert len(api.asked) == 1


@pytest.mark.parametrize("code", [200, 403, 404, 409, 422])
def test_what_is_only_tried_is_told_as_the_server_says_it(api: Api, cluster: Cluster, code: int) -> None:
    for _ in range(2):  # who is forbidden asks once more
        api.tell(code, message="so it is")

    answer = try_apply(cluster, CONFIG_MAPS, config_map("new"), "drtool")

    assert (answer.status, answer.said) == (code, "so it is")
    query = "fieldManager=drtool&fieldValidation=Strict&force=true&dryRun=All"
    assert api.asked[0] == f"PATCH {PATH}/new?{query}"


def test_who_is_not_known_cannot_try_anything(api: Api, cluster: Cluster) -> None:
    for _ in range(2):
        api.tell(401)

    with pytest.raises(Unauthorized):
        try_apply(cluster, CONFIG_MAPS, config_map("new"), "drtool")


def test_what_may_be_done_is_asked_of_the_server(api: Api, cluster: Cluster) -> None:
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    api.answers[reviews] = {"status": {"allowed": True}}
    assert cluster.may("list", DEPLOYMENTS, "shop")
    assert api.created[0]["spec"]["resourceAttributes"] == {
        "verb": "list",
        "group": "apps",
        "resource": "deployments",
        "name": "",
        "namespace": "shop",
    }

    api.answers[reviews] = {"status": {"allowed": False}}
    assert not cluster.may("get", NODES, None)


def test_every_kind_is_found_once_in_the_version_that_is_preferred(api: Api, cluster: Cluster) -> None:
    def kinds(*named: str) -> dict[str, object]:
        return {
            "resources": [
                {"name": each, "kind": each.title(), "namespaced": True, "verbs": ["list"]} for each in named
            ]
        }

    versions = [{"version": "v1beta1"}, {"version": "v1"}]
    api.answers |= {
        "/version": {"gitVersion": "v1.34.4"},
        "/api/v1": kinds("pods", "pods/log"),
        "/apis": {
            "groups": [
                {"name": "apps", "preferredVersion": {"version": "v1"}, "versions": versions},
                {
                    "name": "metrics.k8s.io",
                    "preferredVersion": {"version": "v1"},
                    "versions": [{"version": "v1"}],
                },
            ]
        },
        "/apis/apps/v1": kinds("deployments"),
        "/apis/apps/v1beta1": kinds("deployments", "relics"),
    }  # nobody answers for metrics.k8s.io

    assert cluster.version() == "v1.34.4"
    assert [(each.name, each.api_version) for each in cluster.resources()] == [
        ("deployments.apps", "apps/v1"),
        ("pods", "v1"),
        ("relics.apps", "apps/v1beta1"),
    ]


def test_what_is_no_api_server_is_named(api: Api, cluster: Cluster) -> None:
    api.answers["/version"] = {"raw": "<html>"}
    with pytest.raises(SourceUnavailable, match=f"{api.url} does not answer like an API server"):
        cluster.version()


@pytest.mark.parametrize("content", ["", "{}", "not: [yaml"])
def test_a_kubeconfig_without_a_cluster_is_wrong_usage(
    content: str, tmp_path: Path, open_cluster: OpenCluster
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)

    with pytest.raises(UsageError, match="no cluster is configured"):
        open_cluster(None, {"KUBECONFIG": str(file)})


def test_a_context_that_is_not_there_is_wrong_usage(
    api: Api, tmp_path: Path, open_cluster: OpenCluster
) -> None:
    with pytest.raises(UsageError, match="no cluster is configured"):
        open_cluster("elsewhere", {"KUBECONFIG": str(api.kubeconfig(tmp_path))})


def test_in_a_pod_without_a_token_the_missing_service_account_is_named(open_cluster: OpenCluster) -> None:
    with pytest.raises(UsageError, match="no cluster is configured"):
        open_cluster(
            None, {**os.environ, "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        )


def test_a_listing_that_expires_again_and_again_without_anything_new_ends(api: Api, cluster: Cluster) -> None:
    api.expire_tokens = 9

    with pytest.raises(TemporaryFailure, match="cannot list configmaps in namespace shop"):
        names(cluster)


def test_a_page_knows_as_of_which_version_it_is(cluster: Cluster) -> None:
    assert {page.version for page in cluster.pages(CONFIG_MAPS, "shop")} == {"7"}


def test_pages_that_are_too_long_for_memory_are_asked_for_in_smaller_ones(api: Api, cluster: Cluster) -> None:
    api.page = 500
    api.collections[PATH] = [config_map(f"map-{number}", n="x" * (LONGEST // 10)) for number in range(23)]

    assert names(cluster) == [f"map-{number}" for number in range(23)]
    assert max(len(page) for page in cluster.pages(CONFIG_MAPS, "shop")) == 500 // 64


def test_one_object_that_is_too_long_is_refused(api: Api, cluster: Cluster) -> None:
    api.collections[PATH] = [config_map("map", n="x" * LONGEST)]

    with pytest.raises(TooLarge, match="longer than 8 MiB") as told:
        names(cluster)
    assert "`exclude`" in told.value.hint


def test_a_kind_that_is_not_there_is_absent(cluster: Cluster) -> None:
    with pytest.raises(Absent, match=r"cannot list deployments\.apps in namespace shop"):
        list(cluster.pages(DEPLOYMENTS, "shop"))


def test_a_short_outage_hides_no_kind(api: Api, cluster: Cluster) -> None:
    api.answers |= {
        "/apis": {"groups": []},
        "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list"]}]},
    }
    api.patience = 1
    api.away.add("/api/v1")
    threading.Timer(0.5, api.away.clear).start()

    assert [each.name for each in cluster.resources()] == ["pods"]
    assert cluster.unserved == []


def test_a_server_that_does_not_prove_who_it_is_is_refused_at_once(
    tmp_path: Path, open_cluster: OpenCluster
) -> None:
    with Api({}, tls=certificate(tmp_path)) as stranger:
        begun = time.monotonic()
        with pytest.raises(SourceUnavailable, match="does not prove who it is"):
            open_cluster(None, {"KUBECONFIG": str(stranger.kubeconfig(tmp_path))}).version()
    assert time.monotonic() - begun < 30


def test_a_port_that_speaks_no_tls_is_refused_at_once(
    api: Api, tmp_path: Path, open_cluster: OpenCluster
) -> None:
    file = write_kubeconfig(tmp_path, api.url.replace("http://", "https://"))

    with pytest.raises(SourceUnavailable, match="does not prove who it is"):
        open_cluster(None, {"KUBECONFIG": str(file)}).version()


def test_a_handshake_that_breaks_off_is_tried_again(tmp_path: Path, open_cluster: OpenCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, args=(server,), daemon=True).start()
        file = write_kubeconfig(tmp_path, f"https://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(TemporaryFailure, match="does not answer as it should"):
            open_cluster(None, {"KUBECONFIG": str(file)}, patience_s=1).version()


def hang_up(server: socket.socket) -> None:
    """Accept connections and close them at once, until the server is closed."""
    with suppress(OSError):
        while True:
            server.accept()[0].close()


def test_a_cluster_is_known_by_the_ca_that_it_is_believed_by(
    tmp_path: Path, open_cluster: OpenCluster
) -> None:
    """One as `openssl x509 -fingerprint -sha256` has it; two together are a third, whichever comes first."""

    def known(*files: Path) -> str:
        authority = tmp_path / "ca.pem"
        authority.write_text("".join(file.read_text() for file in files))
        where = write_kubeconfig(tmp_path, "https://127.0.0.1:1", authority=authority if files else None)
        return open_cluster(None, {"KUBECONFIG": str(where)}).authority

    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (certificate(folder) for folder in folders)
    read = [
        x509.load_pem_x509_certificate(each.read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2])
        for each in (one, two)
    ]

    assert [known(one), known(two)] == [each.fingerprint(hashes.SHA256()).hex() for each in read]
    assert known(one, two) == known(two, one) not in (known(one), known(two), "")
    assert known() == ""


def test_a_log_in_which_nothing_is_written_yet_is_empty(api: Api, cluster: Cluster) -> None:
    log = "/api/v1/namespaces/shop/pods/it/log"
    api.answers[log] = {"raw": "line"}
    assert cluster.text(log, "read the log of it") == "line"
    for code in (204, 400, 404):
        api.tell(code)
        assert cluster.text(log, "read the log of it") == ""
    api.tell(403)
    api.tell(403)
    with pytest.raises(Forbidden, match="not allowed to read the log of it"):
        cluster.text(log, "read the log of it")


def test_who_is_fenced_asks_before_each_change_and_changes_nothing_after_a_no(
    api: Api, cluster: Cluster
) -> None:
    asked: list[str] = []

    def assure() -> None:
        asked.append("asked")
        if len(asked) > 1:
            raise TemporaryFailure("not any more")

    fenced = cluster.fenced(assure)
    assert fenced.get(CONFIG_MAPS, "shop", "map-1")
    assert asked == []
    fenced.create(CONFIG_MAPS, "shop", config_map("y"))
    assert asked == ["asked"]
    before = list(api.asked)
    with pytest.raises(TemporaryFailure, match="not any more"):
        fenced.create(CONFIG_MAPS, "shop", config_map("z"))
    with pytest.raises(TemporaryFailure, match="not any more"):
        fenced.stream("/api/v1/namespaces/shop/pods/x/exec", "look")
    assert api.asked == before
