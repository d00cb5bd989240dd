"""A namespace that was captured, and the cluster of the tests that it comes back into, from the command line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from drtool.cli.main import drtool as command
from tests.scenarios.commands import Commands, Said
from tests.scenarios.shop_kept import captured
from tests.scenarios.targets import empty
from tests.sources.kubernetes.api import Api, Json
from tests.sources.kubernetes.living import Living
from tests.sources.kubernetes.shop import at

UID = "uid-of-new"


@dataclass(frozen=True)
class Way:
    """A captured system, and the cluster that it comes back into."""

    target: Living
    drtool: Commands
    kubeconfig: str
    state: Path

    def __call__(self, *arguments: object, code: int = 0, text: bool = False) -> Said:
        """Restore the objects, and nothing else, with the kit alone."""
        url = self.drtool.content["repository"]["url"]
        environment = {
            "DRTOOL_POLICY": None,
            "DRTOOL_BUNDLE": None,
            "KUBECONFIG": self.kubeconfig,
            "DRTOOL_RECOVERY_KEY_FILE": str(self.drtool.kit),
            "XDG_STATE_HOME": str(self.state),
        }
        given = [
            "restore",
            "--to-cluster",
            "here",
            "--repository",
            url,
            *arguments,
            *([] if text else ["--json"]),
        ]
        found = CliRunner().invoke(command, [*map(str, given)], prog_name="drtool", env=environment)
        said = Said(found.exit_code, found.stdout, found.stderr)
        assert said.code == code, f"{said.code}\n{said.out}\n{said.err}"
        assert "Traceback" not in said.err
        assert "a telling content" not in said.out + said.err
        return said

    def whole(self, *arguments: object, code: int = 0) -> Said:
        """Restore all of the system, with a new writer in the end."""
        return self("--image", "drtool:1", "--confirm-target", UID, *arguments, code=code)

    @property
    def enrols(self) -> tuple[object, ...]:
        """What a new writer is enrolled with: this repository is logged in to with nothing."""
        secrets = self.state.parent / "secrets"
        secrets.mkdir(exist_ok=True)
        kit = self.drtool.kit
        return "--admin-key-file", kit.with_name(f"{kit.name}.admin"), "--writer-secrets", secrets

    def restore(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        given = ("objects", "--image", "drtool:1", "--confirm-target", UID, *arguments)
        return dict(self(*given, code=code).value)

    def objects(self) -> dict[str, Json]:
        """Return everything in the cluster that is not of the server's own making."""
        hidden = ("resourceVersion", "uid", "generation", "creationTimestamp", "managedFields")
        return {
            f"{path}/{each['metadata']['name']}": {
                **{key: value for key, value in each.items() if key not in ("status", "metadata")},
                "metadata": {key: value for key, value in each["metadata"].items() if key not in hidden},
            }
            for path, items in self.target.collections.items()
            for each in items
            if "/leases" not in path
        }


@contextmanager
def shop_lost(
    folder: Path, plant: Callable[[Api], None] = lambda _api: None, tls: Path | None = None, **policy: object
) -> Iterator[Way]:
    """Capture the objects of a shop, and give a new cluster for them.

    plant gets the cluster that is captured before it is; policy is what its policy says besides. tls is what the new
    one speaks TLS with, if it does.
    """
    (folder / "repository").mkdir()
    content = {
        "version": 1,
        "name": "shop",
        "repository": {
            "url": f"file://{folder}/repository",
            "writer": {"secret": "drtool-writer", "key": "bundle"},
        },
        "objectives": {"rpo": "15m", "rto": "1h"},
        "kubernetes": {"namespace": "shop"},
        "volumes": [{"name": "objects", "source": "manifests"}],
        **policy,
    }
    with captured() as api:
        plant(api)
        environment = {"KUBECONFIG": str(api.kubeconfig(folder))}
        drtool = Commands(folder / "commands", content, environment).written()
        drtool.init()
        drtool("backup")
    with empty() as nothing, Living(nothing.collections, nothing.answers, tls) as target:
        for path in (at("jobs", "batch"), at("networkpolicies", "networking.k8s.io")):
            target.collections.setdefault(path, [])
        (folder / "new").mkdir()
        yield Way(target, drtool, str(target.kubeconfig(folder / "new")), folder / "state")
