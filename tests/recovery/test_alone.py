"""Volumes without the objects around them: where they go in a target, or why they cannot."""

from collections.abc import Sequence
from typing import Any

import pytest

from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.recovery.alone import Alone, alone_of, is_alone
from drtool.recovery.manifests.objects import Json
from drtool.recovery.points import choose_points
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import claim, workload
from tests.recovery.stage import NOW, POINTS, POLICY, policy
from tests.recovery.test_in_place import DB, REDIS, STANDING, bound, without

MOVED = {"postgres": {"settings": {"data_directory": "/srv/data"}}}


def alone(
    *volumes: str,
    objects: Sequence[Json] = STANDING,
    of: Policy | None = None,
    told: Any = None,
    enrol: bool = False,
) -> Alone:
    promised = of or policy()
    choice = choose_points(promised, POINTS, Wishes(volumes=volumes), NOW)
    return alone_of(promised, choice.volumes, objects, told or {}, enrol=enrol)


def reasons(*volumes: str, **options: Any) -> list[str]:
    found = alone(*volumes, **options).refusals
    assert all(each.hint.endswith(".") for each in found)
    return [f"{each.about} {each.message}" for each in found]


def test_volumes_go_into_the_claims_that_stand_and_who_starts_what_uses_them_is_said() -> None:
    found = alone("postgres", "redis", "media")

    into = {each.volume: claim["metadata"]["name"] for each, claim in found.claims}
    assert into == {"postgres": "data-db-0", "redis": "data-redis-0", "media": "media"}
    assert not found.refusals
    assert [note.partition("; ")[2] for note in found.notes] == [
        "start StatefulSet db once it is back",
        "start StatefulSet redis once it is back",
        "start Deployment idle, Deployment web, Deployment worker once it is back",
    ]


def test_claims_of_other_pods_that_may_have_the_life_before_are_named() -> None:
    found = alone("postgres", "media", objects=[*STANDING, *bound("data-db-1"), claim("data-db-x")])

    [note] = [note for note in found.notes if "the life before" in note]
    assert note.startswith("volume postgres: claim data-db-1 of another pod of StatefulSet db stays as it is")
    assert not [note for note in alone("postgres").notes if "the life before" in note]


def test_where_the_first_backup_cannot_reach_its_server_is_said() -> None:
    said = "the first backup ends this run as long as postgres, redis cannot be reached"
    assert alone("postgres", "media", "redis", enrol=True).notes[-1].startswith(said)
    assert not [note for note in alone("postgres", "redis").notes if "the first backup" in note]
    assert not [note for note in alone("media", enrol=True).notes if "the first backup" in note]


def test_where_there_is_no_claim_the_way_is_named() -> None:
    found = alone("media", objects=without("media"))

    [refusal] = found.refusals
    assert refusal.message == "lies in claim media, which is not there, and no objects come back with it"
    assert refusal.hint.startswith("Name objects beside it: ")
    bare = POLICY.replace("  - {{name: objects, source: manifests}}\n", "").format(more="", at="before")
    [refusal] = alone("media", objects=without("media"), of=parse_policy(bare, "shop")).refusals
    assert refusal.hint.startswith("Restore it with --to-dir")


@pytest.mark.parametrize(
    ("volume", "objects", "said"),
    [
        (
            "postgres",
            [],
            "volume postgres is reached as db, which leads to no workload of the namespace; no obj",
        ),
        ("postgres", without("data-db-0"), "volume postgres lies in claim data-db-0, which is not there"),
        (
            "redis",
            [*without("redis"), REDIS, workload("StatefulSet", "redis", 1)],
            "volume redis has no claim in the target: its data goes with pod redis-0",
        ),
    ],
)
def test_what_has_no_place_in_the_target_is_refused(volume: str, objects: list[Json], said: str) -> None:
    [found] = reasons(volume, objects=objects)
    assert found.startswith(said)


def test_where_the_server_kept_its_data_is_asked_of_the_point() -> None:
    [found] = reasons("postgres", told=MOVED)
    assert "keeps its data in /srv/data" in found
    assert DB in STANDING


@pytest.mark.parametrize(
    ("redis", "said"),
    [
        ("broker: hold, host: redis", "volume redis is to hold its queues, which takes more than its claim"),
        ("sentinel: {service: sentinel, master: main}", "volume redis is found by Sentinels"),
    ],
)
def test_a_redis_that_takes_more_is_refused(redis: str, said: str) -> None:
    text = POLICY.format(more="", at="before")
    of = parse_policy(text.replace("source: redis, host: redis", f"source: redis, {redis}"), "shop")
    assert reasons("redis", of=of)[0].startswith(said)


def test_with_the_objects_nothing_is_alone() -> None:
    assert is_alone(policy(), Wishes(volumes=("media",)))
    assert not is_alone(policy(), Wishes(volumes=("media", "objects")))
    assert not is_alone(policy(), Wishes())
