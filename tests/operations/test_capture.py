"""The span of a point, whatever the clock of the machine says that captured it."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from drtool.operations.capture import capture_volume
from drtool.operations.session import Session, Silent, World
from drtool.policy.load import parse_policy
from drtool.repository.snapshot import Snapshot, read_snapshots
from tests.repository.stage import Clock, make_stage


class Slow(Silent):
    """Lets a minute pass each time that something was read."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.read: list[datetime] = []

    def advance(self, size: int) -> None:
        self.read.append(self.clock())
        self.clock.leap(minutes=1)


@pytest.mark.parametrize("hours", [0, 1, -1])
def test_a_clock_that_is_wrong_makes_no_exposure_smaller(tmp_path: Path, hours: int) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    stage = make_stage()
    volume = {"name": "files", "source": "files", "path": str(tmp_path)}
    text = json.dumps(
        {
            "version": 1,
            "name": "forum",
            "repository": {"url": "file:///unused"},
            "objectives": {"rpo": "15m", "rto": "1h"},
            "volumes": [volume],
        }
    )
    policy, slow = parse_policy(text, "policy"), Slow(stage.clock)
    world = World(lambda: stage.clock() + timedelta(hours=hours), {}, slow)
    capture_volume(Session(policy, text, stage.writer(), world), policy.volume("files"), None)
    [point] = read_snapshots(stage.writer().records, "files")
    assert isinstance(point, Snapshot)
    assert point.begin <= slow.read[0], "what was written after this is not in the point"
    assert slow.read[1] <= point.end <= stage.clock()
