import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.errors import Refused, StoreUnavailable
from drtool.operations.init import run_init
from drtool.operations.results import InitResult
from drtool.operations.session import Silent, World
from drtool.repository.config import VolumeLimits
from drtool.repository.kit import parse_bundle, parse_recovery, parse_seed
from drtool.repository.repository import open_with_bundle, open_with_recovery
from drtool.repository.storage.directory import DirectoryStore

POLICY = """\
version: 1
name: forum
repository: {{url: "file://{store}"}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - {{name: postgres, source: postgres, host: db, user: drtool, max_run: 12h}}
  - {{name: redis, source: redis, host: cache}}
"""


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "store"
    made.mkdir()
    return made


@pytest.fixture
def init(folder: Path, tmp_path: Path) -> Callable[..., InitResult]:
    policy = tmp_path / "forum.yaml"
    policy.write_text(POLICY.format(store=folder))

    def call(*, dry_run: bool = False, **more: Callable[[InitResult], None]) -> InitResult:
        world = World(now, {}, Silent())
        return run_init(policy, [("ann", None), ("bob", None)], world, dry_run=dry_run, **more)

    return call


def configs(folder: Path) -> list[Path]:
    return list(folder.glob("config/*"))


def test_a_repository_opens_with_its_bundle_and_with_every_kit(
    init: Callable[..., InitResult], folder: Path
) -> None:
    result = init()
    store = DirectoryStore(folder, now)
    bundle = parse_bundle(result.bundle)
    config = open_with_bundle(store, bundle).config
    assert config.repository == result.repository
    assert configs(folder)[0].name == f"0-{bundle.config_sha256}"
    for name in ("ann", "bob"):
        line = parse_recovery(result.kit[name])
        assert open_with_recovery(store, line, parse_seed(result.kit[name], "OPERATOR")).unwrap is not None
    assert parse_seed(result.admin_sheet, "ADMIN").public.hex() == config.admin


def test_the_limits_of_volumes_come_from_the_policy(init: Callable[..., InitResult], folder: Path) -> None:
    config = open_with_bundle(DirectoryStore(folder, now), parse_bundle(init().bundle)).config
    assert config.volumes == {
        "postgres": VolumeLimits(window=14 * 86_400, max_run=12 * 3600),
        "redis": VolumeLimits(window=0, max_run=3600),
    }


def test_a_kit_says_where_the_repository_is_and_what_to_do(
    init: Callable[..., InitResult], folder: Path
) -> None:
    result = init()
    kit = result.kit["ann"]
    for part in (f"file://{folder}", result.repository, "for ann", "drtool restore VOLUME --to-dir DIR"):
        assert part in kit
    assert "DRTOOL-ADMIN-" not in kit
    assert len(kit.splitlines()) < 50


def test_the_keys_are_kept_before_anything_is_stored(init: Callable[..., InitResult], folder: Path) -> None:
    seen: list[int] = []
    init(keep=lambda _result: seen.append(len(configs(folder))))
    assert seen == [0]
    assert len(configs(folder)) == 1


def test_keys_that_cannot_be_kept_leave_no_repository(init: Callable[..., InitResult], folder: Path) -> None:
    def fail(_result: InitResult) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        init(keep=fail)
    assert configs(folder) == []


def test_a_store_that_fails_at_the_last_moment_leaves_the_keys_and_says_so(
    init: Callable[..., InitResult], folder: Path
) -> None:
    with pytest.raises(StoreUnavailable, match="may not have been stored") as caught:
        init(keep=lambda _result: shutil.rmtree(folder))
    assert caught.value.hint.startswith("Keep its keys.")


def test_a_second_repository_is_refused_before_any_key_is_kept(init: Callable[..., InitResult]) -> None:
    init()
    kept: list[InitResult] = []
    with pytest.raises(Refused, match="there is a repository already"):
        init(keep=kept.append)
    with pytest.raises(Refused, match="there is a repository already"):
        init(dry_run=True)
    assert kept == []


def test_a_dry_run_stores_nothing_and_keeps_nothing(init: Callable[..., InitResult], folder: Path) -> None:
    kept: list[InitResult] = []
    result = init(dry_run=True, keep=kept.append)
    assert (result.recipients, result.probes, kept) == (("ann", "bob"), (), [])
    assert list(folder.rglob("*")) == []


def test_the_probes_leave_nothing_behind(init: Callable[..., InitResult], folder: Path) -> None:
    result = init()
    assert {probe.name for probe in result.probes if probe.ok} >= {"an object reads back", "the clocks agree"}
    assert [file for file in folder.rglob("*") if file.is_file()] == configs(folder)
