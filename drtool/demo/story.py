"""The demo: real servers are backed up, destroyed, restored, and held against what they had called safe.

`play` is the story's table of contents. All that drtool does in it, the command line does, as a user would.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drtool.demo import broker
from drtool.demo.console import Console
from drtool.demo.forum import MEMBERS, THREADS, Forum, read_posts, read_rest
from drtool.demo.ledger import Comparison
from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.redis import RedisServer
from drtool.demo.stage import MAJOR, REDIS, RPO, RTO, Stage
from drtool.errors import DrtoolError, NotProven, ObjectiveMissed
from drtool.operations.session import World
from drtool.policy.durations import brief_duration
from drtool.policy.moments import exact

SPELL_S = 4  # how long the forum is left alone with its writers, twice
SLOWEST = 50  # commits a second; fewer would prove little
KIT = "--recovery-key-file kit.txt"


@dataclass(frozen=True, slots=True)
class Scene:
    """What every act needs: where it plays, who speaks, and the forum on its two servers."""

    stage: Stage
    console: Console
    world: World
    postgres: PostgresServer
    redis: RedisServer
    forum: Forum


@dataclass(frozen=True, slots=True)
class Safe:
    """What must come back: all that was acknowledged before `before`, what Redis held, and a moment to go back to."""

    before: datetime
    redis: broker.Held
    redis_at: datetime
    moment: datetime


@dataclass(frozen=True, slots=True)
class Disaster:
    """When the servers were killed (began: on the stopwatch), and what the members and threads were."""

    at: datetime
    began: float
    rest: list[object]


def play(world: World, keep: bool) -> None:  # noqa: FBT001 - the command's one option
    """Play the demo on this machine; keep leaves its files behind.

    Raises NotProven if anything came back wrong, ObjectiveMissed if it took longer than promised.
    """
    with Stage.make(keep=keep) as stage:
        console = Console(stage.directory, stage.environment(world.environment))
        try:
            scene = _build(stage, console, world)
            try:
                safe = _protect(scene)
                disaster = _lose(scene)
            finally:
                scene.forum.close()
            _restore_newest(scene, safe, disaster)
            _restore_moment(scene, safe)
            console.chapter("Every check held.")
        finally:
            if keep:
                console.say(f"The files of this demo are in {stage.directory}; its servers are stopped.")


def _build(stage: Stage, console: Console, world: World) -> Scene:
    console.chapter(
        f"1. A small forum on PostgreSQL {MAJOR} and Redis {REDIS}, and an S3 store for its backups"
    )
    postgres, redis = stage.start()
    forum = Forum(postgres, world.clock)
    forum.create(stage.passwords["role"])
    broker.fill(redis, tasks=range(300), sessions=range(200))
    console.say(
        f"{MEMBERS} members, {THREADS} threads, {len(forum.ledger)} posts; 300 queued tasks, 200 sessions"
    )
    return Scene(stage, console, world, postgres, redis, forum)


def _protect(scene: Scene) -> Safe:
    console, forum = scene.console, scene.forum
    console.chapter(
        "2. Back it up, encrypted, while people go on posting; a ledger outside notes each commit"
    )
    console.drtool("policy check")
    console.drtool("init --bundle writer.json --kit-file kit.txt")
    began, posts = time.monotonic(), len(forum.ledger)
    forum.open()
    console.drtool("backup")
    time.sleep(SPELL_S)
    console.drtool("wal catch-up")
    time.sleep(SPELL_S / 2)
    moment = forum.quiet_moment()
    console.say(f"(this moment is remembered: {exact(moment)})")
    time.sleep(SPELL_S / 2)
    before = scene.world.clock()
    console.drtool("wal catch-up")
    held, redis_at = _backup_redis(scene)
    console.drtool("status")
    console.drtool("points")
    forum.check_open()
    rate = (len(forum.ledger) - posts) / (time.monotonic() - began)
    console.say(f"the ledger has {len(forum.ledger)} posts by now; they came at {rate:.0f} commits a second")
    if rate < SLOWEST:
        raise DrtoolError(f"this machine took {rate:.0f} commits a second, fewer than {SLOWEST}")
    return Safe(before, held, redis_at, moment)


def _backup_redis(scene: Scene) -> tuple[broker.Held, datetime]:
    """Return what Redis held when it was captured once more, and when. What comes later will be lost."""
    broker.fill(scene.redis, tasks=range(300, 320), sessions=range(200, 210))
    held = broker.read_all(scene.redis)
    saved = scene.console.drtool("backup redis")["volumes"][0]
    broker.fill(scene.redis, tasks=range(320, 325), sessions=range(210, 212))
    return held, datetime.fromisoformat(saved["moment"])


def _lose(scene: Scene) -> Disaster:
    scene.console.chapter("3. Disaster: both servers are killed (kill -9), and all their data is deleted")
    rest = read_rest(scene.postgres)
    disaster = Disaster(scene.world.clock(), time.monotonic(), rest)
    scene.stage.lose(scene.postgres, scene.redis)
    return disaster


def _restore_newest(scene: Scene, safe: Safe, disaster: Disaster) -> None:
    console, stage = scene.console, scene.stage
    console.chapter("4. Get it back: the newest there is, from nothing but the store and the recovery kit")
    answers = [
        console.drtool(f"restore postgres --to-dir {stage.directory}/newest {KIT}"),
        console.drtool(f"restore redis --to-dir {stage.directory}/redis-newest/data {KIT}"),
    ]
    postgres, redis = stage.start_postgres("newest", scene.postgres), stage.start_redis("redis-newest")
    rto = timedelta(seconds=time.monotonic() - disaster.began)
    console.say(f"drtool's own proofs: {', '.join(_proofs(answers))}")
    found = scene.forum.ledger.compare(read_posts(postgres))
    _check_newest(found, safe, rest_is_same=read_rest(postgres) == disaster.rest)
    _check_redis(safe, broker.read_all(redis))
    lost = disaster.at - found.lost[0] if found.lost else timedelta(0)
    console.say(
        f"against the ledger: {found.intact} posts are back, row by row; {len(found.lost)} are lost, all of the "
        f"last {brief_duration(lost)}, behind the last catch-up"
    )
    lost_redis = disaster.at - safe.redis_at
    console.say(
        f"Redis: all {len(safe.redis)} keys are as they were at its backup, {brief_duration(lost_redis)} before"
    )
    _judge(console, max(lost, lost_redis), rto)


def _proofs(answers: list[dict[str, Any]]) -> list[str]:
    """Return what was proven, without what each proof was about."""
    names = [proof["name"] for answer in answers for proof in answer["restore"]["proofs"]]
    return list(dict.fromkeys(name.partition(" of ")[0].partition(" with ")[0] for name in names))


def _check_newest(found: Comparison, safe: Safe, *, rest_is_same: bool) -> None:
    early = [moment for moment in found.lost if moment <= safe.before]
    if early or found.altered or found.unknown or not rest_is_same:
        raise NotProven(
            f"what came back is not what was safe: {len(early)} posts are missing that were durable, "
            f"{len(found.altered)} altered, {len(found.unknown)} unknown; members and threads: "
            f"{'the same' if rest_is_same else 'not the same'}"
        )


def _check_redis(safe: Safe, found: broker.Held) -> None:
    wrong = broker.differences(safe.redis, found)
    if wrong:
        raise NotProven(f"{len(wrong)} keys of Redis are not what they were: {', '.join(wrong[:5])}")


def _judge(console: Console, rpo: timedelta, rto: timedelta) -> None:
    console.say(
        f"achieved: RPO {brief_duration(rpo)} (promised {brief_duration(RPO)}), RTO {brief_duration(rto)} from the "
        f"kill until both servers answered (promised {brief_duration(RTO)})"
    )
    if rpo > RPO or rto > RTO:
        raise ObjectiveMissed("the demo's own policy promises less loss, or a faster return")


def _restore_moment(scene: Scene, safe: Safe) -> None:
    console, stage = scene.console, scene.stage
    console.chapter("5. And once more, as it was at the moment that was remembered")
    console.drtool(f"restore postgres --to-dir {stage.directory}/earlier --at {exact(safe.moment)} {KIT}")
    then = scene.forum.ledger.until(safe.moment)
    found = then.compare(read_posts(stage.start_postgres("earlier", scene.postgres)))
    if not found.is_exact:
        raise NotProven(
            f"of the {len(then)} posts of {exact(safe.moment)} {len(found.lost)} are missing and "
            f"{len(found.altered)} altered; {len(found.unknown)} are there that came later"
        )
    console.say(
        f"exactly the {found.intact} posts that were acknowledged by then, and not one that came later"
    )
