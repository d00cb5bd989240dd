"""The pod that tries an image: no rights, no token, and no program of the image but its shell and servers."""

import subprocess
from pathlib import Path

from drtool.deploy.image_probe import image_probe


def test_it_is_a_restricted_pod_that_can_do_nothing() -> None:
    placed = {"nodeSelector": {"kubernetes.io/arch": "arm64"}}
    pod = image_probe({"name": "image-0"}, "app:1", pull="Always", secrets=["registry"], placed=placed)
    spec = pod["spec"]
    [container] = spec["containers"]

    assert spec["nodeSelector"] == placed["nodeSelector"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert not spec["automountServiceAccountToken"]
    assert "volumes" not in spec
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (container["image"], container["imagePullPolicy"]) == ("app:1", "Always")


def told(folder: Path, **programs: str) -> str:
    """Run what the container runs, where only these programs are to be found; return its last words."""
    (folder / "bin").mkdir()
    for name, said in programs.items():
        program = folder / "bin" / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\necho {said} $1\n")
        program.chmod(0o755)
    pod = image_probe({}, "app:1", pull="Always", secrets=[], placed={})
    shell, flag, script = pod["spec"]["containers"][0]["command"]
    mine = script.replace("/dev/termination-log", str(folder / "log"))
    done = subprocess.run(
        [shell, flag, mine], env={"PATH": str(folder / "bin")}, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    return (folder / "log").read_text()


def test_its_last_words_are_the_versions_of_the_servers_in_the_image(tmp_path: Path) -> None:
    found = told(tmp_path, postgres="postgres", redis_server="Redis", valkey_server="Valkey")

    assert found == "postgres --version\nRedis --version\n"


def test_an_image_without_a_server_ends_well(tmp_path: Path) -> None:
    assert not [each for each in told(tmp_path).splitlines() if "PostgreSQL" not in each]
