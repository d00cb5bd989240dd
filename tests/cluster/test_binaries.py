"""Everything about the lab's programs but the building, which takes minutes: a stand-in plays Go."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from drtool.errors import UsageError
from tests.cluster import binaries
from tests.cluster.binaries import MODULES, binary, names
from tests.cluster.cache import BuildFailed, cache_root

GO = """#!/bin/sh
here=${0%/*}
case $1 in
  env) echo go1.26.0 ;;
  version) cat "$here/version" ;;
  build)
    echo "$@" >>"$here/builds"
    while [ "$1" != -o ]; do shift; done
    folder=$2; shift 2
    for package; do echo "$package" >"$folder/${package##*/}"; done
    [ ! -e "$here/fault" ] || { cat "$here/fault" >&2; exit 1; } ;;
esac
"""


class StandIn:
    """A Go that writes the name of a package in place of its program. source is a copy of what it builds from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.source = folder / "cluster"
        shutil.copytree(binaries.HERE / "go", self.source / "go")
        self.folder.mkdir()
        (self.folder / "go").write_text(GO)
        (self.folder / "go").chmod(0o755)
        self.be("go version go1.26.0 linux/amd64")

    def be(self, version: str) -> None:
        (self.folder / "version").write_text(version)

    def fail(self, saying: str) -> None:
        (self.folder / "fault").write_text(saying)

    @property
    def builds(self) -> list[str]:
        log = self.folder / "builds"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    go = StandIn(tmp_path)
    monkeypatch.setenv("PATH", str(go.folder), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(binaries, "HERE", go.source)
    return go


def test_the_programs_of_a_module_are_built_together_and_once(go: StandIn) -> None:
    kubelet, proxy = binary("kubelet"), binary("kube-proxy")

    assert kubelet.read_text() == "k8s.io/kubernetes/cmd/kubelet\n"
    assert (kubelet.name, proxy.name) == ("kubelet", "kube-proxy")
    assert binary("kubelet") == kubelet
    assert len(go.builds) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda go: (go.source / "go/coredns/go.mod").write_text("module other\n"),
        lambda go: (go.source / "go/coredns/go.sum").write_text("other\n"),
        lambda go: setattr(binaries, "GO_FLAGS", ("-race",)),
        lambda go: go.be("go version go1.26.1 linux/amd64"),
    ],
    ids=["go.mod", "go.sum", "flags", "Go"],
)
def test_a_program_is_built_anew_when_what_it_is_made_from_changes(
    change: Callable[[StandIn], None], go: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "GO_FLAGS", binaries.GO_FLAGS)
    before = binary("coredns")

    change(go)

    assert binary("coredns") != before
    assert len(go.builds) == 2


def test_another_module_s_change_builds_nothing(go: StandIn) -> None:
    before = binary("coredns")

    (go.source / "go/minio/go.mod").write_text("module other\n")

    assert binary("coredns") == before


def test_a_failed_build_leaves_no_program_and_says_what_the_compiler_said(go: StandIn) -> None:
    go.fail("main.go:1:1: no such thing")

    with pytest.raises(BuildFailed, match="no such thing"):
        binary("minio")

    assert list((cache_root() / "bin").glob("minio-*")) == []


def test_a_program_that_is_not_the_lab_s_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError) as refused:
        binary("kubeadm")

    assert "kubelet" in refused.value.hint
    assert "pause" in refused.value.hint


def test_every_program_has_one_name_and_a_module_that_requires_it() -> None:
    assert len(set(names())) == len(names())
    for module in MODULES:
        folder = binaries.HERE / "go" / module
        commands = re.findall(r'_ "(.+)"', (folder / "tools.go").read_text())
        required = re.findall(
            r"^(?:require |\t)(\S+) v\S+$", (folder / "go.mod").read_text(), flags=re.MULTILINE
        )
        assert commands
        assert all(any(command.startswith(path) for path in required) for command in commands)


def test_kubernetes_is_told_the_version_that_is_required(go: StandIn) -> None:
    version = re.search(r"k8s\.io/kubernetes (\S+)", (go.source / "go/kubernetes/go.mod").read_text())
    assert version

    binary("kubelet")

    assert f"component-base/version.gitVersion={version[1]} " in go.builds[0]
