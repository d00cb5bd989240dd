"""`python -m tests.cluster`: a real Kubernetes on this machine, inside of namespaces of its own."""

import argparse
import os
import secrets
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drtool.errors import DrtoolError, UsageError
from tests.cluster import binaries, guardian, images, machine, packages, side_by_side
from tests.cluster.addresses import ClusterAddresses
from tests.cluster.inside import ROOT, complain
from tests.cluster.lab import VARIABLE

PYTEST = (sys.executable, "-m", "pytest", "-p", "tests.plugins.no_skips")


def main(argv: list[str]) -> int:
    """Do what the command line says and return an exit code."""
    options, rest = _parser().parse_known_args(argv)
    try:
        return int(options.do(options, rest))
    except DrtoolError as failure:
        return complain(failure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring a cluster up, say how to reach it, and wait for Ctrl-C")
    up.add_argument("--clusters", default="a", help="which: a, or a,b")
    up.add_argument("--ready-file", type=Path, help="write the nsenter line there once the lab is up")
    up.set_defaults(do=_up)
    test = commands.add_parser("test", help="run the cluster tests in a new lab, or on KUBECONFIG's cluster")
    test.set_defaults(do=_test)
    run = commands.add_parser("run", help="run a command in a new lab: run -- COMMAND")
    run.set_defaults(do=_run)
    build = commands.add_parser("build", help="build what the cache lacks")
    build.set_defaults(do=_build)
    leftovers = commands.add_parser("down-leftovers", help="remove what crashed labs left")
    leftovers.set_defaults(do=_down_leftovers)
    return parser


def _up(options: argparse.Namespace, rest: list[str]) -> int:
    _take_no(rest)
    for name in options.clusters.split(","):
        ClusterAddresses(name)  # refuses what is none, before anything is started
    ready = ["--ready-file", str(options.ready_file.absolute())] if options.ready_file else []
    return _in_a_lab(f"--clusters={options.clusters}", *ready)


def _take_no(rest: list[str]) -> None:
    if rest:
        raise UsageError(f"{sys.argv[1]} takes no {rest[0]}")


def _test(options: argparse.Namespace, rest: list[str]) -> int:
    """Run pytest where there is a cluster: in the lab that we are in, or on KUBECONFIG's. Otherwise in a new lab."""
    which = [] if any((ROOT / each.split("::")[0]).exists() for each in rest) else ["tests/cluster"]
    kubeconfig = os.environ.get("KUBECONFIG")
    if os.environ.get(VARIABLE):
        return _pytest("cluster and not long", *which, *rest)
    if kubeconfig:
        if not Path(kubeconfig).is_file():
            raise UsageError(
                f"KUBECONFIG names no file: {kubeconfig}", hint="Name one kubeconfig, not a list."
            )
        print(f"using the cluster of {kubeconfig}; tests that need the lab are left out", flush=True)
        return _pytest("cluster and not lab and not long", *which, *rest)
    if which and not rest and (labs := side_by_side.labs_here(os.environ.get("LABS", "1"))) > 1:
        return _in_labs(labs)
    return _in_a_lab("--", *PYTEST, "-m", "cluster and not long", *which, *rest)


def _in_labs(labs: int) -> int:
    """Run all cluster tests in several labs at once."""
    _make_parts()  # once, and not by each
    files = [f"tests/cluster/{file.name}" for file in (ROOT / "tests/cluster").glob("test_*.py")]
    shares = side_by_side.shares_of(files, labs)
    return side_by_side.run_all([(sys.executable, "-m", "tests.cluster", "test", *each) for each in shares])


def _pytest(marked: str, *arguments: str) -> int:
    return subprocess.run([*PYTEST, "-m", marked, *arguments], cwd=ROOT, check=False).returncode


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    command = rest[1:] if rest[:1] == ["--"] else rest
    if not command:
        raise UsageError("run needs a command", hint="For example: run -- kubectl get nodes")
    return _in_a_lab("--", *command)


def _build(options: argparse.Namespace, rest: list[str]) -> int:
    _take_no(rest)
    _make_parts()
    return 0


def _down_leftovers(options: argparse.Namespace, rest: list[str]) -> int:
    _take_no(rest)
    machine.check_root()
    for lab in guardian.sweep_leftovers():
        print(f"removed {lab}")
    return 0


def _make_parts() -> None:
    """Install and build what the lab is made of, where it is not there; images, which wait for downloads, beside Go."""
    machine.check_root()
    packages.install()
    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(images.build_all)
        binaries.build_all()
        made.result()


def _in_a_lab(*arguments: str) -> int:
    """Make everything ready, and run tests.cluster.inside in a lab, under the eyes of a guardian."""
    if os.environ.get(VARIABLE):
        raise UsageError(
            "this is inside of a lab already", hint="Leave it, or use what is here: it has a second cluster."
        )
    machine.check_root()
    packages.install()
    machine.check()  # before anything is built, which takes long
    _make_parts()
    for lab in guardian.sweep_leftovers():
        print(f"removed what a crashed lab left: {lab}", file=sys.stderr)
    programs = {name: binaries.binary(name) for name in binaries.names()}
    lab = guardian.LABS / f"{guardian.PREFIX}{secrets.token_hex(3)}"
    lab.mkdir(mode=0o711)
    try:
        guardian.watch(lab)
        (lab / "bin").mkdir()
        for name, program in programs.items():
            (lab / "bin" / name).symlink_to(program)
        return _guarded(lab, sys.executable, "-m", "tests.cluster.inside", str(lab), *arguments)
    finally:
        guardian.sweep(lab)


def _guarded(lab: Path, *command: str) -> int:
    """Have the guardian run a command in the lab. Ctrl-C asks it to end, a second one ends it."""
    read, _ = os.pipe()  # its other end is open for as long as we live
    watching = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.guardian", str(lab), str(read), *command],
        cwd=ROOT,
        pass_fds=[read],
        start_new_session=True,
    )
    os.close(read)
    for number in (signal.SIGINT, signal.SIGTERM):  # set, for a shell's `&` has SIGINT ignored
        signal.signal(number, lambda number, frame: watching.terminate())
    return watching.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
