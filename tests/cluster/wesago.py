"""What tests ask of wesago's servers, one by one; and tasks that wait in its Redis, for nobody can do them."""

from dataclasses import replace

from tests.cluster.cluster import Cluster
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.protection import Protection
from tests.cluster.smoke import Visitor
from tests.cluster.system import WESAGO
from tests.cluster.way_back import WayBack

SETTLED_S = 60
TASKS = 5
SENTINEL = ("redis-cli", "-p", "26379", "sentinel")
PSQL = ("psql", "--username=wesago", "--no-align", "--tuples-only", "--command")
# Whoever reads goes on, and so do the replicas; whoever ends a task waits.
LOCK = "begin; lock table tasks in exclusive mode; select pg_sleep(86400)"
IS_LOCKED = """
select count(*) from pg_locks where relation = 'tasks'::regclass and mode = 'ExclusiveLock' and granted
"""


def order_tasks(cluster: Cluster) -> tuple[str, ...]:
    """Order tasks that are not done any more: the worker has taken one, the others wait. Return their ids."""
    wait_until(lambda: waiting(cluster) == (0, 0), "all tasks are done", deadline_s=SETTLED_S)
    psql = 'psql --username=wesago --command "$0" </dev/null >/dev/null 2>&1 &'
    inside(cluster, "postgres-0", "sh", "-c", psql, LOCK)
    wait_until(lambda: sql(cluster, "postgres-0", IS_LOCKED) == "1", "no task ends", deadline_s=SETTLED_S)
    visitor = Visitor.of(WESAGO, cluster)
    tasks = tuple(visitor.begin_task() for _ in range(TASKS))
    wait_until(
        lambda: waiting(cluster) == (TASKS - 1, 1), "the worker has taken one of them", deadline_s=SETTLED_S
    )
    return tasks


def waiting(cluster: Cluster) -> tuple[int, int]:
    """Return how many messages are in the queue, and how many more the worker has taken."""
    redis = (cluster, master(cluster) or "redis-0", "redis-cli")
    return int(inside(*redis, "llen", "celery")), int(inside(*redis, "hlen", "unacked"))


def assert_held_until_released(way: WayBack, tasks: tuple[str, ...]) -> None:
    """Assert that the messages of tasks wait where no worker looks, and that once released each is done, once."""
    there = replace(way.protection, cluster=way.target)
    held = queues(there, "list")
    assert held == {"celery": TASKS - 1, "unacked": 1}
    names = ", ".join(f"'{task}'" for task in tasks)
    assert sql(way.target, "postgres-0", f"select count(*) from tasks where id in ({names})") == "0"

    assert queues(there, "release") == held

    visitor = Visitor.of(WESAGO, way.target)
    assert [visitor.get(f"/tasks/{task}").value()["runs"] for task in tasks] == [1] * TASKS
    assert queues(there, "list") == {}


def queues(there: Protection, doing: str) -> dict[str, int]:
    """Run `drtool queues` beside the Redis, and return how many messages of which queue were held."""
    found = there.ask("redis", "queues", doing, "redis")["queues"]
    return {each["name"]: each["messages"] for each in found if each["is_held"]}


def move_master(cluster: Cluster) -> None:
    """Have the Sentinels make another Redis than redis-0 the master.

    Who still has a connection to the old one writes to it until it is told, seconds later, and that is lost.
    """
    wait_until(
        lambda: "num-slaves\n2" in inside(cluster, "sentinel-0", *SENTINEL, "master", "mymaster"),
        "the Sentinels know the replicas",
        deadline_s=SETTLED_S,
    )
    if master(cluster) == "redis-0":
        inside(cluster, "sentinel-0", *SENTINEL, "failover", "mymaster")
    wait_until(
        lambda: master(cluster) not in ("", "redis-0"), "another Redis is the master", deadline_s=SETTLED_S
    )
    wait_until(
        lambda: inside(cluster, "redis-0", "redis-cli", "role").startswith("slave"),
        "redis-0 is no master any more",
        deadline_s=SETTLED_S,
    )


def master(cluster: Cluster) -> str:
    """Return the pod that all Sentinels call the master; empty while they do not agree."""
    said = {
        inside(cluster, f"sentinel-{number}", *SENTINEL, "get-master-addr-by-name", "mymaster")
        for number in range(3)
    }
    return said.pop().partition(".")[0] if len(said) == 1 else ""


def logged(cluster: Cluster, component: str) -> list[str]:
    """Return the lines that a component wrote, of all its life."""
    file = f"/var/log/components/{component}.log"
    return inside(cluster, "deployment/rsyslog-server", "cat", file).splitlines()


def sql(cluster: Cluster, pod: str, query: str) -> str:
    """Return what a server answers to a query."""
    return inside(cluster, pod, *PSQL, query)


def inside(cluster: Cluster, pod: str, *command: str) -> str:
    """Return what a command in a pod prints."""
    return execute(cluster, pod, *command, namespace=WESAGO.namespace)
