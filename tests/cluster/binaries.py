"""The programs of the lab that no package holds: Kubernetes and its companions, built from Go modules; `pause`, from C.

binary("kubelet") is the path of a kubelet. Where the cache has none, its whole module is built: its programs share
most of their code. A folder below go/ is a module that requires what we want, with the replacements that its author
uses, for `go install` refuses a module that has any; its tools.go names the commands. What Go itself downloads and
compiles stays in its own caches (`go clean -cache -modcache` empties them).
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from drtool.errors import UsageError
from tests.cluster.cache import BuildFailed, cached, key
from tests.cluster.packages import find_compiler, find_go

HERE = Path(__file__).parent
MODULES = ("kubernetes", "minio", "coredns", "local-path-provisioner", "traefik")

AT_ONCE = min(
    os.cpu_count() or 1, 4
)  # each link of one of Kubernetes' programs takes more than a gigabyte of memory
LONGEST_S = 1_800  # Kubernetes takes 4 minutes on two idle cores, 7 on busy ones
SAID = 3_000  # characters of what a compiler said that an error shows

GO_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
# Compilers that seldom collect garbage: a tenth less of their time, for some hundred megabytes more.
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOGC": "800"}
C_FLAGS = ("-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror")


def names() -> list[str]:
    """Return the programs that there are."""
    return [*(command for module in MODULES for command in _commands(module)), "pause"]


def binary(name: str) -> Path:
    """Return the path of the program called name, built first if need be.

    Raises UsageError for a name that is not in names(), Missing where there is no Go or no C compiler, BuildFailed.
    """
    if name == "pause":
        return _pause() / name
    for module in MODULES:
        if name in _commands(module):
            return _module(module) / name
    raise UsageError(f"the lab has no program {name}", hint=f"It has {', '.join(names())}.")


def build_all() -> None:
    """Build what the cache lacks: all of it takes 12 to 17 minutes on two cores, and 14 GB in Go's own caches."""
    for module in MODULES:
        _module(module)
    _pause()


def _module(module: str) -> Path:
    """Return the folder of a module's programs."""
    source = HERE / "go" / module
    go = find_go()
    flags = [*GO_FLAGS, f"-ldflags={_link_flags(module)}"]
    version = _run([go, "version"], source)  # of the Go that go.mod asks for, fetched if this one is older
    files = [path.read_bytes() for path in sorted(source.iterdir())]

    def make(folder: Path) -> None:
        _say(f"building {', '.join(_commands(module))}")
        began = time.monotonic()
        folder.mkdir()
        _run([go, "build", f"-p={AT_ONCE}", *flags, "-o", folder, *_packages(module)], source)
        _say(f"built them in {time.monotonic() - began:.0f} s")

    return cached("bin", module, key(version, *flags, *files), make)


def _pause() -> Path:
    """Return the folder of the program that every pod begins with."""
    source = HERE / "pause.c"
    compiler = find_compiler()
    version = _run([compiler, "--version"], HERE)

    def make(folder: Path) -> None:
        folder.mkdir()
        _run([compiler, *C_FLAGS, "-o", folder / "pause", source], HERE)

    return cached("bin", "pause", key(version, *C_FLAGS, source.read_bytes()), make)


def _commands(module: str) -> list[str]:
    """Return the names of a module's programs: Go takes the last part of their import paths."""
    return [path.rpartition("/")[2] for path in _packages(module)]


def _packages(module: str) -> list[str]:
    return re.findall(r'^\t_ "(.+)"$', (HERE / "go" / module / "tools.go").read_text(), flags=re.MULTILINE)


def _link_flags(module: str) -> str:
    """Return flags without symbols; Kubernetes is told its version too, for it calls itself v0.0.0 otherwise."""
    flags = ["-s", "-w"]
    required = re.search(
        r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", (HERE / "go" / module / "go.mod").read_text()
    )
    if required:
        for variable, value in zip(("gitVersion", "gitMajor", "gitMinor"), required.groups(), strict=True):
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
                flags.append(f"-X={package}.{variable}={value}")
    return " ".join(flags)


def _run(argv: Sequence[str | Path], directory: Path) -> str:
    """Return what a compiler prints. Raises BuildFailed, with what it said, if it fails or takes too long."""
    environment = {"GOTOOLCHAIN": "auto", **os.environ, **GO_ENVIRONMENT}
    program = Path(argv[0]).name
    hint = "Try it by hand in that folder; `go env GOPROXY` says where Go takes modules from."
    try:
        done = subprocess.run(
            argv,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as fault:
        raise BuildFailed(f"{program} in {directory} took longer than {LONGEST_S} s", hint=hint) from fault
    if done.returncode:
        raise BuildFailed(f"{program} failed in {directory}: …{done.stderr[-SAID:].strip()}", hint=hint)
    return done.stdout


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
