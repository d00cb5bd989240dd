"""A policy, its points and a target, as a plan is made of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.recovery.compare import Change, compare
from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.prepare import Preparation, prepare
from drtool.recovery.plan import Plan, Request, make_plan
from drtool.recovery.points import Candidate, choose_points
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetCluster, TargetFacts
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import SERVED, Json

POLICY = """\
version: 1
name: shop
repository: {{url: "file:///srv"}}
objectives: {{rpo: 15m, rto: 1h, max_skew: 5m}}
kubernetes: {{namespace: shop}}
volumes:
  - {{name: postgres, source: postgres, host: db, user: drtool}}
  - {{name: redis, source: redis, host: redis}}
  - {{name: media, source: files, claim: media, at: {at}}}
  - {{name: objects, source: manifests}}
{more}
"""
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLUSTER = TargetCluster("new", "https://new:6443", "v1.34.4", "uid-of-kube-system")
FACTS = TargetFacts(
    CLUSTER,
    SERVED,
    storage_classes={"fast": "driver", "mine": "driver"},
    default_class="fast",
    phase="Active",
)


def policy(more: str = "", at: str = "before") -> Policy:
    return parse_policy(POLICY.format(more=more, at=at), "shop")


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def point(volume: str, begin: float, end: float | None = None, size: int = 1000) -> Candidate:
    """Return a point, begun and ended so many minutes ago."""
    source = {"objects": "manifests", "media": "files"}.get(volume, volume)
    last = begin if end is None else end
    return Candidate(volume, source, f"{volume}@{begin:g}", ago(begin), ago(last), size)


POINTS = (
    *(point("postgres", 600, 1), point("postgres", 1200, 650)),
    *(point("redis", 11), point("redis", 41)),
    *(point("media", 32, 30), point("media", 92, 90)),
    *(point("objects", 120), point("objects", 1000)),
)


def plan(
    objects: Sequence[Json] = (),
    wishes: Wishes | None = None,
    facts: TargetFacts = FACTS,
    of: Policy | None = None,
    live: Sequence[Json] = (),
    points: Sequence[Candidate] = POINTS,
    **request: Any,
) -> Plan | tuple[Refusal, ...]:
    """Return the plan for objects, where live are there already."""
    wished, promised = wishes or Wishes(), of or policy()
    preparation, changes = changes_of(objects, wished, facts, live)
    asked = Request(wished, NOW, ("shop", wished.namespace or "shop"), **request)
    choice = choose_points(promised, points, wished, NOW)
    return make_plan(promised, asked, choice, preparation, changes, facts)


def changes_of(
    objects: Sequence[Json], wishes: Wishes, facts: TargetFacts, live: Sequence[Json]
) -> tuple[Preparation, tuple[Change, ...]]:
    namespace = ("shop", wishes.namespace or "shop")
    mappings = Mappings(namespace, wishes.classes, wishes.registries, wishes.hosts)
    preparation = prepare(objects, mappings, facts.served, with_jobs=wishes.with_jobs)
    there = {(each["kind"], each["metadata"]["name"]): each for each in live}
    changes = [compare(each, there.get(each.ref[1:]), wishes.if_exists) for each in preparation.objects]
    return preparation, tuple(changes)


def made(*args: Any, **options: Any) -> Plan:
    found = plan(*args, **options)
    assert isinstance(found, Plan), found
    return found


def refused(*args: Any, **options: Any) -> list[str]:
    """Return all reasons against a plan, each in a line."""
    found = plan(*args, **options)
    assert not isinstance(found, Plan)
    assert all(each.hint.endswith(".") for each in found)
    return [f"{each.about} {each.message}" for each in found]


def facts(**changes: Any) -> TargetFacts:
    return replace(FACTS, **changes)
