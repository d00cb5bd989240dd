"""The load generator against a site that goes wrong: what it notes is the truth, and it holds its pace."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from drtool.demo.servers.process import wait_until
from drtool.errors import Refused, UsageError
from tests.cluster.load import faulty_site
from tests.cluster.load.__main__ import main
from tests.cluster.load.compare import Comparison, compare
from tests.cluster.load.faulty_site import PASSWORD, FaultySite, Handler
from tests.cluster.load.generator import Generator, Pacer, compose
from tests.cluster.load.inventory import ask_site
from tests.cluster.load.ledger import KINDS, Kind, LedgerFile, read_ledger
from tests.cluster.load.site import Connection, Session, Site, Unavailable

FAST: dict[Kind, float] = {"posts": 300, "uploads": 60, "tasks": 60}
VARIABLE = "PASSWORD_OF_THE_TEST"


@pytest.fixture
def site() -> Iterator[FaultySite]:
    with FaultySite().serve() as site:
        yield site


def write(
    site: FaultySite,
    path: Path,
    until: Callable[[Generator], bool],
    pace: Mapping[Kind, float] = FAST,
    timeout_s: float = 10,
) -> Generator:
    """Write until the condition holds: a busy machine may need long, so no test waits for a time."""
    with LedgerFile(path) as ledger:
        generator = Generator(Site(site.url, timeout_s=timeout_s), Session("user", PASSWORD), ledger, pace)
        generator.start()
        try:
            wait_until(lambda: generator.is_stopped or until(generator), "enough is written", deadline_s=60)
        finally:
            generator.stop()
    return generator


def acknowledged(number: int, kinds: Iterable[Kind] = KINDS) -> Callable[[Generator], bool]:
    """Return the condition that so many writes of each kind are acknowledged."""
    return lambda generator: all(generator.achieved()[kind]["acknowledged"] >= number for kind in kinds)


def repeated(generator: Generator) -> float:
    return sum(each["repeated"] for each in generator.achieved().values())


def judge(site: FaultySite, path: Path) -> Comparison:
    return compare(read_ledger(path), {kind: ask_site(Site(site.url), kind) for kind in KINDS})


def test_a_site_without_a_fault_gets_each_write_once_over_one_session(
    site: FaultySite, tmp_path: Path
) -> None:
    generator = write(site, tmp_path / "ledger", acknowledged(20))
    verdict = judge(site, tmp_path / "ledger")

    assert verdict.is_exact
    for kind in KINDS:
        assert verdict.of(kind).intact == generator.achieved()[kind]["acknowledged"]
    assert repeated(generator) == 0, generator.last_trouble
    assert site.logins == 1


def test_the_pace_is_held(site: FaultySite, tmp_path: Path) -> None:
    pace: dict[Kind, float] = {"posts": 55, "uploads": 6, "tasks": 3}
    wanted: dict[Kind, float] = {"posts": 50, "uploads": 5, "tasks": 2}

    def holds(attempt: int) -> bool:
        end = time.monotonic() + 2
        generator = write(site, tmp_path / f"{attempt}", lambda _: time.monotonic() > end, pace)
        rates = {kind: each["a_second"] for kind, each in generator.achieved().items()}
        assert all(rates[kind] <= pace[kind] + 1 for kind in KINDS)
        return all(rates[kind] >= wanted[kind] for kind in KINDS)

    assert any(map(holds, range(5)))  # a busy machine may spoil some


def test_a_kind_at_pace_0_is_not_written(site: FaultySite, tmp_path: Path) -> None:
    write(site, tmp_path / "ledger", acknowledged(5, ["posts"]), {"posts": 100, "uploads": 0, "tasks": 0})

    assert {each.kind for each in read_ledger(tmp_path / "ledger").writes.values()} == {"posts"}


@pytest.mark.parametrize(
    "fault",
    [
        faulty_site.refuse,
        faulty_site.hang_up,
        faulty_site.write_and_hang_up,
        faulty_site.write_and_cut_the_answer,
        faulty_site.answer_as_another,
        faulty_site.answer_about_another,
        faulty_site.forget_sessions,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_write_that_fails_is_repeated_under_its_identity_until_it_is_acknowledged(
    site: FaultySite, tmp_path: Path, fault: Callable[[Handler], None]
) -> None:
    site.faults = {5: fault}
    enough = acknowledged(10)
    generator = write(
        site, tmp_path / "ledger", lambda generator: enough(generator) and repeated(generator) >= 10
    )
    verdict = judge(site, tmp_path / "ledger")

    assert verdict.is_exact
    assert generator.last_trouble
    for kind in KINDS:
        assert verdict.of(kind).acknowledged == generator.achieved()[kind]["acknowledged"]


def test_a_site_that_does_not_answer_in_time_is_asked_again(site: FaultySite, tmp_path: Path) -> None:
    site.faults = {10: faulty_site.never_answer}
    few_threads: dict[Kind, float] = {"posts": 30}  # so few that each meets the fault
    generator = write(site, tmp_path / "ledger", lambda _: site.writes >= 70, few_threads, timeout_s=0.5)

    assert judge(site, tmp_path / "ledger").is_exact
    assert repeated(generator)
    assert "does not answer" in generator.last_trouble


@pytest.mark.parametrize(
    ("fault", "name"), [(faulty_site.store_twice, "twice"), (faulty_site.forget, "missing")]
)
def test_a_site_that_lies_is_found_out(
    site: FaultySite, tmp_path: Path, fault: Callable[[Handler], None], name: str
) -> None:
    site.faults = {10: fault}
    write(site, tmp_path / "ledger", lambda _: site.writes >= 40)
    verdict = judge(site, tmp_path / "ledger")

    assert not verdict.is_exact
    assert any(getattr(each, name) for each in verdict.kinds)


def test_a_file_that_is_altered_or_gone_is_found_though_its_row_is_there(
    site: FaultySite, tmp_path: Path
) -> None:
    write(site, tmp_path / "ledger", acknowledged(3, ["uploads"]))
    first, second = list(site.files)[:2]
    site.files[first] += b"!"
    del site.files[second]
    uploads = judge(site, tmp_path / "ledger").of("uploads")

    assert uploads.altered == (first.rpartition("/")[2],)
    assert uploads.without_file == (second.rpartition("/")[2],)
    assert uploads.missing == ()


def test_a_site_that_is_away_is_waited_for_and_what_was_begun_stays_in_doubt(tmp_path: Path) -> None:
    with LedgerFile(tmp_path / "ledger") as ledger:
        site = Site("http://127.0.0.1:1")
        generator = Generator(site, Session("user", PASSWORD), ledger, FAST)
        generator.start()
        wait_until(lambda: repeated(generator) >= 10, "the site was asked for", deadline_s=30)
        generator.stop()
    writes = read_ledger(tmp_path / "ledger").writes.values()

    assert "does not answer" in generator.last_trouble
    assert writes
    assert not any(each.acknowledged for each in writes)


def test_a_refusal_for_good_ends_the_generator_and_is_told(site: FaultySite, tmp_path: Path) -> None:
    site.faults = {20: faulty_site.conflict}
    with pytest.raises(Refused, match="409"):
        write(site, tmp_path / "ledger", lambda _: False)

    with LedgerFile(tmp_path / "ledger") as ledger:
        generator = Generator(Site(site.url), Session("user", "wrong"), ledger)
        generator.start()
        generator.wait(60)
        with pytest.raises(Refused, match="403") as caught:
            generator.stop()
    assert "wrong" not in str(caught.value)


def test_an_abort_does_not_wait_for_an_answer_that_never_comes(site: FaultySite, tmp_path: Path) -> None:
    site.faults = {5: faulty_site.never_answer}
    with LedgerFile(tmp_path / "ledger") as ledger:
        generator = Generator(Site(site.url), Session("user", PASSWORD), ledger, FAST)
        generator.start()
        wait_until(lambda: site.writes >= 10, "the site was written to", deadline_s=10)
        begun = time.monotonic()
        generator.abort()
        wait_until(lambda: not _threads(), "no thread is left", deadline_s=5)
        assert time.monotonic() - begun < 5  # a request may take 10
    verdict = judge(site, tmp_path / "ledger")

    assert verdict.is_exact
    assert any(each.in_doubt for each in verdict.kinds)


def test_a_connection_that_is_aborted_before_it_is_open_sends_nothing(site: FaultySite) -> None:
    connection = Connection(Site(site.url))
    connection.abort()

    with pytest.raises(Unavailable):
        Session("user", PASSWORD).cookie(connection)
    assert site.logins == 0


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("load: ")]


def test_a_pacer_makes_up_for_a_short_stall_and_not_for_a_long_one() -> None:
    now = 0.0
    pacer = Pacer(10, lambda: now)
    assert [round(pacer.wait_s(), 3) for _ in range(3)] == [0, 0.1, 0.2]
    now = 60.0
    past = sum(pacer.wait_s() <= 0 for _ in range(100))
    assert past in (10, 11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_has_the_same_content_each_time(kind: Kind) -> None:
    assert compose(kind, "an-identity") == compose(kind, "an-identity")
    assert compose(kind, "an-identity") != compose(kind, "another")


def test_uploads_are_as_large_as_they_are_wanted() -> None:
    sizes = {len(compose("uploads", f"{number}", (1_000, 1_002)).body) for number in range(50)}
    assert sizes == {1_000, 1_001, 1_002}


@pytest.mark.parametrize(
    "url", ["https://site", "site:80", "http://", "http://site/below", "http://site:port"]
)
def test_a_url_that_is_none_is_wrong_usage(url: str, tmp_path: Path) -> None:
    with LedgerFile(tmp_path / "ledger") as ledger, pytest.raises(UsageError):
        Generator(Site(url), Session("user", PASSWORD), ledger)


def test_the_command_writes_judges_and_says_it_by_its_exit_code(
    site: FaultySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "ledger")
    where = ["--url", site.url, "--ledger", path, "--host", "app.example"]
    user = ["--user", "user", "--password-env", VARIABLE]
    assert main(["run", *where, *user, "--seconds", "0.5"]) == 2
    monkeypatch.setenv(VARIABLE, PASSWORD)
    begun = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["run", *where, *user, "--seconds", "1", "--tasks", "20"]) == 0
    finally:
        signal.signal(signal.SIGTERM, begun)
    achieved = json.loads(capsys.readouterr().out)
    assert achieved["tasks"]["acknowledged"] > 0
    assert site.hosts == {"app.example"}

    assert main(["compare", *where]) == 0
    assert capsys.readouterr().out.startswith("exact")
    site.rows["posts"].pop()
    assert main(["compare", *where, "--json"]) == 4
    assert len(json.loads(capsys.readouterr().out)["posts"]["missing"]) == 1
    assert main(["compare", *where, "--media", str(tmp_path / "mistyped")]) == 2
    nothing_yet = "2020-01-01T00:00:00+00:00"
    assert main(["compare", *where, "--until", nothing_yet]) == 2


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_generator_that_is_ended_leaves_a_ledger_that_holds(
    site: FaultySite, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    path = tmp_path / "ledger"
    where = ["--url", site.url, "--ledger", str(path), "--user", "user", "--password-env", VARIABLE]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.load", "run", "--seconds", "60", *where],
        cwd=Path(__file__).parents[3],
        env={**os.environ, VARIABLE: PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        wait_until(lambda: site.writes >= 50, "the site was written to", deadline_s=30)
        child.send_signal(how)
        begun = time.monotonic()
        assert child.wait(30) == code
        assert time.monotonic() - begun < 10  # of 60

    verdict = judge(site, path)
    assert verdict.is_exact
    assert verdict.of("posts").acknowledged > 20
