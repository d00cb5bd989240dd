"""A node: what Kubernetes takes for a machine is a process that holds namespaces, a folder for a disk, a control group.

The holder (boot.sh) has a network, mounts and a host name of its own. In them run containerd, which starts containers
through runc; kubelet, which asks the API server what is to run here, and containerd to run it; and kube-proxy, which
leads Services to pods. The disk is what the node sees as /var, /opt, /srv and /mnt, so kubelet, containerd and hostPath
volumes have their usual paths and touch nothing of the machine's. kill() is a power cut: the namespaces go with the
processes. start() afterwards is a boot, with the old disk.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import network, node_settings
from tests.cluster.addresses import NodeAddress
from tests.cluster.cache import cache_root
from tests.cluster.cgroups import lab_group
from tests.cluster.control_plane import ControlPlane
from tests.cluster.images import IMAGES, archive
from tests.cluster.process import LabFailed, Process, enter, run, wait_until

FIRST_IMAGES = ("pause", "base")  # what every pod, and every local volume, begins with
START_S = 60
LOAD_S = 300  # some seconds on an idle machine
BOOT = Path(__file__).parent / "boot.sh"


class Node:
    """One node of a cluster of the lab whose folder is lab. Two objects of one name are the same node."""

    def __init__(self, own: NodeAddress, control_plane: ControlPlane, lab: Path) -> None:
        self.name = own.name
        self.address = own.address
        self._own = own
        self._control_plane = control_plane
        self._lab = lab
        self.disk = lab / control_plane.addresses.name / own.name
        self._settings = self.disk.with_name(f"{own.name}-settings")
        self._booted = self._settings / "booted"
        self._group = lab_group(lab).below(own.name)
        self.holder = self._process("holder", ["unshare", "--net", "--mount", "--uts", "--", *self._boot()])
        self.containerd = self._process(
            "containerd", ["containerd", f"--config={self._settings}/containerd.toml"]
        )
        self.kubelet = self._process("kubelet", self._kubelet())
        self.proxy = self._process(
            "kube-proxy", [lab / "bin/kube-proxy", f"--config={self._settings}/kube-proxy.json"]
        )

    @property
    def netns(self) -> Path:
        """The node's network namespace, for `nsenter --net=`; another one after each start."""
        return Path(f"/proc/{self.holder.pid}/ns/net")

    def boot(self) -> None:
        """Start the node as far as it gets without an API server: namespaces, network, containerd, the first images."""
        self._configure()
        self._group.below("daemons").create()
        if not self.holder.alive:
            self._booted.unlink(missing_ok=True)
            self.holder.start()
            what = f"{self.name} has mounted its disk"
            wait_until(self._booted.exists, what, deadline_s=START_S, process=self.holder)
            network.connect(self._own, self.holder, self._control_plane.addresses)
        self.containerd.start()
        what = f"containerd of {self.name} answers"
        wait_until(self._containerd_answers, what, deadline_s=START_S, process=self.containerd)
        for image in FIRST_IMAGES:
            self.load(archive(image))

    def join(self) -> None:
        """Start what joins the node to its cluster, whose API server must be there."""
        self.kubelet.start()
        self.proxy.start()

    def start(self) -> None:
        """Start the node, or what of it does not run."""
        self.boot()
        self.join()

    def kill(self) -> None:
        """Cut the node's power: kubelet, containerd and every container end at once, and its network with them."""
        self._group.kill()

    def load(self, image: Path) -> None:
        """Give the node an image, an OCI archive. What it has already is not unpacked again."""
        self.run("ctr", "--namespace=k8s.io", "images", "import", "-", read=image, deadline_s=LOAD_S)

    def run(self, *argv: str | Path, read: Path | None = None, deadline_s: float = 120) -> str:
        """Run a command in the node's namespaces, with the file read as its input, and return what it printed.

        Raises LabFailed if it fails.
        """
        return run(*enter(self.holder), *argv, read=read, deadline_s=deadline_s)

    def _process(self, program: str, argv: Sequence[str | Path]) -> Process:
        within = None if program == "holder" else self.holder
        group = self._group.below("daemons")
        return Process(f"{self.name}-{program}", argv, self._lab, within=within, cgroup=group)

    def _boot(self) -> list[Path | str]:
        visible = [self._lab, cache_root()]
        return [BOOT, self.name, self.disk, self._shared, self._booted, *visible]

    @property
    def _shared(self) -> Path:
        return self.disk.with_name("shared")

    def _kubelet(self) -> list[str | Path]:
        return [
            self._lab / "bin/kubelet",
            f"--config={self._settings}/kubelet.json",
            f"--kubeconfig={self._control_plane.user(f'system:node:{self.name}', 'system:nodes')}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
        ]

    def _configure(self) -> None:
        """Write the files of the programs."""
        settings, control_plane = self._settings, self._control_plane
        addresses = control_plane.addresses
        (settings / "cni").mkdir(parents=True, exist_ok=True)
        self._shared.mkdir(exist_ok=True)
        resolver = settings / "resolv.conf"
        resolver.write_text(f"nameserver {addresses.control_plane}\n")
        proxy_user = control_plane.user("system:kube-proxy", "system:node-proxier")
        authority = control_plane.authority.pair.certificate
        files: dict[str, object] = {
            "cni/pods.conflist": node_settings.pod_network(self._own),
            "kubelet.json": node_settings.kubelet(self._group.path, addresses, authority, resolver),
            "kube-proxy.json": node_settings.proxy(self._own, addresses, proxy_user),
        }
        for name, content in files.items():
            (settings / name).write_text(json.dumps(content, indent=2))
        (settings / "containerd.toml").write_text(
            node_settings.containerd(settings, IMAGES["pause"].reference)
        )

    def _containerd_answers(self) -> bool:
        try:
            self.run("ctr", "version")
        except LabFailed:
            return False
        return True
