"""`drtool queues` and what a restore's own pod runs, on a real Redis with messages as Celery writes them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from drtool.cli.main import drtool
from drtool.demo.servers.redis import RedisServer, redis_program

POLICY = """\
version: 1
name: shop
repository: {{url: "file:///srv"}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - {{name: redis, source: redis, host: 127.0.0.1, port: {port}, broker: hold, password: {{env: REDIS_PASSWORD}}}}
  - {{name: files, source: files, path: /srv}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer.create(redis_program("7.0"), tmp_path / "redis", {"save": ""}, password="hidden")
    server.start()
    with Redis(port=server.port, password="hidden") as redis:
        redis.lpush("celery", "one", "two")
    (tmp_path / "policy.yaml").write_text(POLICY.format(port=server.port))
    yield server
    server.kill()


def run(folder: Path, *words: str, code: int = 0) -> str:
    environment = {"REDIS_PASSWORD": "hidden", "DRTOOL_POLICY": str(folder / "policy.yaml")}
    found = CliRunner().invoke(drtool, list(words), env=environment)
    assert found.exit_code == code, found.output
    return found.stdout if code == 0 else found.output


def test_held_queues_are_listed_given_back_and_deleted(server: RedisServer, tmp_path: Path) -> None:
    volume = {"name": "r", "source": "redis", "host": "127.0.0.1", "port": server.port}
    told = json.dumps({**volume, "password": {"env": "REDIS_PASSWORD"}})

    held = json.loads(run(tmp_path, "mover", "queues", "hold", told).splitlines()[-1])
    assert held["queues"] == [{"database": 0, "name": "celery", "messages": 2, "is_held": False}]
    listed = json.loads(run(tmp_path, "queues", "list", "redis", "--json"))
    assert [(each["name"], each["is_held"]) for each in listed["queues"]] == [("celery", True)]
    assert "2 messages of redis would be given back" in run(
        tmp_path, "queues", "release", "redis", "--dry-run"
    )
    assert "2 messages of redis are given back" in run(tmp_path, "queues", "release", "redis")
    assert "0 messages of redis are given back" in run(tmp_path, "queues", "release", "redis")

    run(tmp_path, "mover", "queues", "hold", told)
    assert "2 messages of redis are deleted" in run(tmp_path, "queues", "purge", "redis")
    assert "0 messages of redis are there" in run(tmp_path, "queues", "list", "redis")


def test_a_queue_of_any_name_is_told_in_one_line(server: RedisServer, tmp_path: Path) -> None:
    with Redis(port=server.port, password="hidden") as redis:
        redis.sadd("_kombu.binding.odd", "key\x06\x16\x06\x16one\u2028two")
        redis.lpush("one\u2028two", "three")
    volume = {"name": "r", "source": "redis", "host": "127.0.0.1", "port": server.port}
    told = json.dumps({**volume, "password": {"env": "REDIS_PASSWORD"}})

    last = run(tmp_path, "mover", "queues", "list", told).splitlines()[-1]

    assert {each["name"] for each in json.loads(last)["queues"]} == {"celery", "one\u2028two"}


def test_what_has_no_queues_is_refused(server: RedisServer, tmp_path: Path) -> None:
    assert server.port
    said = run(tmp_path, "queues", "list", "files", code=2)
    assert "volume files is of source files, and only redis has queues" in said
    assert "this is no volume of Redis" in run(tmp_path, "mover", "queues", "list", "{}", code=2)


def test_a_pod_that_asks_in_vain_says_what_was_answered(tmp_path: Path) -> None:
    said = run(tmp_path, "mover", "probe", "http://127.0.0.1:1/", "--limit", "0", code=4)
    assert "http://127.0.0.1:1/ gave no answer" in said
