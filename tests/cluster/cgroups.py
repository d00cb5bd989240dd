"""Control groups: one per node, which holds its daemons and its pods. Namespaces do not take them along when they end.

A group is the same path in every hierarchy: version 1 has one for each controller, version 2 a single one for all.
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NEEDED = ("cpu", "cpuset", "memory", "pids")
FINISH_S = 20  # a killed process leaves its group once the kernel has freed its memory
PAUSE_S = 0.05


@dataclass(frozen=True)
class Cgroup:
    """A control group. path is below each hierarchy's root, as kubelet's cgroupRoot wants it: `/drtool-1a2b3c/a1`."""

    path: str

    def below(self, name: str) -> "Cgroup":
        """Return the group called name in this one."""
        return Cgroup(f"{self.path}/{name}")

    def create(self) -> None:
        """Make the group, and those above it, in every hierarchy; safe to repeat."""
        for root in hierarchies():
            parent = root
            for part in self.path.strip("/").split("/"):
                _hand_down(parent)
                group = parent / part
                group.mkdir(exist_ok=True)
                _inherit_cpuset(parent, group)
                parent = group

    def add(self, pid: int) -> None:
        """Move a process into the group; its children are born there."""
        for folder in self._folders():
            (folder / "cgroup.procs").write_text(str(pid))

    def processes(self) -> set[int]:
        """Return the ids of all processes in the group and in those below it."""
        found: set[int] = set()
        for folder in self._folders():
            for group, _, _ in os.walk(folder):
                found.update(_members(Path(group)))
        return found

    def kill(self) -> None:
        """End every process in the group and below it with SIGKILL, and wait until they are gone."""
        end = time.monotonic() + FINISH_S
        while (processes := self.processes()) and time.monotonic() < end:
            for pid in processes:
                _kill(pid)
            time.sleep(PAUSE_S)

    def remove(self) -> None:
        """Remove the group and those below it, deepest first; silent if it is not there."""
        end = time.monotonic() + FINISH_S
        for folder in self._folders():
            groups = [Path(group) for group, _, _ in os.walk(folder, topdown=False)]
            for group in groups:
                _remove(group, end)

    def _folders(self) -> list[Path]:
        folders = [root / self.path.strip("/") for root in hierarchies()]
        return [folder for folder in folders if folder.exists()]


@cache
def hierarchies() -> tuple[Path, ...]:
    """Return the roots of all hierarchies. Version 2 may stand beside version 1; runc makes groups in it, too."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return tuple(Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2"))


def missing_controllers() -> list[str]:
    """Return which of the controllers that kubelet needs are not to be had."""
    have = {name for root in hierarchies() for name in _controllers(root) or root.name.split(",")}
    return [name for name in NEEDED if name not in have]


def lab_group(lab: Path) -> Cgroup:
    """Return the group of everything in the lab whose folder is lab: it has the same name."""
    return Cgroup(f"/{lab.name}")


def _controllers(group: Path) -> list[str]:
    """Return the controllers of a group of version 2; none for one of version 1."""
    listed = group / "cgroup.controllers"
    return listed.read_text().split() if listed.exists() else []


def _hand_down(group: Path) -> None:
    """Let the groups below have the controllers: version 2 wants to be told."""
    controllers = _controllers(group)
    if set(NEEDED) <= set(controllers):
        wanted = " ".join(f"+{name}" for name in controllers if name in (*NEEDED, "io", "hugetlb"))
        (group / "cgroup.subtree_control").write_text(wanted)


def _inherit_cpuset(parent: Path, group: Path) -> None:
    """Version 1 begins a group of cpuset empty, and nothing can run in it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not _controllers(group) and not file.read_text().strip():
            file.write_text((parent / name).read_text())


def _members(group: Path) -> set[int]:
    try:
        pids = {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    except OSError:  # the group has gone
        return set()
    return pids - {0}  # one of a namespace that we cannot look into


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _remove(group: Path, end: float) -> None:
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE_S)
        else:
            return
