"""A shop that was captured: its cluster, and its repository."""

from base64 import b64encode
from pathlib import Path

from drtool.repository.storage.settings import S3Settings
from tests.scenarios.commands import Commands, s3_keys, s3_repository
from tests.scenarios.targets import put
from tests.sources.kubernetes.api import Api
from tests.sources.kubernetes.shop import at, item, shop

SECRET = b64encode(b"a telling content").decode()
CLAIMS = at("persistentvolumeclaims")
WIDGET = {
    "spec": {
        "group": "example.com",
        "names": {"kind": "Widget"},
        "versions": [{"name": "v1", "served": True}],
    }
}


def captured() -> Api:
    """Return the captured cluster: the shop, with what makes a way back interesting."""
    api = shop()
    put(api, at("secrets"), item("password", type="Opaque", data={"password": SECRET}))
    definitions = at("customresourcedefinitions", "apiextensions.k8s.io", namespaced=False)
    api.collections[definitions][0] |= WIDGET
    requests = {"resources": {"requests": {"storage": "1Gi"}}}
    put(api, CLAIMS, item("media", spec={"storageClassName": "fast", "volumeName": "pv-1", **requests}))
    pod = {"containers": [{"name": "web", "image": "web:1"}]}
    put(api, at("deployments", "apps"), item("web", spec={"replicas": 2, "template": {"spec": pod}}))
    put(api, at("widgets", "example.com"), item("gear", spec={"odd": True}))
    for path, objects in api.collections.items():
        for each in objects if "/namespaces/" not in path else ():
            each["metadata"].pop("namespace", None)
    return api


def shop_kept(folder: Path, *songs: str, s3: S3Settings | None = None) -> Commands:
    """Back up the objects of a shop and its files, once with each song more; return what has its keys.

    Its repository is a directory of folder, or at s3.
    """
    for name in ("repository", "media"):
        (folder / name).mkdir()
    policy = {
        "version": 1,
        "name": "shop",
        "repository": s3_repository(s3) if s3 else {"url": f"file://{folder}/repository"},
        "objectives": {"rpo": "15m", "rto": "1h"},
        "kubernetes": {"namespace": "shop"},
        "volumes": [
            {"name": "media", "source": "files", "claim": "media"},
            {"name": "objects", "source": "manifests"},
        ],
    }
    with captured() as api:
        environment = {"KUBECONFIG": str(api.kubeconfig(folder)), "DRTOOL_CLAIMS": str(folder), **s3_keys(s3)}
        drtool = Commands(folder / "commands", policy, environment).written()
        drtool.init()
        for song in songs:
            (folder / "media" / song).write_bytes(b"la" * 1000)
            drtool("backup")
    return drtool
