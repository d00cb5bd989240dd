"""The config and its chain."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drtool.errors import Corrupt, Refused
from drtool.repository import config as configs
from drtool.repository.config import Config, Epoch, RecipientEntry, Signer, VolumeLimits, WriterKeys
from drtool.repository.format.crypto import SigningKey, sha256
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Place, pack_public, sign

ADMIN, OTHER = SigningKey(b"a" * 32), SigningKey(b"o" * 32)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
ID = b"r" * 16
SIGNER = Signer("w", "writer", OTHER.public.hex(), json_time(NOW))
ZERO = Config(
    number=0,
    repository=ID.hex(),
    policy="forum",
    made=json_time(NOW),
    admin=ADMIN.public.hex(),
    recipients=[RecipientEntry("first", "ab" * 32)],
    signers=[SIGNER],
    writers=[WriterKeys("w", {"aa": "bb"}, {"aa": "cc"})],
    volumes={"files": VolumeLimits(60, 30)},
    epochs=[Epoch("postgres", "7", 17, 1)],
)


def follow(config: Config, **changes: Any) -> Config:
    return config.next(NOW, sha256(configs.encode_config(config, ADMIN)), **changes)


def chain(*all_of_them: Config) -> configs.Chain:
    return configs.check_chain(
        {config.number: (configs.encode_config(config, ADMIN), config) for config in all_of_them}
    )


def test_a_config_is_read_as_it_was_written() -> None:
    assert configs.parse_config(configs.encode_config(ZERO, ADMIN), 0, ID, ADMIN.public) == ZERO


@pytest.mark.parametrize(
    ("config", "key", "number"),
    [
        pytest.param(ZERO, OTHER, 0, id="another signer"),
        pytest.param(ZERO, ADMIN, 1, id="another number in the name"),
        pytest.param(replace(ZERO, repository="00" * 16), ADMIN, 0, id="another repository"),
        pytest.param(replace(ZERO, admin=OTHER.public.hex()), ADMIN, 0, id="another admin"),
    ],
)
def test_a_config_of_somebody_else_is_corrupt(config: Config, key: SigningKey, number: int) -> None:
    with pytest.raises(Corrupt):
        configs.parse_config(configs.encode_config(config, key), number, ID, ADMIN.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 5},
        {"repository": "not hex"},
        {"recipients": 5},
        {"recipients": [{"name": "x"}]},
        {"signers": [{"unknown": 1}]},
        {"volumes": []},
        {"volumes": {"v": {}}},
        {"new field": 1},
        {"epochs": None},
    ],
    ids=str,
)
def test_a_config_of_another_shape_is_corrupt_though_the_admin_signed_it(changes: dict[str, Any]) -> None:
    body = sign({**asdict(ZERO), **changes}, "admin", ADMIN, Place(ID, "config", "config/0-"))
    with pytest.raises(Corrupt):
        configs.parse_config(pack_public(body), 0, ID, ADMIN.public)


def test_a_role_other_than_admin_signs_no_config() -> None:
    body = sign(asdict(ZERO), "writer", ADMIN, Place(ID, "config", "config/0-"))
    with pytest.raises(Corrupt, match="not signed by this repository's admin"):
        configs.parse_config(pack_public(body), 0, ID, ADMIN.public)


def test_a_format_of_the_future_is_refused_with_its_number() -> None:
    with pytest.raises(Refused, match="format 2") as told:
        configs.parse_config(configs.encode_config(replace(ZERO, format=2), ADMIN), 0, ID, ADMIN.public)
    assert "newer" in told.value.hint


def test_the_newest_of_a_whole_chain_counts() -> None:
    one = follow(ZERO, policy="renamed")
    two = follow(one)
    assert chain(two, ZERO, one).config == two
    assert two.policy == "renamed"
    assert len(chain(ZERO, one).digests) == 2


def test_a_chain_with_a_gap_or_a_wrong_link_is_corrupt() -> None:
    one = follow(ZERO)
    with pytest.raises(Corrupt, match="config 1 is missing"):
        chain(ZERO, follow(one))
    with pytest.raises(Corrupt, match="config 0 is missing"):
        chain(one)
    with pytest.raises(Corrupt, match="config 1 does not follow"):
        chain(ZERO, replace(one, previous="00" * 32))
    with pytest.raises(Corrupt, match="config 0 does not follow"):
        chain(replace(ZERO, previous="00" * 32))


@pytest.mark.parametrize(
    ("volumes", "fault"),
    [
        ({}, "config 1 lacks volume files"),
        ({"files": VolumeLimits(59, 30)}, "config 1 has shorter limits for volume files"),
        ({"files": VolumeLimits(60, 29)}, "config 1 has shorter limits for volume files"),
    ],
    ids=["no volume", "a shorter window", "a shorter max_run"],
)
def test_a_config_that_takes_away_what_points_stand_on_is_corrupt(
    volumes: dict[str, VolumeLimits], fault: str
) -> None:
    one = follow(ZERO, volumes=volumes)
    with pytest.raises(Corrupt, match=fault):
        chain(ZERO, one)
    with pytest.raises(Corrupt, match=fault):
        chain(ZERO, one, follow(one, volumes=ZERO.volumes))


def test_each_max_run_counts_from_its_config_on_and_the_first_one_before_it() -> None:
    one = replace(follow(ZERO, volumes={"files": VolumeLimits(60, 90)}), made=json_time(NOW + HOUR))
    two = replace(
        follow(one, volumes={**one.volumes, "redis": VolumeLimits(0, 5)}), made=json_time(NOW + 2 * HOUR)
    )
    limits = configs.run_limits(chain(ZERO, one, two).configs, "files")
    moments = (NOW - HOUR, NOW, NOW + HOUR, NOW + HOUR + configs.CLOCK_GRAIN, NOW + 3 * HOUR)
    assert [limits.at(each).total_seconds() for each in moments] == [30, 30, 30, 90, 90]
    assert configs.run_limits([ZERO, one, two], "redis").at(NOW).total_seconds() == 5
    with pytest.raises(Refused, match="volume other"):
        configs.run_limits([ZERO, one, two], "other")


@pytest.mark.parametrize(
    ("received", "until", "valid"),
    [
        (NOW - HOUR, None, False),
        (NOW - timedelta(seconds=1), None, True),
        (NOW, None, True),
        (NOW + HOUR, None, True),
        (NOW + HOUR, NOW + HOUR, False),
        (NOW + HOUR, NOW + 2 * HOUR, True),
    ],
    ids=["before", "in the grain of the store's clock", "at once", "later", "at its end", "before its end"],
)
def test_a_signer_counts_while_it_is_valid(
    received: datetime, until: datetime | None, *, valid: bool
) -> None:
    signer = replace(SIGNER, until=json_time(until) if until else None)
    config = replace(ZERO, signers=[signer])
    assert (config.signer(OTHER.public, "writer", received) is signer) == valid
    assert config.signer(OTHER.public, "operator", received) is None
    assert config.signer(ADMIN.public, "writer", received) is None


def test_a_volume_that_is_not_enrolled_is_refused() -> None:
    assert ZERO.limits("files") == VolumeLimits(60, 30)
    with pytest.raises(Refused, match="volume redis"):
        ZERO.limits("redis")


def test_volumes_join_and_none_goes_nor_gets_shorter_limits() -> None:
    wanted = {"files": VolumeLimits(30, 90), "redis": VolumeLimits(0, 10)}
    assert ZERO.with_volumes(wanted) == {"files": VolumeLimits(60, 90), "redis": VolumeLimits(0, 10)}
    assert ZERO.with_volumes({}) == ZERO.volumes


def test_every_kind_has_roles_that_may_sign_it_and_only_the_admin_signs_configs() -> None:
    assert configs.MAY_SIGN["config"] == configs.MAY_SIGN["rewrap"] == {"admin"}
    assert all(roles for roles in configs.MAY_SIGN.values())
    assert [key.public for key in ZERO.recipient_keys()] == [bytes.fromhex("ab" * 32)]
