"""Recovery on real servers of three majors: the rows decide, and a ledger knows them."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, give, private_directory, run
from drtool.demo.servers.process import wait_until
from drtool.errors import Corrupt, DrtoolError, NotProven
from drtool.sources.postgres import recovery as recovery_module
from drtool.sources.postgres.configuration import setting_lines
from drtool.sources.postgres.coverage import Base, Lineage, Mark, SegmentPlan, Stretch
from drtool.sources.postgres.instance import STOP_S
from drtool.sources.postgres.layout import MARKER
from drtool.sources.postgres.pitr import RecoveryChoice, choose_recovery, decide_stop
from drtool.sources.postgres.recovery import Expected, Recovery
from drtool.sources.postgres.staging import stage_segment, write_restore_command
from drtool.sources.postgres.wal import format_lsn, parse_lsn
from tests.sources.postgres.stored import (
    SETTINGS,
    StoredBase,
    Wal,
    binaries_of,
    expected_end,
    flush_of,
    now_of,
    reopen,
    restore,
    take_base,
)

MAJORS = (15, 17, 18)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Stage:
    """A primary with a table of commits, a base backup, and WAL after it."""

    def __init__(self, major: int, directory: Path) -> None:
        self.major = major
        self.directory = directory
        self.server = PostgresServer.create(major, directory, settings=SETTINGS, fast=True)
        self.server.start()
        self.server.sql("create table ledger (n int primary key, at timestamptz default clock_timestamp())")
        self.stored: StoredBase = take_base(self.server, major)
        self.wal = Wal()
        self.mark: Mark | None = None  # of a moment up to which the WAL has been collected
        self.rows = 0
        self.restored: list[Path] = []

    def commit(self, count: int) -> None:
        for _ in range(count):
            self.rows += 1
            self.server.sql("insert into ledger (n) values (%s)", self.rows)

    def switch(self) -> None:
        self.server.sql("select pg_switch_wal()")

    def new_directory(self) -> Path:
        self.restored.append(private_directory("restore"))
        return self.restored[-1] / "data"


@pytest.fixture(scope="module", params=MAJORS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    yield from set_up(request.param)


@pytest.fixture(scope="module")
def newest() -> Iterator[Stage]:
    """The same on the newest major alone, for what does not depend on the major."""
    yield from set_up(MAJORS[-1])


def set_up(major: int) -> Iterator[Stage]:
    directory = private_directory("primary")
    stage = Stage(major, directory)
    try:
        for _ in range(3):
            stage.commit(10)
            stage.switch()
        stage.commit(5)
        stage.mark = Mark(now_of(stage.server), 1, flush_of(stage.server))
        stage.wal.collect(stage.server)
        stage.server.sql("checkpoint")  # a server goes on to write WAL, by itself
        yield stage
    finally:
        stage.server.stop("immediate")
        for each in (directory, *stage.restored):
            shutil.rmtree(each)


def recover(stage: Stage, directory: Path, *, work: Path | None = None) -> Recovery:
    choice = choose_recovery([stage.stored.base], {stage.stored.base.lineage: stage.wal.stored()})
    return Recovery(
        choice,
        directory,
        binaries_of(stage.server, stage.major),
        work=work or directory.with_name("work"),
        settings={},
    )


def rows_in(server: PostgresServer) -> list[int]:
    return [n for (n,) in server.sql("select n from ledger order by n")]


def test_a_recovery_to_the_end_holds_every_commit_and_starts_by_its_own_configuration(stage: Stage) -> None:
    directory = stage.new_directory()
    restore(stage.stored, directory)
    seen: list[tuple[int, int]] = []
    with recover(stage, directory, work=directory.with_name('it\'s 100% "mine"')) as recovery:
        stage.wal.stage(recovery.choice, recovery.work)
        end = expected_end(stage.wal.survey(recovery.choice))
        recovered = recovery.run(end, on_progress=lambda *step: seen.append(step))
        notes = recovery.finish()
    assert recovered.timeline == 2
    assert recovered.reached_lsn == end.end_lsn
    assert seen[-1][0] == seen[-1][1] == len(recovery.choice.segments)
    assert not recovery.work.exists()
    assert not [*directory.glob("*.signal"), *directory.glob("backup_label*")]
    assert any("archive_mode" in note for note in notes)
    with reopen(directory, stage.server) as restored:
        assert rows_in(restored) == list(range(1, 36))
        assert restored.sql("show archive_mode") == [("off",)]
        restored.stop()


@pytest.mark.parametrize("row", [7, 34])
def test_a_recovery_to_a_moment_holds_exactly_the_commits_up_to_it(stage: Stage, row: int) -> None:
    (at, then) = (
        moment
        for (moment,) in stage.server.sql(
            "select at from ledger where n in (%s, %s) order by n", row, row + 1
        )
    )
    target = (at + (then - at) / 2).astimezone(tz=stage.stored.base.end.tzinfo)
    bases = [stage.stored.base]
    choice = choose_recovery(bases, {bases[0].lineage: stage.wal.stored(marks=[stage.mark])}, target=target)
    assert choice.stop == "survey"
    found = stage.wal.survey(choice)
    stop = decide_stop(choice, newest_end=found.newest_end, later_end=found.later_end)
    assert stop == "time"
    directory = stage.new_directory()
    restore(stage.stored, directory)
    with Recovery(
        choice,
        directory,
        binaries_of(stage.server, stage.major),
        work=directory.with_name("work"),
        settings={},
    ) as recovery:
        stage.wal.stage(choice, recovery.work)
        recovered = recovery.run(Expected(stop, found.end_lsn or 0))
        with recovery.instance.connect(user="postgres") as connection:
            rows = connection.execute("select n from ledger order by n").fetchall()
    assert [n for (n,) in rows] == list(range(1, row + 1))
    assert recovered.last_commit is not None
    assert recovered.last_commit <= target


def test_a_heartbeat_after_the_moment_makes_it_exact_without_a_walk(newest: Stage) -> None:
    server, lineage, wal = newest.server, newest.stored.base.lineage, Wal()
    target = now_of(server)
    ((beat,),) = server.sql("select pg_logical_emit_message(true, 'drtool', '{}')::text")
    mark = Mark(now_of(server), 1, flush_of(server), parse_lsn(beat), now_of(server))
    wal.collect(server)
    choice = choose_recovery([newest.stored.base], {lineage: wal.stored(marks=[mark])}, target=target)
    assert choice.stop == "time"
    directory = newest.new_directory()
    restore(newest.stored, directory)
    with Recovery(
        choice, directory, binaries_of(server, newest.major), work=directory.with_name("work"), settings={}
    ) as recovery:
        wal.stage(choice, recovery.work)
        recovered = recovery.run(Expected("time", choice.end_lsn))
        with recovery.instance.connect(user="postgres") as connection:
            assert connection.execute("select count(*) from ledger").fetchall() == [(35,)]
    assert newest.stored.base.end_lsn < recovered.reached_lsn <= parse_lsn(beat) + 64


def test_a_moment_after_the_last_commit_is_recovered_to_the_end(newest: Stage) -> None:
    server, lineage, wal = newest.server, newest.stored.base.lineage, Wal()
    wal.collect(server)
    target = now_of(server)
    marks = [Mark(target, 1, max(start + len(data) for (_, start), data in wal.segments.items()))]
    choice = choose_recovery([newest.stored.base], {lineage: wal.stored(marks=marks)}, target=target)
    found = wal.survey(choice)
    stop = decide_stop(choice, newest_end=found.newest_end, later_end=found.later_end)
    assert (choice.stop, stop) == ("survey", "end")
    directory = newest.new_directory()
    restore(newest.stored, directory)
    with Recovery(
        choice, directory, binaries_of(server, newest.major), work=directory.with_name("work"), settings={}
    ) as recovery:
        wal.stage(choice, recovery.work)
        recovery.run(Expected(stop, found.end_lsn or 0))
        with recovery.instance.connect(user="postgres") as connection:
            assert connection.execute("select count(*) from ledger").fetchall() == [(35,)]


def test_a_segment_that_cannot_be_read_stops_the_recovery_instead_of_ending_it(stage: Stage) -> None:
    directory = stage.new_directory()
    restore(stage.stored, directory)
    with recover(stage, directory) as recovery:
        stage.wal.stage(recovery.choice, recovery.work)
        end = expected_end(stage.wal.survey(recovery.choice))
        middle = recovery.work / "wal" / recovery.choice.segments[2].name(stage.wal.segment_size)
        middle.chmod(0)
        with pytest.raises(DrtoolError, match="exit code 255") as caught:
            recovery.run(end)
        assert middle.name in str(caught.value)
    assert recovery.instance.pid is None


def test_a_segment_of_the_plan_that_was_not_staged_is_refused_before_the_start(newest: Stage) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    with recover(newest, directory) as recovery:
        newest.wal.stage(recovery.choice, recovery.work)
        middle = recovery.work / "wal" / recovery.choice.segments[2].name(newest.wal.segment_size)
        middle.unlink()
        with pytest.raises(Corrupt, match=f"{middle.name} of the plan was not staged"):
            recovery.run(Expected("end", 0))


def test_a_segment_whose_beginning_is_zeros_is_refused_before_the_start(newest: Stage) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    with recover(newest, directory) as recovery:
        plan = recovery.choice.segments[1]
        data = bytes(8192) + newest.wal.bytes_of(plan)[8192:]
        name = plan.name(newest.wal.segment_size)
        with pytest.raises(Corrupt, match=f"{name} has page magic 0x0000"):
            stage_segment(recovery.work, plan, [(plan.start, data)], base=recovery.choice.base)


def test_an_end_that_is_not_the_expected_one_is_not_proven(newest: Stage) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    with recover(newest, directory) as recovery:
        newest.wal.stage(recovery.choice, recovery.work)
        end = expected_end(newest.wal.survey(recovery.choice))
        wrong = Expected("end", end.end_lsn + 8, witnesses=[end.end_lsn - 8, end.end_lsn + 4096])
        with pytest.raises(NotProven) as caught:
            recovery.run(wrong)
    assert format_lsn(end.end_lsn) in caught.value.message
    assert f"{format_lsn(end.end_lsn + 8)}; {format_lsn(end.end_lsn + 4096)} was seen" in caught.value.message


def test_settings_of_the_old_primary_do_no_harm_and_come_back_disarmed(newest: Stage) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    auto = directory / "postgresql.auto.conf"
    auto.write_text(
        "recovery_target_lsn = '0/1'\nrecovery_target_timeline = 'current'\nprimary_conninfo = 'host=gone'\n"
        "archive_command = 'touch archived; false'\nshared_buffers = '16MB'\nssl = 'on'\n"
        "restore_command = 'false'\nsynchronous_standby_names = 'gone'"
    )
    (directory / "standby.signal").touch()
    with recover(newest, directory) as recovery:
        newest.wal.stage(recovery.choice, recovery.work)
        recovery.run(expected_end(newest.wal.survey(recovery.choice)))
        notes = recovery.finish()
    kept = [line for line in auto.read_text().splitlines() if not line.startswith("#")]
    assert [line.split("=")[0].strip() for line in kept][:3] == ["shared_buffers", "ssl", "archive_mode"]
    assert "commented out in postgresql.auto.conf: primary_conninfo" in notes


def test_a_directory_without_its_configuration_gets_one_that_starts(newest: Stage) -> None:
    """Debian keeps the configuration elsewhere, where a base backup does not look."""
    directory = newest.new_directory()
    restore(newest.stored, directory)
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (directory / name).unlink()
    with recover(newest, directory) as recovery:
        newest.wal.stage(recovery.choice, recovery.work)
        recovery.run(expected_end(newest.wal.survey(recovery.choice)))
        notes = recovery.finish()
    assert len([note for note in notes if "was not in the data directory" in note]) == 3
    restored = reopen(directory, newest.server)
    try:
        restored.start(wait=False)
        wait_until(lambda: "ready to accept" in restored.log.read_text(), "it is ready", deadline_s=30)
    finally:
        restored.stop()


def test_what_postgresql_conf_aims_at_is_disarmed_too(newest: Stage) -> None:
    """Container images keep it in the data directory: a standby that it names would hold up every commit."""
    directory = newest.new_directory()
    restore(newest.stored, directory)
    aimed = {
        "synchronous_standby_names": "gone",
        "archive_mode": "on",
        "archive_command": "false",
        "primary_conninfo": "host=gone",
        "restore_command": "false",
        "recovery_target_name": "old",
    }
    with (directory / "postgresql.conf").open("a") as configuration:
        configuration.writelines(f"{name} = '{value}'\n" for name, value in aimed.items())
    with recover(newest, directory) as recovery:
        newest.wal.stage(recovery.choice, recovery.work)
        recovery.run(expected_end(newest.wal.survey(recovery.choice)))
        notes = recovery.finish()
    assert any("synchronous_standby_names" in note for note in notes)
    with reopen(directory, newest.server) as restored:
        found = {name: restored.sql(f"show {name}")[0][0] for name in aimed}
        restored.stop()
    assert found == {**dict.fromkeys(aimed, ""), "archive_mode": "off", "archive_command": "(disabled)"}


def test_values_are_written_as_postgresql_reads_them(newest: Stage) -> None:
    directory = newest.new_directory()
    value = "it's a \\ back\nslash"
    (directory.parent / "postgresql.conf").write_text(setting_lines({"odd.name": value}))
    (directory.parent / "data").mkdir(mode=0o700)
    give(directory.parent)
    bin_dir = newest.server.bin_dir
    configuration = f"config_file={directory.parent / 'postgresql.conf'}"
    printed = run(
        [bin_dir / "postgres", "-C", "odd.name", "-D", directory, "-c", configuration], cwd=Path("/")
    )
    assert printed == f"{value}\n"


def test_a_server_whose_configuration_cannot_be_put_back_is_not_left_running(
    newest: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)

    def full(*_: object) -> list[str]:
        raise OSError("no space left on device")

    monkeypatch.setattr(recovery_module, "put_back", full)
    recovery = recover(newest, directory)

    def leave() -> None:
        with recovery:
            newest.wal.stage(recovery.choice, recovery.work)
            recovery.run(expected_end(newest.wal.survey(recovery.choice)))
            assert recovery.instance.pid is not None
            recovery.leave_running()

    with pytest.raises(OSError, match="no space"):
        leave()
    assert recovery.instance.pid is None


def test_an_interrupt_leaves_no_server_behind_even_while_it_is_stopped(
    newest: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    wait, interrupts = subprocess.Popen.wait, [KeyboardInterrupt("again"), KeyboardInterrupt("once")]

    def interrupted(child: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout == STOP_S and interrupts:
            raise interrupts.pop()
        return wait(child, timeout)

    recovery = recover(newest, directory)
    children: list[int] = []

    def interrupt() -> None:
        with recovery:
            newest.wal.stage(recovery.choice, recovery.work)
            recovery.run(expected_end(newest.wal.survey(recovery.choice)))
            children.append(recovery.instance.pid or 0)
            monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
            recovery.finish()

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    (child,) = children
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_server_that_is_left_running_says_where(newest: Stage) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    with recover(newest, directory) as recovery:
        newest.wal.stage(recovery.choice, recovery.work)
        recovery.run(expected_end(newest.wal.survey(recovery.choice)))
        notes = recovery.leave_running()
    try:
        said = " ".join(notes)
        for part in (
            f"process {recovery.instance.pid}",
            f"kill -INT {recovery.instance.pid};",
            recovery.work,
        ):
            assert str(part) in said
        assert str(recovery.instance.sockets) in said
        with recovery.instance.connect(user="postgres") as connection:
            assert connection.execute("select pg_is_in_recovery()").fetchall() == [(False,)]
        subprocess.run(re.findall(r"kill -INT \d+", said)[0].split(), check=True)
        wait_until(lambda: recovery.instance.pid is None, "the server has ended", deadline_s=STOP_S)
    finally:
        recovery.instance.stop()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda directory: (directory / "backup_label").unlink(), "it has no backup_label"),
        (lambda directory: (directory / MARKER).touch(), "its restore did not end"),
        (lambda directory: (directory / "PG_VERSION").write_text("9\n"), "is of PostgreSQL 9"),
    ],
)
def test_a_directory_that_is_no_whole_base_is_not_recovered(
    newest: Stage, spoil: Callable[[Path], object], reason: str
) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    spoil(directory)
    with pytest.raises(NotProven, match=reason), recover(newest, directory):
        pass


def test_the_base_of_another_instance_is_not_recovered(newest: Stage) -> None:
    directory = newest.new_directory()
    restore(newest.stored, directory)
    recovery = recover(newest, directory)
    lineage = replace(recovery.choice.base.lineage, system_identifier=1)
    recovery.choice = replace(recovery.choice, base=replace(recovery.choice.base, lineage=lineage))
    with pytest.raises(NotProven, match="with system identifier"), recovery:
        pass


def test_a_recovery_follows_a_failover_and_takes_a_timeline_that_nobody_has(stage: Stage) -> None:
    """The old primary writes on after the fork; what it wrote there must not come back."""
    directory, wal = private_directory("standby"), Wal()
    primary = stage.server
    old_rows = rows_in(primary)
    standby = make_standby(stage, directory)
    try:
        lsn = flush_of(primary)
        wait_until(
            lambda: (
                standby.sql("select pg_last_wal_replay_lsn() >= %s::pg_lsn", format_lsn(lsn)) == [(True,)]
            ),
            "the standby has followed",
            deadline_s=30,
        )
        standby.sql("select pg_promote()")
        primary.sql("insert into ledger (n) values (1001)")
        standby.sql("insert into ledger (n) values (2001)")
        wal.collect(primary)
        wal.collect(standby)
        choice = choose_recovery([stage.stored.base], {stage.stored.base.lineage: wal.stored()})
        assert choice.timeline == 2
        target = stage.new_directory()
        restore(stage.stored, target)
        with Recovery(
            choice, target, binaries_of(primary, stage.major), work=target.with_name("work"), settings={}
        ) as recovery:
            wal.stage(choice, recovery.work)
            recovered = recovery.run(expected_end(wal.survey(choice)))
            with recovery.instance.connect(user="postgres") as connection:
                rows = [n for (n,) in connection.execute("select n from ledger order by n").fetchall()]
        assert recovered.timeline == 3
        assert rows == [*old_rows, 2001]
    finally:
        standby.stop("immediate")
        shutil.rmtree(directory)
        primary.sql("delete from ledger where n = 1001")


def make_standby(stage: Stage, directory: Path) -> PostgresServer:
    primary = stage.server
    options: list[str | Path] = ["-D", directory / "data", "-c", "fast", "--no-sync", "-R", "-X", "stream"]
    where = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
    run(
        [primary.bin_dir / "pg_basebackup", *options, *where],
        cwd=directory,
        env={"PGPASSWORD": primary.password},
    )
    standby = PostgresServer(directory / "data", primary.bin_dir, password=primary.password, fast=True)
    standby.start()
    return standby


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("000000010000000000000002", 0),
        ("000000010000000000000003", 255),
        ("000000010000000000000009", 1),
        ("000000020000000000000009", 1),
        ("000000010000000100000000", 1),
        ("000000020000000000000002", 0),
        ("000000030000000000000003", 1),
        ("000000010000000000000001", 255),
        ("00000002.history", 255),
        ("00000003.history", 1),
        ("0000000G.history", 255),
        ("000000010000000000000004.partial", 255),
        ("../../../../etc/passwd", 255),
    ],
)
def test_the_restore_command_says_not_there_only_where_the_plan_proves_it(
    tmp_path: Path, name: str, status: int
) -> None:
    """Planned are 02, 03 and 04 of timeline 1; 03 and the history have vanished since."""
    size = 16 << 20
    plans = tuple(SegmentPlan(1, number * size, (number + 1) * size) for number in (2, 3, 4))
    base = Base("b", Lineage(1, 18, 1), 1, 2 * size, 2 * size, NOON, NOON, size)
    choice = RecoveryChoice(
        base, None, 1, (Stretch(1, 0, None),), plans, (2,), 5 * size, NOON, "end", None, None, ()
    )
    work = tmp_path / 'it\'s 100% "odd" $HOME'
    (work / "wal").mkdir(parents=True)
    for each in (
        "000000010000000000000002",
        "000000020000000000000002",
        "000000010000000000000003",
        "000000010000000000000004",
        "00000002.history",
    ):
        (work / "wal" / each).write_text(each)
    command = write_restore_command(work, choice)
    (work / "wal" / "000000010000000000000003").unlink()
    (work / "wal" / "00000002.history").unlink()
    line = command.replace("%f", name).replace("%p", "fetched").replace("%%", "%")
    done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, check=False)
    assert done.returncode == status
    assert (tmp_path / "fetched").exists() == (status == 0)


@pytest.mark.parametrize(
    ("parts", "fault"),
    [([(0, 100), (200, 50)], "has a hole at 0/2000064"), ([(0, 100)], "ends at 0/2000064, before 0/20000FA")],
)
def test_tails_with_a_hole_are_refused(tmp_path: Path, parts: list[tuple[int, int]], fault: str) -> None:
    size = 16 << 20
    base = Base("b", Lineage(1, 18, 1), 1, 2 * size, 2 * size, NOON, NOON, size)
    plan = SegmentPlan(1, 2 * size, 2 * size + 250)
    with pytest.raises(Corrupt, match=f"000000010000000000000002 {fault}"):
        stage_segment(tmp_path, plan, [(2 * size + at, bytes(length)) for at, length in parts], base=base)


def test_what_lies_behind_a_fork_is_not_staged(newest: Stage, tmp_path: Path) -> None:
    base = newest.stored.base
    (timeline, start), data = next(iter(sorted(newest.wal.segments.items())))
    plan = SegmentPlan(timeline, start, start + 5000)
    staged = stage_segment(tmp_path, plan, [(start, data[:3000]), (start + 2000, data[2000:])], base=base)
    assert staged.read_bytes() == data[:5000] + bytes(base.wal_segment_size - 5000)
