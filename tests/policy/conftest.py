"""A policy to vary: the tests change one thing of it and look at what follows."""

from collections.abc import Callable
from typing import Any

import pytest

from drtool.policy.schema import Policy

MakePolicy = Callable[..., Policy]


def plain_policy(**changes: Any) -> dict[str, Any]:
    policy = {
        "version": 1,
        "name": "forum",
        "repository": {"url": "s3://bucket/forum", "endpoint": "https://s3.example:9000"},
        "objectives": {"rpo": "15m", "rto": "1h", "max_skew": "15m"},
        "volumes": [{"name": "redis", "source": "redis", "host": "redis"}],
        "notify": [{"url": {"env": "NOTIFY"}}],
        "heartbeat": {"url": {"env": "HEARTBEAT"}},
        "drill": {"every": "90d", "namespace": "forum-drill"},
        "kubernetes": {"namespace": "forum"},
    }
    return {key: value for key, value in {**policy, **changes}.items() if value is not None}


@pytest.fixture
def make_policy() -> MakePolicy:
    return lambda **changes: Policy.model_validate(plain_policy(**changes))
