"""The settings of a node's programs, one function per file: containerd, its network plugins, kubelet, kube-proxy."""

from pathlib import Path

from tests.cluster.addresses import DOMAIN, ClusterAddresses, NodeAddress

CNI_PLUGINS = "/usr/lib/cni"  # where Debian puts them
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PROXY_HEALTH_PORT = 10256


def containerd(folder: Path, pause: str) -> str:
    """Return containerd.toml. pause is the image that each pod begins with; CNI's settings lie in folder/cni."""
    return f"""\
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true  # else runc fails where CAP_SYS_RESOURCE is missing

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{folder}/cni"
"""


def pod_network(node: NodeAddress) -> dict[str, object]:
    """Return CNI's settings: a bridge for the node's pods, whose addresses all of the lab can reach, and hostPort."""
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,  # so that a pod reaches itself through its Service
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",  # a boot begins with no pod
                    "ranges": [[{"subnet": node.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(cgroup: str, addresses: ClusterAddresses, authority: Path, resolver: Path) -> dict[str, object]:
    """Return kubelet's settings. cgroup is where its pods go: two kubelets that share one remove each other's pods."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # less takes CAP_SYS_RESOURCE
        "clusterDNS": [addresses.control_plane],
        "clusterDomain": DOMAIN,
        "resolvConf": str(resolver),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # there is no registry to fetch a removed image from
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 12,
        "serializeImagePulls": False,
    }


def proxy(node: NodeAddress, addresses: ClusterAddresses, kubeconfig: Path) -> dict[str, object]:
    """Return kube-proxy's settings."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": node.name,
        "clusterCIDR": addresses.pods,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "healthzBindAddress": f"{node.address}:{PROXY_HEALTH_PORT}",
        "conntrack": {"maxPerCore": 0, "min": 0},  # the machine's own limits are not ours to change
    }
