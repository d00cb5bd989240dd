"""What tests ask of funkwhale's servers, one by one and through the pooler that stands before them."""

from tests.cluster.cluster import Cluster
from tests.cluster.observe import execute, metric
from tests.cluster.system import FUNKWHALE

PRIMARY = "postgres-0"
STANDBYS = ("postgres-replica-0", "postgres-replica-1")
SHOW = 'psql -h pgpool -p 9999 -U "$POSTGRES_USER" -At -c "show pool_nodes" postgres'


def reads(cluster: Cluster) -> dict[str, float]:
    """Return how many reads pgpool has sent to each server."""
    counts = metric(cluster, "pgpool-stats:9719", "pgpool_nodes_select_cnt", namespace=FUNKWHALE.namespace)
    return {labels.partition('hostname="')[2].partition(".")[0]: count for labels, count in counts.items()}


def is_pool_whole(cluster: Cluster) -> bool:
    """Tell whether pgpool calls all servers up."""
    nodes = shell(cluster, PRIMARY, SHOW).splitlines()
    return [line.split("|")[3] for line in nodes] == ["up"] * 3


def sql(cluster: Cluster, pod: str, query: str) -> str:
    """Return what a server answers to a query."""
    return shell(cluster, pod, 'psql -U "$POSTGRES_USER" -At -c "$0" "$POSTGRES_DB"', query)


def get(cluster: Cluster, what: str, path: str) -> str:
    """Return what lies at a JSONPath of an object."""
    return cluster.kubectl("get", what, f"--namespace={FUNKWHALE.namespace}", f"--output=jsonpath={path}")


def shell(cluster: Cluster, pod: str, script: str, *arguments: str) -> str:
    """Run a script, whose arguments are $0 and so on, with what the pod knows."""
    knowing = f'export PGPASSWORD="$POSTGRES_PASSWORD"; {script}'
    return execute(cluster, pod, "bash", "-c", knowing, *arguments, namespace=FUNKWHALE.namespace)
