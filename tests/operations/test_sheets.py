from datetime import UTC, datetime

from drtool import __version__
from drtool.operations.sheets import render_admin_sheet, render_kit
from drtool.policy.schema import Repository as RepositorySettings
from drtool.repository.config import VolumeLimits
from drtool.repository.kit import new_recovery_key, parse_recipient
from drtool.repository.repository import Request, prepare_repository
from drtool.repository.storage.memory import MemoryStore


def test_the_sheets_of_a_bucket_name_its_server_and_leave_room_for_credentials() -> None:
    store = MemoryStore(lambda: datetime(2026, 11, 25, tzinfo=UTC))
    created = prepare_repository(store, Request("forum", [("ann", None)], {"redis": VolumeLimits(0, 3600)}))
    settings = RepositorySettings(url="s3://dr/forum", endpoint="https://s3.example:9000", ca_file="/ca.pem")
    place = "--repository s3://dr/forum --endpoint https://s3.example:9000 --ca-file /ca.pem"
    kit = render_kit("ann", created, settings)
    assert f"drtool points {place} --recovery-key-file kit.txt" in kit
    for sheet in (kit, render_admin_sheet(created, settings)):
        assert "AWS_SECRET_ACCESS_KEY  ____" in sheet
        assert "region      us-east-1" in sheet
    assert list(store.list("")) == []


def test_the_kit_of_who_has_a_key_of_its_own_asks_for_both_halves() -> None:
    store = MemoryStore(lambda: datetime(2026, 11, 25, tzinfo=UTC))
    _, recipient = new_recovery_key()
    request = Request(
        "forum", [("ann", parse_recipient(recipient)), ("bob", None)], {"redis": VolumeLimits(0, 3600)}
    )
    created = prepare_repository(store, request)
    settings = RepositorySettings(url="file:///srv/backup")
    ann, bob = (render_kit(name, created, settings) for name in ("ann", "bob"))
    assert "and the DRTOOL-SEED- line that ann keeps can read every backup" in ann
    assert "its second half; the first is the DRTOOL-SEED- line that ann keeps" in ann
    assert "Type the DRTOOL-SEED- line that ann keeps and the two DRTOOL- lines above" in ann
    assert "SEED" not in bob
    assert "Type the two DRTOOL- lines above" in bob
    for kit in (ann, bob):
        assert len([line for line in kit.splitlines() if line.startswith("DRTOOL-")]) == 2
        assert "pip install ." in kit
        assert __version__ in kit
