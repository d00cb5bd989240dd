"""Events on the object that a job belongs to: what a person looks for with `kubectl describe cronjob`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from drtool.errors import DrtoolError
from drtool.policy.moments import to_second
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.known import CRON_JOBS, DEPLOYMENTS, EVENTS

VARIABLE: Final = "DRTOOL_EVENTS"  # KIND/NAME of the object, set by `drtool render`
NAMESPACE: Final = "DRTOOL_NAMESPACE"
OWNERS: Final = {
    "CronJob": CRON_JOBS,
    "Deployment": DEPLOYMENTS,
}
_LONGEST: Final = 1024  # characters of a message that Kubernetes takes


@dataclass(frozen=True, slots=True)
class News:
    """What happened. reason is one word in camel case, as Kubernetes has it; message a line."""

    reason: str
    message: str
    is_warning: bool


def announce(news: News, environment: Mapping[str, str], now: datetime) -> str | None:
    """Put news on the object that the environment names, where it names one; return why that failed, if it did.

    An Event is a courtesy: it never delays a job for long, nor changes how it ends.
    """
    kind, _, name = environment.get(VARIABLE, "").partition("/")
    namespace = environment.get(NAMESPACE, "")
    if kind not in OWNERS or not name or not namespace:
        return None
    try:
        with Cluster.open(None, environment, patience_s=5.0) as cluster:
            owner = cluster.get(OWNERS[kind], namespace, name)
            if owner is not None:
                cluster.create(EVENTS, namespace, event(news, owner, now))
    except DrtoolError as fault:
        return fault.message
    return None


def event(news: News, owner: Json, now: datetime) -> Json:
    """Return the Event that says news about owner, an object as the API gives it."""
    about, moment = owner["metadata"], to_second(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about['name']}.", "namespace": about["namespace"]},
        "involvedObject": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": about["name"],
            "namespace": about["namespace"],
            "uid": about["uid"],
        },
        "type": "Warning" if news.is_warning else "Normal",
        "reason": news.reason,
        "message": news.message[:_LONGEST],
        "source": {"component": "drtool"},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
