"""Every fault of the object store is real, and mended at the end."""

import time
import urllib.request
from collections.abc import Iterator
from http.client import IncompleteRead
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.cluster.cluster import LabCluster
from tests.cluster.faults import frozen, killed
from tests.cluster.lab import Lab
from tests.cluster.sample_pods import start_pods
from tests.cluster.store_faults import expiring_credentials, slow_store, throttling_store, truncating_store
from tests.faults.proxy import FaultProxy

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

VALUE = b"x" * 100_000


@pytest.fixture
def bucket(lab: Lab, namespace: str) -> Iterator[str]:
    """A bucket with one object, `value`."""
    store = lab.minio.client()
    lab.minio.make_bucket(namespace)
    store.put_object(Bucket=namespace, Key="value", Body=VALUE)
    yield namespace
    store.delete_object(Bucket=namespace, Key="value")
    store.delete_bucket(Bucket=namespace)


def client(lab: Lab, endpoint: str) -> Any:
    """Return a client that tries everything once, and waits two seconds for an answer."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=lab.minio.root.access_key,
        aws_secret_access_key=lab.minio.root.secret_key,
        config=Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}),
    )


def refusal(lab: Lab, store: FaultProxy, bucket: str) -> tuple[int, str]:
    """Return the status and the code with which a store refuses to give an object."""
    with pytest.raises(ClientError) as refused:
        client(lab, store.endpoint).get_object(Bucket=bucket, Key="value")
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_a_killed_minio_is_gone_and_has_everything_when_it_is_back(lab: Lab, bucket: str) -> None:
    with killed(lab.minio):
        assert not lab.minio.answers()

    assert lab.minio.client().get_object(Bucket=bucket, Key="value")["Body"].read() == VALUE


def test_a_frozen_minio_does_not_answer_within_the_timeout(lab: Lab, bucket: str) -> None:
    store = client(lab, lab.minio.endpoint)

    with frozen(lab.minio.process), pytest.raises(ReadTimeoutError):
        store.head_object(Bucket=bucket, Key="value")

    assert store.head_object(Bucket=bucket, Key="value")["ContentLength"] == len(VALUE)


def test_a_slow_store_takes_its_time_for_every_request(lab: Lab, bucket: str) -> None:
    with slow_store(lab.minio, 0.3) as store:
        begun = time.monotonic()
        for _ in range(2):
            client(lab, store.endpoint).head_object(Bucket=bucket, Key="value")

    assert time.monotonic() - begun >= 0.6


def test_a_throttling_store_answers_slow_down_to_all_or_to_some(lab: Lab, bucket: str) -> None:
    with throttling_store(lab.minio) as store:
        assert [refusal(lab, store, bucket) for _ in range(3)] == [(503, "SlowDown")] * 3

    with throttling_store(lab.minio, times=1) as store:
        assert refusal(lab, store, bucket) == (503, "SlowDown")
        client(lab, store.endpoint).head_object(Bucket=bucket, Key="value")


def test_a_truncated_answer_is_shorter_than_it_says(lab: Lab, bucket: str) -> None:
    with truncating_store(lab.minio, after=1_000, times=1) as store:
        where = {"Bucket": bucket, "Key": "value"}
        url = client(lab, store.endpoint).generate_presigned_url("get_object", Params=where)
        with urllib.request.urlopen(url) as answer, pytest.raises(IncompleteRead) as cut_off:
            answer.read()
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == VALUE

    assert len(cut_off.value.partial) == 1_000
    assert cut_off.value.expected == len(VALUE) - 1_000


def test_credentials_that_expire_are_good_for_some_requests_and_for_none_after(lab: Lab, bucket: str) -> None:
    with expiring_credentials(lab.minio, after=2) as store:
        for _ in range(2):
            client(lab, store.endpoint).head_object(Bucket=bucket, Key="value")

        assert [refusal(lab, store, bucket) for _ in range(2)] == [(403, "ExpiredToken")] * 2


def test_pods_reach_a_faulty_store(lab: Lab, cluster: LabCluster, namespace: str) -> None:
    (pod,) = start_pods(cluster, namespace, [cluster.nodes[0].name], ["sample"])

    with throttling_store(lab.minio) as store:
        host, _, port = store.endpoint.removeprefix("http://").partition(":")

        assert pod.reaches(host, int(port))
