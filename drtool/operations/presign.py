"""URLs by which a runner without credentials gets what its grant opens, for some hours."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from drtool.errors import UsageError
from drtool.operations.session import Where, World, plain_store
from drtool.policy.schema import Repository as RepositorySettings
from drtool.repository.format.grant import Versions
from drtool.repository.format.names import json_time
from drtool.repository.storage.base import SignsUrls
from drtool.repository.storage.open import bucket_of
from drtool.repository.storage.urls import SignedUrls

URLS_LAST: Final = timedelta(hours=6)  # for a mover, which gets new ones in time
_LONGEST: Final = timedelta(days=7)  # what S3 takes
_SAMPLE: Final = 500  # objects


def signs_urls(settings: RepositorySettings | Where, world: World) -> bool:
    """Return whether the store of settings can be read by who has nothing but URLs. Contacts nothing."""
    store = plain_store(settings, world)
    store.close()
    return isinstance(store, SignsUrls)


def presign(
    settings: RepositorySettings | Where, objects: Mapping[str, Versions], lasts: timedelta, world: World
) -> bytes:
    """Return the file of URLs for objects: all their versions, good for lasts. A secret. Raises UsageError."""
    if not timedelta(seconds=1) <= lasts <= _LONGEST:
        raise UsageError(
            "URLs are signed for 1 s to 7 days", hint="Name a time as 6h, and renew the file in time."
        )
    store = plain_store(settings, world)
    if not isinstance(store, SignsUrls):
        raise UsageError("only a bucket has URLs that are signed", hint="Leave --presign out.")
    expires = json_time(world.clock() + lasts)
    try:
        urls = {
            name: {version or "": store.presign(name, version, lasts) for version, _, _ in rows}
            for name, rows in objects.items()
        }
    finally:
        store.close()
    return SignedUrls(bucket_of(settings.url)[0], expires, urls).dump()


def presigned_size(
    settings: RepositorySettings | Where, objects: Mapping[str, Versions], world: World
) -> int:
    """Return how many bytes a mover's file of URLs for objects takes, within some percent. Contacts nothing.

    Some of them are signed for that: all would take seconds.
    """
    names = sorted(objects)
    some = names[:: max(1, len(names) // _SAMPLE)]
    urls = presign(settings, {name: objects[name] for name in some}, URLS_LAST, world)
    return len(urls) * len(names) // max(1, len(some))
