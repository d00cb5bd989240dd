"""The pods of a mover, watched over an API: their last words, their results, and what keeps them from starting."""

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from drtool.cli.progress import LineProgress
from drtool.errors import DrtoolError, NotProven, Refused, TemporaryFailure
from drtool.operations.cluster_restore import mover_watch
from drtool.operations.cluster_restore.mover_watch import Watch
from drtool.operations.mover_progress import Moved, from_line, to_line
from drtool.operations.session import Silent, World
from drtool.sources.kubernetes.client import Cluster
from tests.sources.kubernetes.api import Api
from tests.sources.kubernetes.living import Living

PODS = "/api/v1/namespaces/shop/pods"
EVENTS = "/api/v1/namespaces/shop/events"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.phases: list[str] = []
        self.moved: list[int] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append(name)

    def advance(self, size: int) -> None:
        self.moved.append(size)


def pod(name: str, phase: str, made: str = "2026-01-01T00:00:00Z", **state: Any) -> dict[str, Any]:
    status = {"phase": phase, "containerStatuses": [{"name": "drtool", "state": state}]}
    return {"metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": made}, "status": status}


def event(of: str, uid: str, message: str, reason: str) -> dict[str, Any]:
    involved = {"name": of, "uid": uid}
    return {"metadata": {}, "involvedObject": involved, "reason": reason, "message": message}


@pytest.fixture
def api() -> Iterator[Api]:
    with Api({}) as made:
        yield made


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def watch(api: Api, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setattr(mover_watch, "_PAUSE_S", 0.0)
    world = World(lambda: datetime.now(UTC), {}, notes)
    with Cluster.open(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}) as cluster:
        yield Watch(cluster, "shop", "mover", {"drtool.io/run": "r1"}, world)


def serve(api: Api, *pods: dict[str, Any], **logs: str) -> None:
    api.answers[PODS] = {"items": list(pods)}
    for name, text in logs.items():
        api.answers[f"{PODS}/{name}/log"] = {"raw": text}


def test_the_last_line_of_the_newest_pod_is_shown_once(watch: Watch, api: Api, notes: Notes) -> None:
    old = pod("old", "Failed", "2025-01-01T00:00:00Z")
    for _ in range(2):
        serve(api, pod("new", "Running"), old, new="before\nwriting\n")
        watch.look()
    serve(api, pod("new", "Running"), new='{"restore": {}}\n')
    watch.look()
    assert notes.phases == ["writing"]
    assert "labelSelector=drtool.io%2Frun%3Dr1" in api.asked[-2]


def test_the_bytes_of_a_mover_are_counted_once_and_anew_with_a_pod_that_begins_anew(
    watch: Watch, api: Api, notes: Notes
) -> None:
    old = pod("old", "Running", "2025-01-01T00:00:00Z")
    for size in (0, 100, 100, 250):
        serve(api, old, old=f"note: x\n{to_line(Moved('writing', size))}\n")
        watch.look()
    assert (notes.phases, sum(notes.moved)) == (["writing"], 250)

    serve(api, old, pod("new", "Running"), new=to_line(Moved("writing", 40)))
    watch.look()
    assert sum(notes.moved) == 40
    serve(api, pod("new", "Running"), new=to_line(Moved("proving", 60)))
    watch.look()
    assert (notes.phases, sum(notes.moved)) == (["writing", "proving"], 60)
    for size in (90, 90, 80):
        watch.count_all(size)
    assert sum(notes.moved) == 90
    assert from_line('{"restore": {}}') is None


