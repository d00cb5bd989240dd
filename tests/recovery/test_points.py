"""Which point each volume comes back to, and what that costs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from drtool.errors import UsageError
from drtool.recovery.points import Choice, choose_points
from drtool.recovery.wishes import Wishes
from tests.recovery.stage import NOW, POINTS, ago, point, policy

NONE = timedelta(0)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def chosen(wishes: Wishes, at: str = "before", more: str = "") -> Choice:
    return choose_points(policy(more, at), POINTS, wishes, NOW)


def points_of(choice: Choice) -> dict[str, str]:
    return {each.volume: each.point for each in choice.volumes}


def test_without_a_wish_each_volume_comes_back_to_its_newest() -> None:
    found = chosen(Wishes())
    by_name = {each.volume: each for each in found.volumes}

    assert points_of(found) == {
        "postgres": "postgres@600", "redis": "redis@11", "media": "media@32", "objects": "objects@120",
    }  # fmt: skip
    assert {name: each.loss for name, each in by_name.items()} == {
        "postgres": minutes(1), "redis": minutes(11), "media": minutes(32), "objects": minutes(120),
    }  # fmt: skip
    assert by_name["postgres"].target is None
    assert all(each.cost == NONE for each in found.volumes)
    assert found.skew == minutes(31)
    assert found.missed == (
        "media would lose 32 min, and its RPO is 15 min",
        "the volumes would be 31 min apart, and max_skew is 5 min",
    )


def test_a_moment_takes_the_newest_not_after_it_and_postgresql_exactly_it() -> None:
    found = chosen(Wishes(at=ago(35)))
    postgres, redis, media, objects = found.volumes

    assert (postgres.point, postgres.moment, postgres.target, postgres.loss) == (
        "postgres@600",
        ago(35),
        ago(35),
        NONE,
    )
    assert (redis.point, redis.loss, redis.cost, redis.target) == ("redis@41", minutes(6), minutes(6), None)
    assert (media.point, media.moment) == ("media@92", ago(92))
    assert objects.point == "objects@120"
    assert found.missed == ("the volumes would be 57 min apart, and max_skew is 5 min",)


def test_media_that_is_written_once_takes_the_first_point_after_the_moment_and_is_in_nobodys_way() -> None:
    found = chosen(Wishes(at=ago(35)), at="after")

    assert points_of(found)["media"] == "media@32"
    assert found.skew == minutes(6)
    assert points_of(chosen(Wishes(at=ago(5)), at="after"))["media"] == "media@32"


def test_aligned_is_the_newest_moment_that_all_data_can_be_brought_to() -> None:
    found = chosen(Wishes(aligned=True))

    assert points_of(found) == {
        "postgres": "postgres@600", "redis": "redis@41", "media": "media@32", "objects": "objects@120",
    }  # fmt: skip
    assert found.volumes[0].target == ago(30)
    assert [each.cost for each in found.volumes] == [minutes(29), minutes(30), NONE, NONE]
    assert points_of(chosen(Wishes(aligned=True), at="after"))["redis"] == "redis@11"


def test_objects_follow_an_aligned_moment_but_not_one_that_somebody_named() -> None:
    newer = [point("objects", 3), point("objects", 2), *(each for each in POINTS if each.volume != "objects")]

    assert points_of(choose_points(policy(), newer, Wishes(aligned=True), NOW))["objects"] == "objects@3"
    assert choose_points(policy(), newer, Wishes(at=ago(30)), NOW).refusals[0].about == "volume objects"


def test_volumes_can_be_named_and_an_unknown_one_is_wrong_usage() -> None:
    assert list(points_of(chosen(Wishes(volumes=("redis",))))) == ["redis"]
    assert list(points_of(chosen(Wishes(), more="recovery: {order: [objects, media, redis, postgres]}"))) == [
        *("objects", "media", "redis", "postgres"),
    ]
    with pytest.raises(UsageError, match="has no volume reids"):
        chosen(Wishes(volumes=("reids",)))


def test_all_volumes_that_cannot_be_brought_there_are_named_at_once() -> None:
    found = choose_points(
        policy(), [each for each in POINTS if each.volume != "redis"], Wishes(at=ago(1100)), NOW
    )

    assert [each.about for each in found.refusals] == ["volume redis", "volume media", "volume objects"]
    assert "cannot be brought to 2026-02-28T17:40:00Z" in found.refusals[1].message
    assert "from" not in found.refusals[0].hint
    before_all = choose_points(policy(), POINTS, Wishes(at=ago(5000), volumes=("postgres",)), NOW)
    assert "from 2026-02-28T16:00:00Z to 2026-03-01T11:59:00Z" in before_all.refusals[0].hint
    assert choose_points(policy(), [], Wishes(aligned=True), NOW).volumes == ()


def test_a_base_is_consistent_only_after_its_end() -> None:
    only = [replace(point("postgres", 600, 1))]
    wishes = Wishes(at=ago(600), volumes=("postgres",))

    assert choose_points(policy(), only, wishes, NOW).refusals
