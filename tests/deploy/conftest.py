"""Policies as text: one volume of each source that a pod can capture, and what a test changes of it."""

from collections.abc import Callable

import pytest

from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy

MakePolicy = Callable[..., Policy]

TEXT = """\
version: 1
name: shop
repository:
  url: s3://backup/shop
  endpoint: https://s3.backup.example:9000
  access_key: {secret: drtool-s3, key: access_key}
  secret_key: {secret: drtool-s3, key: secret_key}
  writer: {secret: drtool-writer, key: bundle}
objectives: {rpo: 15m, rto: 1h}
kubernetes: {namespace: shop}
volumes:
  - name: db
    source: postgres
    host: postgres-0.postgres
    user: {secret: postgres-secrets, key: USER}
    password: {secret: postgres-secrets, key: PASSWORD}
  - name: cache
    source: redis
    sentinel: {service: sentinel, master: mymaster, password: {secret: sentinel-secrets, key: PASSWORD}}
  - name: media
    source: files
    claim: media-claim
  - name: objects
    source: manifests
"""


@pytest.fixture
def make_policy() -> MakePolicy:
    """Return what makes the policy with replacements, old to new; each old text must be there."""

    def make(*replacements: tuple[str, str]) -> Policy:
        text = TEXT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        return parse_policy(text, "shop.yaml")

    return make


def with_media(lines: str) -> tuple[str, str]:
    """Return the replacement that gives the volume of files more fields."""
    return ("    claim: media-claim\n", f"    claim: media-claim\n{lines}")
