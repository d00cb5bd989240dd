"""CoreDNS: the names of Services and pods, at the address of the control plane. Pods ask there: kubelet's `clusterDNS`.

There is no way out of the lab, so whatever is not in the cluster does not exist. That is said at once, for resolvers
try several names.
"""

from pathlib import Path

from tests.cluster.addresses import DOMAIN
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import Process

COREFILE = """\
{domain}:53 in-addr.arpa:53 {{
    bind {address}
    errors
    kubernetes {domain} in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
.:53 {{
    bind {address}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def core_dns(control_plane: ControlPlane, lab: Path) -> Process:
    """Return the CoreDNS of a cluster, to be started when its API server is there."""
    folder = lab / control_plane.addresses.name
    corefile = folder / "Corefile"
    corefile.write_text(
        COREFILE.format(
            domain=DOMAIN,
            address=control_plane.addresses.control_plane,
            kubeconfig=control_plane.user("coredns"),
        )
    )
    return Process(f"{control_plane.addresses.name}-coredns", [lab / "bin/coredns", "-conf", corefile], lab)
