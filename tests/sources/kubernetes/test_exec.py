"""Commands in pods: their output, how they ended, and what it means when nobody says how."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.kubernetes.exec import KEPT, Executed, execute
from drtool.sources.kubernetes.faults import Absent, Forbidden
from tests.sources.kubernetes.api import write_kubeconfig
from tests.sources.kubernetes.conftest import OpenCluster
from tests.sources.kubernetes.exec_server import exec_server

OK = b"\x03" + json.dumps({"status": "Success"}).encode()
POD = ("shop", "web-0", "web")


def failed(code: int) -> bytes:
    details = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    told = {"status": "Failure", "reason": "NonZeroExitCode", "message": "no", "details": details}
    return b"\x03" + json.dumps(told).encode()


def run(
    open_cluster: OpenCluster,
    folder: Path,
    url: str,
    deadline_s: float = 10,
    ending: threading.Event | None = None,
) -> Executed:
    cluster = open_cluster(None, {"KUBECONFIG": str(write_kubeconfig(folder, url))}, patience_s=1)
    argv = ("sh", "-c", "echo a&b")
    return execute(cluster, POD, argv, deadline_s=deadline_s, ending=ending or threading.Event())


def test_a_command_is_run_as_it_stands_and_its_outputs_are_told_apart(
    open_cluster: OpenCluster, tmp_path: Path
) -> None:
    with exec_server(pieces=[b"\x01a", b"\x02wrong", b"\x01", b"\x01b", OK]) as server:
        found = run(open_cluster, tmp_path, server.url)

    assert (found.exit_code, found.stdout, found.stderr) == (0, b"ab", b"wrong")
    (asked,) = server.asked
    assert asked.startswith("/api/v1/namespaces/shop/pods/web-0/exec?container=web&stdout=true&stderr=true&")
    assert asked.endswith("&command=sh&command=-c&command=echo+a%26b")
    assert server.authorizations == ["Bearer first"]


def test_the_exit_code_of_a_command_that_failed_is_told(open_cluster: OpenCluster, tmp_path: Path) -> None:
    with exec_server(pieces=[b"\x02no such table", failed(3)]) as server:
        found = run(open_cluster, tmp_path, server.url)
    assert (found.exit_code, found.stderr) == (3, b"no such table")


def test_of_much_output_the_end_is_kept(open_cluster: OpenCluster, tmp_path: Path) -> None:
    with exec_server(pieces=[b"\x01" + bytes([number]) * 30_000 for number in range(5)] + [OK]) as server:
        found = run(open_cluster, tmp_path, server.url)
    assert len(found.stdout) == KEPT
    assert found.stdout.endswith(bytes([4]) * 30_000)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (403, Forbidden, "not allowed to run sh in pod web-0"),
        (404, Absent, "cannot run sh in pod web-0: gone"),
    ],
)
def test_what_the_server_refuses_is_told_at_once(
    open_cluster: OpenCluster, tmp_path: Path, code: int, kind: type[Exception], message: str
) -> None:
    with (
        exec_server(refusal=(code, json.dumps({"message": "gone"}).encode())) as server,
        pytest.raises(kind, match=message),
    ):
        run(open_cluster, tmp_path, server.url)
    assert len(server.asked) == 1


def test_a_server_that_is_not_itself_is_not_asked_twice(open_cluster: OpenCluster, tmp_path: Path) -> None:
    with (
        exec_server(refusal=(500, json.dumps({"message": "dial tcp: refused"}).encode())) as server,
        pytest.raises(TemporaryFailure, match="cannot run sh in pod web-0: dial tcp: refused"),
    ):
        run(open_cluster, tmp_path, server.url)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "status",
    [{"status": "Failure", "message": "executable not found"}, {"status": "Failure"}, [], "no json"],
)
def test_a_command_that_was_never_run_has_no_exit_code(
    open_cluster: OpenCluster, tmp_path: Path, status: Any
) -> None:
    said = b"\x03" + (status if isinstance(status, str) else json.dumps(status)).encode()
    with (
        exec_server(pieces=[said]) as server,
        pytest.raises(SourceUnavailable, match="cannot run sh in pod web-0: "),
    ):
        run(open_cluster, tmp_path, server.url)


def test_a_stream_that_breaks_off_is_no_success(open_cluster: OpenCluster, tmp_path: Path) -> None:
    hang = threading.Event()
    hang.set()
    with (
        exec_server(pieces=[b"\x01half"], hang=hang) as server,
        pytest.raises(TemporaryFailure, match="the connection broke") as caught,
    ):
        run(open_cluster, tmp_path, server.url)
    assert "still be at work" in caught.value.hint


def test_a_command_has_its_time_and_ctrl_c_ends_the_wait(open_cluster: OpenCluster, tmp_path: Path) -> None:
    ending = threading.Event()
    ending.set()
    with exec_server() as server:
        with pytest.raises(TemporaryFailure, match="it has not ended in time"):
            run(open_cluster, tmp_path, server.url, deadline_s=0.2)
        with pytest.raises(TemporaryFailure, match="drtool was asked to end"):
            run(open_cluster, tmp_path, server.url, ending=ending)


def test_a_server_that_speaks_no_websocket_is_told(open_cluster: OpenCluster, tmp_path: Path) -> None:
    with (
        exec_server(refusal=(200, b"{}")) as server,
        pytest.raises((TemporaryFailure, SourceUnavailable), match="run sh in pod web-0"),
    ):
        run(open_cluster, tmp_path, server.url)
