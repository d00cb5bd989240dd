"""What runs inside of a new lab: brings it up, then waits, or becomes the command that was asked for."""

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from drtool.errors import DrtoolError
from tests.cluster.lab import VARIABLE, Lab
from tests.cluster.process import wait_until

ROOT = Path(__file__).parent.parent.parent

PROXIES = [name for lower in ("http_proxy", "https_proxy", "all_proxy") for name in (lower, lower.upper())]

ENTER = """\
#!/bin/sh
# A command, or a shell, inside of this lab.
cd {root}
unset {proxies}
export {environment}
[ $# -gt 0 ] || set -- "${{SHELL:-/bin/sh}}"
exec "$@"
"""


def main(argv: list[str]) -> int:
    """Bring a lab up. Then become the given command, or say how to get in and wait for the end."""
    parser = argparse.ArgumentParser(prog="tests.cluster.inside")
    parser.add_argument("lab", type=Path)
    parser.add_argument("--clusters", default="a")
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("command", nargs="*")
    options = parser.parse_args(argv)
    try:
        lab = _bring_up(options.lab, options.clusters.split(","))
        script = _write_enter(lab)
        if options.command:
            os.execv(script, [str(script), *options.command])
        _say_how_to_get_in(lab, script, options.ready_file)
        signal.pause()
    except DrtoolError as failure:
        return complain(failure)
    except KeyboardInterrupt:
        print("taking it down", flush=True)
    return 0


def complain(failure: DrtoolError) -> int:
    """Print what failed, and what to do, and return the exit code for it."""
    print(f"error: {failure.message}", file=sys.stderr)
    if failure.hint:
        print(f"hint: {failure.hint}", file=sys.stderr)
    return failure.exit_code


def _bring_up(directory: Path, clusters: list[str]) -> Lab:
    begin = time.monotonic()
    (directory / "tmp").mkdir(exist_ok=True)
    os.environ.update(_environment(directory))
    for name in PROXIES:  # from in here, none can be reached
        os.environ.pop(name, None)
    lab = Lab(directory)
    lab.start()
    for name in clusters:
        nodes = ", ".join(node.name for node in lab.start_cluster(name).nodes)
        print(f"cluster {name} is up after {time.monotonic() - begin:.0f} s: {nodes}", flush=True)
    return lab


def _environment(directory: Path) -> dict[str, str]:
    """Return what a command inside of the lab needs to find it, its programs and its scratch space."""
    programs = (str(directory / "bin"), str(Path(sys.executable).parent))
    path = [each for each in os.environ.get("PATH", os.defpath).split(":") if each not in programs]
    return {
        VARIABLE: str(directory),
        "KUBECACHEDIR": str(directory / "tmp" / "kubectl"),  # all labs have the same addresses
        "KUBECONFIG": str(directory / "a" / "admin.kubeconfig"),
        "TMPDIR": str(directory / "tmp"),
        "PATH": ":".join((*programs, *path)),
    }


def _write_enter(lab: Lab) -> Path:
    variables = _environment(lab.directory).items()
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables)
    script = lab.directory / "enter"
    root, proxies = shlex.quote(str(ROOT)), " ".join(PROXIES)
    script.write_text(ENTER.format(root=root, proxies=proxies, environment=environment))
    script.chmod(0o755)
    return script


def _say_how_to_get_in(lab: Lab, script: Path, ready: Path | None) -> None:
    """Print how to reach the lab from outside, and write the line that begins a command in it to the file ready."""
    init = lab.directory / "init"  # written by the guardian, who knows our number outside
    wait_until(init.exists, "the guardian knows the lab", deadline_s=20)
    line = f"nsenter --all --target {init.read_text().split()[0]} {script}"
    print(f"look inside:  {line}")
    print(f"in there:     KUBECONFIG={os.environ['KUBECONFIG']}, and logs in {lab.directory}/logs")
    print("Ctrl-C takes it down", flush=True)
    if ready:
        new = ready.with_name(f"{ready.name}.new")
        new.write_text(f"{line}\n")
        new.rename(ready)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