def test_who_waits_for_a_mover_sees_bytes_rate_time_left_and_the_objective(
    watch: Watch, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal: lines at their time, and none for each look at the mover."""
    progress = LineProgress(every_s=0.2)
    progress.promise(timedelta(hours=1), timedelta(0))
    progress.phase("data", 8192)
    told, looks, began = "", 0, time.monotonic()
    with progress.step("restore db", 8192) as step:
        watch.world = replace(watch.world, progress=step)
        while not re.search(r"^data: 4\.0 KiB", told, re.MULTILINE) and time.monotonic() < began + 30:
            looks += 1
            serve(api, pod("it", "Running"), it=to_line(Moved("writing", min(looks * 1024, 4096))))
            watch.look()
            told += capsys.readouterr().err
    progress.close()
    ticks = (time.monotonic() - began) / 0.2 + 1
    assert re.search(
        r"^restore db: writing: 4\.0 KiB of 8\.0 KiB \(50 %\), .*/s, .* left$", told, re.MULTILINE
    )
    assert re.search(
        r"^data: 4\.0 KiB of 8\.0 KiB \(50 %\), .*/s, .* left; 59 min .* of 1 h left$", told, re.MULTILINE
    )
    assert told.count("restore db: writing: ") <= ticks


def test_the_result_is_the_last_line_of_the_pod_that_ended_well(watch: Watch, api: Api) -> None:
    serve(api, pod("it", "Succeeded"), it='restored\n{"restore": {"proofs": [1]}}\n')
    assert watch.result() == {"proofs": [1]}
    serve(api, pod("it", "Succeeded"), it="")
    with pytest.raises(TemporaryFailure, match="its log is gone"):
        watch.result()


@pytest.mark.parametrize(("code", "kind"), [(4, NotProven), (5, Refused), (1, DrtoolError)])
def test_a_failure_is_told_in_the_movers_own_words(watch: Watch, api: Api, code: int, kind: type) -> None:
    word = "error: it is not empty; hint: Empty it."
    serve(api, pod("it", "Failed", terminated={"exitCode": code, "message": word}))
    found = watch.failure("pg")
    assert type(found) is kind
    assert found.message == "the mover of volume pg failed: it is not empty"
    assert found.hint == "Empty it."


def test_a_pod_that_its_node_put_out_tells_why(watch: Watch, api: Api) -> None:
    said = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on ephemeral-storage."}
    serve(api, {**pod("it", "Failed"), "status": said})
    assert "low on ephemeral-storage" in watch.failure("pg").message


def test_a_job_that_gets_no_pod_is_told_and_waited_for_until_the_limit(
    watch: Watch, api: Api, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers[f"{JOBS}/mover"] = {"metadata": {"name": "mover", "uid": "uid-job"}}
    api.answers[EVENTS] = {"items": []}
    serve(api)
    watch.look()
    assert notes.said == []  # it may come in a moment
    refused = {"reason": "FailedCreate", "message": 'pods "mover-x" is forbidden: exceeded quota: small'}
    api.answers[EVENTS] = {"items": [refused]}
    for _ in range(2):
        watch.look()
    assert notes.said == [f"Job mover gets no pod: {refused['message']}"]
    assert "involvedObject.name%3Dmover%2CinvolvedObject.uid%3Duid-job" in "".join(api.asked[-3:])
    monkeypatch.setattr(mover_watch, "_STUCK_S", -1.0)
    with pytest.raises(TemporaryFailure, match="exceeded quota: small"):
        watch.look()


def test_a_job_that_has_to_wait_for_others_of_its_run_is_waited_for(
    notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover_watch, "_PAUSE_S", 0.0)
    monkeypatch.setattr(time, "monotonic", count(step=mover_watch._STUCK_S / 4).__next__)
    other = pod("other", "Running")
    other["metadata"]["labels"] = {"drtool.io/run": "r1", "drtool.io/volume": "b"}
    refused = event("mover", "uid-job", "exceeded quota: small", "FailedCreate")
    job = {"metadata": {"name": "mover", "uid": "uid-job"}}
    labels = {"drtool.io/run": "r1", "drtool.io/volume": "a"}
    world = World(lambda: datetime.now(UTC), {}, notes)
    with (
        Living({PODS: [other], EVENTS: [refused], JOBS: [job]}, {}) as living,
        Cluster.open(None, {"KUBECONFIG": str(living.kubeconfig(tmp_path))}) as cluster,
    ):
        watch = Watch(cluster, "shop", "mover", labels, world)
        for _ in range(9):
            watch.look()
        living.collections[PODS].clear()
        with pytest.raises(TemporaryFailure, match="exceeded quota: small"):
            deque(iter(watch.look, "an end"), maxlen=0)
    assert notes.said == ["Job mover gets no pod: exceeded quota: small"]


def test_what_was_said_of_an_earlier_job_or_pod_of_the_name_is_not_told_of_the_present_one(
    notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover_watch, "_PAUSE_S", 0.0)
    earlier = [
        event("mover", "uid-gone", "exceeded quota: small", "FailedCreate"),
        event("it", "uid-gone", 'secret "key" not found', "FailedMount"),
    ]
    collections = {PODS: [], EVENTS: earlier, JOBS: [{"metadata": {"name": "mover", "uid": "uid-job"}}]}
    world = World(lambda: datetime.now(UTC), {}, notes)
    with (
        Living(collections, {f"{PODS}/it/log": {"raw": ""}}) as living,
        Cluster.open(None, {"KUBECONFIG": str(living.kubeconfig(tmp_path))}) as cluster,
    ):
        watch = Watch(cluster, "shop", "mover", {}, world)
        watch.look()
        starting = {"reason": "ContainerCreating"}
        living.collections[PODS].append(pod("it", "Pending", waiting=starting))
        watch.look()
        assert notes.said == []
        own = event("it", "uid-it", 'secret "mine" not found', "FailedMount")
        living.collections[EVENTS].append(own)
        watch.look()
    assert len(notes.said) == 1
    assert "mine" in notes.said[0]


def test_a_pod_that_is_asked_and_deleted_is_not_waited_for(watch: Watch) -> None:
    with pytest.raises(TemporaryFailure, match="asking: its pod was deleted by somebody"):
        watch.last_word("ask", "asking")


@pytest.mark.parametrize(
    ("reason", "told", "hint"),
    [
        ("Error", "it ended with 137, and said nothing", ""),
        ("OOMKilled", "pod it was killed, for it took more memory than its limit", "Raise the memory limit."),
    ],
)
def test_a_mover_that_was_killed_is_told_as_its_pod_has_it(
    watch: Watch, api: Api, reason: str, told: str, hint: str
) -> None:
    serve(api, pod("it", "Failed", terminated={"exitCode": 137, "reason": reason}))
    found = watch.failure("pg")
    assert (found.message, found.hint) == (f"the mover of volume pg failed: {told}", hint)


def test_a_failure_without_a_pod_is_told_all_the_same(watch: Watch, api: Api) -> None:
    serve(api)
    assert "no pod of it is left" in watch.failure("pg").message


def test_a_pod_that_does_not_start_is_told_and_waited_for_until_the_limit(
    watch: Watch, api: Api, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    api.answers[EVENTS] = {"items": []}
    serve(api, pod("it", "Pending", waiting=waiting), it="")
    watch.look()
    assert len(notes.said) == 1
    assert "its image cannot be pulled" in notes.said[0]
    monkeypatch.setattr(mover_watch, "_STUCK_S", -1.0)
    with pytest.raises(TemporaryFailure, match="its image cannot be pulled"):
        watch.look()


def test_a_node_that_says_nothing_is_waited_for_until_the_limit_and_then_named(
    watch: Watch, api: Api, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {**pod("it", "Running"), "spec": {"nodeName": "b2"}}
    serve(api, lost)
    api.away.add(f"{PODS}/it/log")
    watch.look()
    assert notes.said == []  # it may have been the API server, which has yet to answer something else
    watch.look()
    watch.look()
    assert notes.said == ["pod it is on node b2, which says nothing"]
    monkeypatch.setattr(mover_watch, "_STUCK_S", -1.0)
    with pytest.raises(TemporaryFailure, match="on node b2, which says nothing") as raised:
        watch.look()
    assert "delete pod it --force" in raised.value.hint


def test_a_node_that_speaks_again_has_all_its_time_again(
    watch: Watch, api: Api, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(api, {**pod("it", "Running"), "spec": {"nodeName": "b2"}}, it="writing\n")
    api.away.add(f"{PODS}/it/log")
    watch.look()
    api.away.clear()
    watch.look()
    assert notes.phases == ["writing"]
    monkeypatch.setattr(mover_watch, "_STUCK_S", -1.0)
    api.away.add(f"{PODS}/it/log")
    watch.look()


def test_a_pod_that_is_asked_and_never_ends_is_not_waited_for_for_ever(
    watch: Watch, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover_watch, "_ASKED_S", -1.0)
    api.answers[f"{PODS}/ask"] = pod("ask", "Running", running={})
    with pytest.raises(TemporaryFailure, match="asking: pod ask did not end"):
        watch.last_word("ask", "asking")


def test_the_answer_of_a_pod_that_was_asked_is_its_last_word(watch: Watch, api: Api) -> None:
    api.answers[f"{PODS}/ask"] = pod("ask", "Succeeded", terminated={"exitCode": 0, "message": "999 999"})
    assert watch.last_word("ask", "asking") == "999 999"
    api.answers[f"{PODS}/ask"] = pod("ask", "Failed", terminated={"exitCode": 127})
    with pytest.raises(Refused, match="asking: it ended with 127"):
        watch.last_word("ask", "asking")


def test_who_is_asked_to_end_leaves_the_movers_at_work(watch: Watch, api: Api) -> None:
    watch.world.ending.set()
    api.answers[f"{PODS}/ask"] = pod("ask", "Running", running={})
    with pytest.raises(TemporaryFailure, match="the movers are at work"):
        watch.last_word("ask", "asking")
