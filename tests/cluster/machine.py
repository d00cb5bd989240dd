"""What this machine must offer to a lab: asked before anything is started, and what is missing is said plainly."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from drtool.errors import Refused
from tests.cluster.cgroups import missing_controllers
from tests.cluster.guardian import LABS

PROGRAMS = (
    "unshare",
    "nsenter",
    "setpriv",
    "mount",
    "hostname",
    "ip",
    "iptables",
    "nft",
    "ctr",
    "containerd",
    "runc",
    "etcd",
)
DISK_BYTES = 6 * 2**30  # two nodes with all images, and what the systems write
MEMORY_BYTES = 4 * 2**30


def check() -> None:
    """Raise Refused, naming everything that is missing, if a lab cannot run here."""
    check_root()
    faults = [*_programs(), *_controllers(), *_room(), *_kernel()]
    if faults:
        raise Refused(
            "this machine cannot run the test cluster:\n" + "\n".join(f"- {fault}" for fault in faults),
            hint="Use a Linux machine, or a virtual one, that offers it; or an existing cluster, through KUBECONFIG.",
        )


def check_root() -> None:
    """Raise Refused if we may not make namespaces and mounts."""
    if os.geteuid() != 0:
        raise Refused(
            "the test cluster takes root: it makes namespaces, mounts, control groups and network interfaces",
            hint="Use sudo, or an existing cluster: KUBECONFIG=… make test-cluster.",
        )


def _programs() -> list[str]:
    return [f"no program {name}" for name in PROGRAMS if shutil.which(name) is None]


def _controllers() -> list[str]:
    return [f"no control group controller {name}" for name in missing_controllers()]


def _room() -> list[str]:
    free = shutil.disk_usage(LABS).free
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    faults = [(free < DISK_BYTES, f"only {free / 2**30:.1f} GiB free in {LABS}, 6 GiB are needed")]
    faults.append((memory < MEMORY_BYTES, f"only {memory / 2**30:.1f} GiB of memory, 4 GiB are needed"))
    return [fault for is_one, fault in faults if is_one]


def _kernel() -> list[str]:
    """Try what the lab does, in namespaces that are gone afterwards."""
    if modprobe := shutil.which("modprobe"):  # in a container, or without modules, things are there or not
        subprocess.run([modprobe, "--all", "br_netfilter", "overlay"], capture_output=True, check=False)
    with tempfile.TemporaryDirectory(dir=LABS) as folder:
        for name in ("lower", "upper", "work", "merged"):
            Path(folder, name).mkdir()
        layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        attempts = {
            "namespaces cannot be made": ["true"],
            f"no overlayfs on {LABS}": [
                "mount",
                "-t",
                "overlay",
                "-o",
                layers,
                "overlay",
                f"{folder}/merged",
            ],
            "no network bridges": ["ip", "link", "add", "lab0", "type", "bridge"],
            "no pairs of virtual Ethernet interfaces": ["ip", "link", "add", "a1", "type", "veth"],
            "no NAT by iptables": ["iptables", "-t", "nat", "-L"],
            "no bridge netfilter (module br_netfilter)": ["test", "-e", "/proc/sys/net/bridge"],
        }
        return [
            f"{what}: {said}" if (said := _try(command)) else what
            for what, command in attempts.items()
            if _try(command) is not None
        ]


def _try(command: list[str]) -> str | None:
    """Return what a command says when it fails in new namespaces; None if it succeeds."""
    namespaces = ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc"]
    done = subprocess.run([*namespaces, *command], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()
