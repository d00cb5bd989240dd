"""A folder rendered by kubectl: what it is asked, with which environment, and what becomes of what it says."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.errors import Refused
from drtool.operations import kustomize
from drtool.operations.kustomize import render
from drtool.operations.session import Silent, World

SCOPES = {("", "Namespace"): False, ("", "Service"): True}
SERVICE = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "annotations": {}%s}}'
NAMESPACE = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}'
GEAR = (
    '{"apiVersion": "example.com/v1", "kind": "Gear", "metadata": {"name": "g", "annotations": {"a": "b"}}}'
)


def kubectl(folder: Path, script: str) -> World:
    """Return a world whose kubectl is a script."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    secrets = {"AWS_SECRET_ACCESS_KEY": "hidden", "KUBECONFIG": "/etc/admin"}
    environment = {"PATH": f"{folder}:{os.defpath}", "HOME": "/home/me", **secrets}
    return World(lambda: datetime.now(UTC), environment, Silent(), threading.Event())


def test_objects_are_read_as_kubectl_reads_them_and_get_the_namespace_that_they_leave_out(
    tmp_path: Path,
) -> None:
    world = kubectl(tmp_path, f"""echo '{NAMESPACE}'; echo; echo '{SERVICE % ""}'; echo '{GEAR}'""")
    namespace, service, gear = render(str(tmp_path), "shop", SCOPES, world)
    assert namespace["metadata"] == {"name": "shop"}
    assert service["metadata"] == {"name": "web", "namespace": "shop"}
    assert gear["metadata"] == {"name": "g", "namespace": "shop", "annotations": {"a": "b"}}


def test_kubectl_has_no_shell_no_cluster_and_no_credentials(tmp_path: Path) -> None:
    told = tmp_path / "told"
    world = kubectl(tmp_path, f'printf "%s\\n" "$@" >"{told}"; env >>"{told}"')
    folder = tmp_path / "a b; $(c)"
    folder.mkdir()
    assert render(str(folder), "shop", SCOPES, world) == []
    lines = told.read_text().splitlines()
    assert lines[:6] == [
        "annotate",
        "--local",
        "--output=json",
        "drtool.io/none-",
        "--kustomize",
        str(folder),
    ]
    assert "KUBECONFIG=/dev/null" in lines
    assert "HOME=/home/me" in lines
    assert not [line for line in lines if "hidden" in line]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'error: no such\n  folder' >&2; exit 1", "cannot be rendered: error: no such folder"),
        ("echo '{\"kind\"'", "is no JSON"),
        (
            f"""echo '{SERVICE % ', "namespace": "other"'}'""",
            "renders Service web into namespace other, and shop comes back",
        ),
        (
            """echo '{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "j-"}}'""",
            "renders a Job without a name",
        ),
        ("exec sleep 60", "was not rendered in 1 s"),
    ],
)
def test_what_cannot_be_rendered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(kustomize, "LIMIT_S", 0.5)
        why = why.replace("1 s", "0 s")
    with pytest.raises(Refused) as caught:
        render(str(tmp_path), "shop", SCOPES, kubectl(tmp_path, script))
    assert why in caught.value.message
    assert caught.value.hint.endswith(".")


def test_a_machine_without_kubectl_is_told_so(tmp_path: Path) -> None:
    world = World(lambda: datetime.now(UTC), {"PATH": str(tmp_path)}, Silent())
    with pytest.raises(Refused, match="no kubectl") as caught:
        render(str(tmp_path), "shop", SCOPES, world)
    assert "--as-captured" in caught.value.hint


def test_an_address_is_never_fetched(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"https://evil\.example/x, which is no folder here"):
        render("https://evil.example/x", "shop", SCOPES, kubectl(tmp_path, "echo '{}'"))
