from datetime import UTC, datetime

from drtool.operations.sheets import render_admin_sheet, render_kit
from drtool.policy.schema import Repository as RepositorySettings
from drtool.repository.config import VolumeLimits
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
