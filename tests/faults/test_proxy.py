"""The proxy is seen to do what it is told; what the S3 tests use of it is seen there."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.faults.proxy import Answer, Delay, FaultProxy


class _Upstream(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"fine")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class has it
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    thread = Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with FaultProxy(f"http://127.0.0.1:{upstream.server_address[1]}") as proxy:
        yield proxy
    upstream.shutdown()
    thread.join()
    upstream.server_close()


def ask(proxy: FaultProxy, path: str = "/") -> int:
    try:
        with urllib.request.urlopen(proxy.endpoint + path) as answer:
            assert answer.read() == b"fine"
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def test_a_fault_is_met_by_all_requests_after_those_that_are_spared(proxy: FaultProxy) -> None:
    proxy.inject(Answer(403), times=None, after=2)

    assert [ask(proxy) for _ in range(5)] == [200, 200, 403, 403, 403]
    assert proxy.pending == 0


def test_faults_are_met_in_the_order_in_which_they_were_injected(proxy: FaultProxy) -> None:
    proxy.inject(Answer(503), times=2)
    proxy.inject(Answer(403), when="/secret")

    assert proxy.pending == 3
    assert [ask(proxy, "/secret") for _ in range(4)] == [503, 503, 403, 200]
    assert proxy.pending == 0


def test_only_requests_that_are_meant_are_counted(proxy: FaultProxy) -> None:
    proxy.inject(Answer(403), times=None, when="GET /a", after=1)

    assert [ask(proxy, path) for path in ("/a", "/b", "/b", "/a")] == [200, 200, 200, 403]


def test_a_delay_lets_the_answer_come_late(proxy: FaultProxy) -> None:
    proxy.inject(Delay(0.2))

    begun = time.monotonic()
    assert ask(proxy) == 200

    assert time.monotonic() - begun >= 0.2


def test_the_proxy_listens_where_it_is_told() -> None:
    with FaultProxy("http://127.0.0.1:1", address="127.0.0.2") as proxy:
        assert proxy.endpoint.startswith("http://127.0.0.2:")
