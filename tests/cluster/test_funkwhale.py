"""funkwhale: what its visitors see, how Pgpool spreads reads, and the traps in its manifests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.funkwhale import PRIMARY, STANDBYS, get, is_pool_whole, reads, shell, sql
from tests.cluster.lab import Lab
from tests.cluster.observe import served_by
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.smoke import Visitor, visit
from tests.cluster.system import FOLDER, FUNKWHALE
from tests.cluster.under_load import protected

pytestmark = pytest.mark.cluster

DATA = "/srv/funkwhale/data/postgres/pgdata/PG_VERSION"
ATTEMPTS = 20
REPLICATE = f"""
failed=0
for attempt in $(seq {ATTEMPTS}); do
  psql "host=$0 port=$1 user=$POSTGRES_USER dbname=$POSTGRES_DB replication=true" -c "SHOW data_directory_mode" >&2 ||
    failed=$((failed + 1))
done
echo $failed
"""
BASE_BACKUP = 'set -o pipefail; pg_basebackup -U "$POSTGRES_USER" -D - -Ft -X fetch -c fast -h "$0" | wc -c'


@pytest.fixture(scope="module")
def funkwhale(cluster: Cluster) -> Iterator[Cluster]:
    FUNKWHALE.deploy(cluster)
    wait_until(lambda: is_pool_whole(cluster), "pgpool knows all servers", deadline_s=90)
    yield cluster
    FUNKWHALE.remove(cluster)
    for node in cluster.nodes:
        node.run("rm", "-rf", "/srv/funkwhale")  # nobody does that for a hostPath


def test_a_visitor_finds_everything_as_it_was_left(funkwhale: Cluster) -> None:
    visit(Visitor.of(FUNKWHALE, funkwhale))


def test_pgpool_sends_reads_to_the_standbys_and_writes_to_the_primary(funkwhale: Cluster) -> None:
    visitor = Visitor.of(FUNKWHALE, funkwhale)
    before = reads(funkwhale)
    post = visitor.write_post("for every server")

    def each_standby_was_asked() -> bool:
        assert visitor.read_post(post) == "for every server"
        after = reads(funkwhale)
        return all(after[standby] > before[standby] for standby in STANDBYS)

    # A connection that Django opened before pgpool knew a standby, and keeps for a minute, does not use it.
    wait_until(each_standby_was_asked, "each standby was asked", deadline_s=120)
    assert sql(funkwhale, PRIMARY, f"select text from posts where id = '{post}'") == "for every server"


@pytest.mark.parametrize("standby", STANDBYS)
def test_a_standby_follows_the_primary_and_takes_no_write(funkwhale: Cluster, standby: str) -> None:
    post = Visitor.of(FUNKWHALE, funkwhale).write_post("for every server")
    query = f"select text from posts where id = '{post}'"

    wait_until(lambda: sql(funkwhale, standby, query) == "for every server", "it has the post", deadline_s=30)
    assert standby in sql(funkwhale, PRIMARY, "select application_name from pg_stat_replication").split()
    with pytest.raises(LabFailed, match="read-only transaction"):
        sql(funkwhale, standby, "delete from posts")


def test_a_base_backup_is_to_be_had_from_the_primary(funkwhale: Cluster) -> None:
    assert int(shell(funkwhale, PRIMARY, BASE_BACKUP, "postgres-0.postgres")) > 10_000_000


def test_replication_through_pgpool_fails_and_only_sometimes(funkwhale: Cluster) -> None:
    """It sends a command to several servers, or asks them what none answers in that mode: luck decides."""
    assert int(shell(funkwhale, PRIMARY, REPLICATE, "postgres-0.postgres", "5432")) == 0
    assert int(shell(funkwhale, PRIMARY, REPLICATE, "pgpool", "9999")) > 0


def test_the_api_server_has_no_longer_the_api_of_the_team_s_autoscaler(funkwhale: Cluster) -> None:
    with pytest.raises(LabFailed, match="no matches for kind"):
        funkwhale.apply(FOLDER / "funkwhale/nginx-autoscaler-v2beta2.yaml")

    bounds = get(funkwhale, "hpa/fw-nginx-autoscaler", "{.spec.minReplicas}-{.spec.maxReplicas}")
    assert bounds == "2-4"


def test_the_database_s_volume_was_bound_by_hand_and_says_another_mode_than_its_claim(
    funkwhale: Cluster,
) -> None:
    volume = get(funkwhale, "pv/fw-postgres-pv", "{.spec.claimRef.name} {.spec.accessModes} {.status.phase}")
    claim = get(
        funkwhale, "pvc/fw-postgres-pv-claim", "{.spec.volumeName} {.spec.accessModes} {.status.phase}"
    )

    assert volume == 'fw-postgres-pv-claim ["ReadWriteMany"] Bound'
    assert claim == 'fw-postgres-pv ["ReadWriteOnce"] Bound'


@pytest.mark.lab
def test_the_database_lies_on_the_disk_of_the_node_that_its_pod_is_on(funkwhale: Cluster) -> None:
    node = get(funkwhale, f"pod/{PRIMARY}", "{.spec.nodeName}")

    (disk,) = [each for each in funkwhale.nodes if each.name == node]
    assert disk.run("cat", DATA).strip() == "15"


def test_music_is_served_by_nginx_from_the_node_that_it_was_written_on(funkwhale: Cluster) -> None:
    visitor = Visitor.of(FUNKWHALE, funkwhale)
    song = visitor.upload(b"la" * 500_000)

    assert visitor.get(song).content == b"la" * 500_000
    assert served_by(FUNKWHALE.site(funkwhale), song) == "nginx"
    known = sql(funkwhale, PRIMARY, "select audio_file from music_upload").splitlines()
    assert song.removeprefix("/media/") in known
    assert get(funkwhale, "pvc/fw-music-pv-claim", "{.spec.accessModes}") == '["ReadWriteOnce"]'


def test_redis_has_two_replicas_and_a_master_that_keeps_its_data(funkwhale: Cluster) -> None:
    def redis(pod: str, *command: str) -> str:
        return shell(funkwhale, pod, 'redis-cli "$0" "$@"', *command)

    assert redis("redis-0", "set", "kept", "yes") == "OK"
    assert int(redis("redis-0", "wait", "2", "20000")) == 2

    funkwhale.kubectl("delete", "pod", "redis-0", f"--namespace={FUNKWHALE.namespace}")
    funkwhale.wait_for("pod/redis-0", "condition=Ready", namespace=FUNKWHALE.namespace)

    assert redis("redis-0", "get", "kept") == "yes"


def test_prometheus_finds_what_pgpool_counts_by_the_service_s_annotations(funkwhale: Cluster) -> None:
    scraped = get(funkwhale, "service/pgpool-stats", r"{.metadata.annotations.prometheus\.io/scrape}")

    assert scraped == "true"
    assert set(reads(funkwhale)) == {PRIMARY, *STANDBYS}


@pytest.mark.lab
@pytest.mark.long
def test_its_cron_jobs_keep_the_rpo_under_load_and_a_restore_has_what_status_promises(
    funkwhale: Cluster, lab: Lab, tmp_path: Path
) -> None:
    with protected(funkwhale, lab, FUNKWHALE, tmp_path) as scene:
        scene.wait_until_inside()
        scene.judge(uploads="music")
