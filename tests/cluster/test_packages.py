import subprocess
from pathlib import Path

import pytest

from tests.cluster.packages import DEBIAN_PACKAGES, Missing, find_compiler, find_go


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of nothing but a folder of the test's own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.cluster.packages.GO_FOLDER", str(tmp_path))
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_root_the_missing_packages_are_named_with_the_command(path: Path) -> None:
    program(path / "id", "echo 1000")
    program(path / "etcd", "exit 1")

    done = subprocess.run(
        ["/bin/bash", DEBIAN_PACKAGES, "cluster"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "apt-get install" in done.stderr
    assert " containerd " in done.stderr
    assert "etcd" not in done.stderr


def test_a_set_of_packages_that_is_not_there_is_refused() -> None:
    done = subprocess.run([DEBIAN_PACKAGES, "cloud"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.parametrize("version", ["go1.21", "go1.26.8", "devel go1.27-3b9f1e2"])
def test_a_go_that_can_fetch_its_successors_is_taken(version: str, path: Path) -> None:
    program(path / "go", f"echo {version}")

    assert find_go() == str(path / "go")


def test_a_go_that_is_too_old_is_named_with_the_one_that_is_needed(path: Path) -> None:
    program(path / "go", "echo go1.19.8")

    with pytest.raises(Missing, match=r"Go 1\.19") as missing:
        find_go()

    assert "Go 1.21 or later" in missing.value.hint


@pytest.mark.parametrize("find", [find_go, find_compiler])
def test_a_compiler_that_is_not_there_is_named(path: Path, find: object) -> None:
    assert callable(find)

    with pytest.raises(Missing):
        find()
