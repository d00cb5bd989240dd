"""A restored system gets drtool's own objects, with the policy and the keys of its new writer."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from drtool.deploy.names import OWN
from drtool.errors import DrtoolError, Refused
from drtool.operations.cluster_restore.replay import RUN_LABEL
from drtool.policy.load import parse_policy
from tests.operations.cluster_restore.runs import RUN
from tests.operations.cluster_restore.unprotected import MAPS, S3_KEYS, SECRETS, WRITER, Back, restored
from tests.sources.kubernetes.shop import RBAC, at


def test_what_is_not_at_hand_is_asked_for(back: Back) -> None:
    with pytest.raises(Refused, match="the admin's key is not at hand"):
        back.enrol(enrolment=None)
    with pytest.raises(DrtoolError, match="no bundle of a new writer"):
        back.protect()
    back.enrol()
    with pytest.raises(Refused, match="the admin's key is not at hand") as refused:
        back.protect(enrolment=None)
    assert "--writer-secrets" in refused.value.hint
    assert not back.target.written


def test_the_policy_and_the_keys_of_the_new_writer_are_applied(back: Back) -> None:
    content = json.loads(back.drtool.policy.read_text())
    content["repository"] = {"url": "s3://bucket/shop", "writer": WRITER, **S3_KEYS}
    policy = parse_policy(json.dumps(content), "shop")
    (back.folder / "secrets/drtool-s3").mkdir()
    for key in S3_KEYS:
        (back.folder / "secrets/drtool-s3" / key).write_text(f"the {key}")
    back.enrol()

    done = back.protect(policy=policy)
    assert back.protect(policy=policy) == done  # safe to run again

    assert parse_policy(back.policy_text(), "applied") == policy
    data = {
        (each["metadata"]["name"], key): b64decode(value).decode()
        for each in back.target.collections[SECRETS]
        for key, value in each["data"].items()
    }
    assert data == {
        ("drtool-writer", "bundle.json"): back.bundles()[0],
        ("drtool-s3", "access_key"): "the access_key",
        ("drtool-s3", "secret_key"): "the secret_key",
    }
    jobs = [each["metadata"]["name"] for each in back.target.collections[at("cronjobs", "batch")]]
    assert jobs == ["drtool-backup-objects", "drtool-backup-media"]
    ours = [
        each["metadata"]
        for items in back.target.collections.values()
        for each in items
        if each["metadata"]["name"].startswith(OWN) or each["metadata"]["name"] == "drtool"
    ]
    assert len(ours) == done["objects"]
    assert {each["labels"][RUN_LABEL] for each in ours} == {RUN}


def test_a_policy_with_any_text_comes_out_as_it_was(back: Back) -> None:
    content = json.loads(back.drtool.policy.read_text())
    odd = "caf\u00e9 \U0001f600 \u2028 \x85 \\ud83d 'a' \"b\""
    content["recovery"] = {"probes": [{"name": odd, "http": "http://web"}]}
    policy = back.replay.policy.model_validate(content)
    back.enrol()

    back.protect(policy=policy)

    assert parse_policy(back.policy_text(), "applied") == policy


def test_what_comes_back_into_another_namespace_is_protected_there(tmp_path: Path) -> None:
    with restored(tmp_path, {"name": "objects", "source": "manifests"}, namespace="shop-dr") as back:
        back.enrol()
        back.protect()

        there = "/namespaces/shop-dr/"
        assert [path for path in back.target.written if there not in path] == []
        applied = parse_policy(back.policy_text(MAPS.replace("/shop/", "/shop-dr/")), "applied")
        assert applied.kubernetes is not None
        assert applied.kubernetes.namespace == "shop-dr"
        assert applied.model_copy(update={"kubernetes": back.replay.policy.kubernetes}) == back.replay.policy
        bindings = back.target.collections[at("rolebindings", RBAC).replace("/shop/", "/shop-dr/")]
        assert {each["subjects"][0]["namespace"] for each in bindings} == {"shop-dr"}
