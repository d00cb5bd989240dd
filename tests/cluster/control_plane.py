"""What makes a cluster of some machines: etcd, the API server, and the two programs that act on what it holds.

They run as plain processes in the machine room, at an address of their own. Everything else knows only the API server.
"""

import ssl
import urllib.request
from functools import partial
from pathlib import Path

from tests.cluster.addresses import DOMAIN, ClusterAddresses
from tests.cluster.certificates import ADMINISTRATORS, Authority, Pair
from tests.cluster.process import Process, wait_until

ETCD_PORT, ETCD_PEER_PORT = 2379, 2380
CONTROLLERS_PORT, SCHEDULER_PORT = 10257, 10259  # as they are by themselves; the certificates there, too
ANYBODY = ssl._create_unverified_context()
READY_S = 120  # three seconds on an idle machine
NODE_LOST_S = 24  # until a node that says nothing counts as lost: two leases; a real cluster waits 50 s
EVICTED_S = 20  # until the pods of a lost node are made anew elsewhere; a real cluster waits 300 s


class ControlPlane:
    """etcd, kube-apiserver, kube-controller-manager and kube-scheduler of one cluster.

    lab is the lab's folder; the cluster's files are in the one below it that has its name.
    """

    def __init__(self, addresses: ClusterAddresses, lab: Path) -> None:
        self.addresses = addresses
        self._lab = lab
        self._folder = lab / addresses.name
        self.authority = Authority(self._folder / "pki")
        self.etcd = self._process("etcd", self._etcd())
        self.apiserver = self._process("kube-apiserver", self._apiserver())
        self.controller_manager = self._process("kube-controller-manager", self._controller_manager())
        self.scheduler = self._process("kube-scheduler", self._scheduler())
        self.processes = [self.etcd, self.apiserver, self.controller_manager, self.scheduler]

    def start(self) -> None:
        """Start all four, and return when they are ready. What runs already is left alone."""
        self.etcd.start()
        wait_until(self._etcd_answers, "etcd answers", deadline_s=READY_S, process=self.etcd)
        self.apiserver.start()
        wait_until(self.answers, "the API server is ready", deadline_s=READY_S, process=self.apiserver)
        self.controller_manager.start()  # neither waits long for an API server that is not there
        self.scheduler.start()
        for process, port in ((self.controller_manager, CONTROLLERS_PORT), (self.scheduler, SCHEDULER_PORT)):
            url = f"https://{self.addresses.control_plane}:{port}/healthz"
            what = f"{process.name} is healthy"
            wait_until(partial(is_ok, url, ANYBODY), what, deadline_s=READY_S, process=process)

    def answers(self) -> bool:
        """Tell whether the API server says that it is ready: it lets anybody ask that."""
        trust = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        return is_ok(f"{self.addresses.api}/readyz", trust)

    def user(self, name: str, organization: str = ADMINISTRATORS) -> Path:
        """Return the kubeconfig of a user, who may do everything unless another group is given; made if need be."""
        file = self._folder / f"{name.replace(':', '-')}.kubeconfig"
        if not file.exists():
            pair = self.authority.issue(file.stem, name, organization=organization)
            self.authority.kubeconfig(file, self.addresses.api, pair, cluster=self.addresses.name)
        return file

    def _etcd_answers(self) -> bool:
        return is_ok(f"{self._etcd_url}/health")

    @property
    def _etcd_url(self) -> str:
        return f"http://{self.addresses.control_plane}:{ETCD_PORT}"

    def _process(self, program: str, options: dict[str, object]) -> Process:
        path: str | Path = "etcd" if program == "etcd" else self._lab / "bin" / program
        flags = [f"--{name}={value}" for name, value in options.items()]
        return Process(f"{self.addresses.name}-{program}", [path, *flags], self._lab)

    def _etcd(self) -> dict[str, object]:
        peer = f"http://{self.addresses.control_plane}:{ETCD_PEER_PORT}"
        return {
            "name": self.addresses.name,
            "data-dir": self._folder / "etcd",
            "listen-client-urls": self._etcd_url,
            "advertise-client-urls": self._etcd_url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"{self.addresses.name}={peer}",
            "unsafe-no-fsync": "true",  # a lab that crashes is thrown away
        }

    def _apiserver(self) -> dict[str, object]:
        addresses, ca = self.addresses, self.authority.pair
        hosts = (
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{DOMAIN}",
        )
        server = self.authority.issue(
            "apiserver", "kube-apiserver", hosts=(*hosts, addresses.control_plane, addresses.api_service)
        )
        to_kubelet = self.authority.issue("apiserver-kubelet", "apiserver", organization=ADMINISTRATORS)
        accounts = self._account_keys()
        return {
            "etcd-servers": self._etcd_url,
            "bind-address": addresses.control_plane,
            "advertise-address": addresses.control_plane,
            "service-cluster-ip-range": addresses.services,
            "tls-cert-file": server.certificate,
            "tls-private-key-file": server.key,
            "client-ca-file": ca.certificate,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",  # beside those that are on by themselves
            "allow-privileged": "true",
            "kubelet-client-certificate": to_kubelet.certificate,
            "kubelet-client-key": to_kubelet.key,
            "kubelet-preferred-address-types": "InternalIP",  # nobody knows the nodes' names
            "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
            "service-account-key-file": accounts.key,
            "service-account-signing-key-file": accounts.key,
            "default-not-ready-toleration-seconds": EVICTED_S,
            "default-unreachable-toleration-seconds": EVICTED_S,
        }

    def _controller_manager(self) -> dict[str, object]:
        ca = self.authority.pair
        return {
            **self._client("kube-controller-manager"),
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self._account_keys().key,
            "root-ca-file": ca.certificate,
            "cluster-signing-cert-file": ca.certificate,
            "cluster-signing-key-file": ca.key,
            "node-monitor-grace-period": f"{NODE_LOST_S}s",
            "pvclaimbinder-sync-period": "2s",  # how soon a claim that was seen before its volume is looked at again
        }

    def _scheduler(self) -> dict[str, object]:
        return self._client("kube-scheduler")

    def _client(self, program: str) -> dict[str, object]:
        kubeconfig = self.user(f"system:{program}", f"system:{program}")
        return {
            "kubeconfig": kubeconfig,
            "authentication-kubeconfig": kubeconfig,
            "authorization-kubeconfig": kubeconfig,
            "bind-address": self.addresses.control_plane,
            "leader-elect": "false",
        }

    def _account_keys(self) -> Pair:
        """Return the key that signs the tokens of service accounts."""
        return self.authority.issue("service-accounts", "service-accounts")


def is_ok(url: str, trust: ssl.SSLContext | None = None) -> bool:
    """Tell whether a server answers 200 at url."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
            return bool(answer.status == 200)
    except OSError:  # of which URLError is one
        return False
