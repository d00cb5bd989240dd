"""The store is probed, not trusted: what it and these credentials really do, as a table for `init` and `doctor`.

It works on one canary below `probe/`, and cleans up as far as the credentials allow.
"""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from drtool.errors import StoreOutage, StoreUnavailable
from drtool.repository.storage.base import ObjectStore, ObjectVersion

PREFIX = "probe/"
CLOCK_TOLERANCE = timedelta(minutes=5)  # beyond it prune refuses; a store's dates would mean something else

_FIRST = b"drtool probes this store: first content"
_SECOND = b"drtool probes this store: second content"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. essential: without it no repository may live here; else it weakens a promise."""

    name: str
    ok: bool
    detail: str
    essential: bool


def probe_store(store: ObjectStore, clock: Callable[[], datetime]) -> list[Finding]:
    """Return what store does, in about a dozen calls.

    A refusal becomes a finding. Raises StoreOutage when the store does not answer, and StoreUnavailable when it
    takes not even the first object, for then nothing can be said about it.
    """
    canary = f"{PREFIX}{secrets.token_hex(8)}"
    _put(store, canary, _FIRST)
    try:
        return [
            _finding("an object reads back", lambda: _reads_back(store, canary), essential=True),
            _finding("a part of it reads back", lambda: _reads_a_range(store, canary), essential=True),
            _finding("a listing shows it at once", lambda: _is_listed(store, canary), essential=True),
            _finding(
                "damaged bytes are refused",
                lambda: _refuses_damage(store, f"{canary}-damaged"),
                essential=True,
            ),
            _finding("the clocks agree", lambda: _clocks_agree(store, clock), essential=False),
            _finding(
                "an overwrite harms nothing", lambda: _overwrite_is_harmless(store, canary), essential=False
            ),
            _finding("a delete harms nothing", lambda: _delete_is_harmless(store, canary), essential=False),
            _finding("no version can be deleted", lambda: _keeps_versions(store, canary), essential=False),
        ]
    finally:
        _clean(store, canary)


def _finding(name: str, check: Callable[[], tuple[bool, str]], *, essential: bool) -> Finding:
    try:
        ok, detail = check()
    except StoreOutage:
        raise
    except StoreUnavailable as refused:
        ok, detail = False, refused.message
    return Finding(name, ok, detail, essential)


def _reads_back(store: ObjectStore, canary: str) -> tuple[bool, str]:
    same = store.get(canary) == _FIRST
    return same, "right after it was stored" if same else "other bytes came back than were stored"


def _reads_a_range(store: ObjectStore, canary: str) -> tuple[bool, str]:
    same = store.get(canary, start=7, length=6) == _FIRST[7:13]
    return same, "by offset and length" if same else "other bytes came back than lie there"


def _is_listed(store: ObjectStore, canary: str) -> tuple[bool, str]:
    listed = [found.name for found in store.list(canary)] == [canary]
    return listed, "right after it was stored" if listed else "it is there, but the listing does not show it"


def _refuses_damage(store: ObjectStore, name: str) -> tuple[bool, str]:
    if _is_refused(lambda: store.put(name, _SECOND, hashlib.sha256(_FIRST).digest())):
        stored = any(found.name == name for found in store.list(name))
        return not stored, "but stored all the same" if stored else "and not stored"
    _clean(store, name)
    return False, "it stores bytes that do not match the SHA-256 sent along"


def _clocks_agree(store: ObjectStore, clock: Callable[[], datetime]) -> tuple[bool, str]:
    ahead = store.now() - clock()
    word = "ahead of" if ahead >= timedelta(0) else "behind"
    return abs(
        ahead
    ) <= CLOCK_TOLERANCE, f"the store's is {abs(ahead).total_seconds():.0f} s {word} this machine's"


def _overwrite_is_harmless(store: ObjectStore, canary: str) -> tuple[bool, str]:
    if _is_refused(lambda: _put(store, canary, _SECOND)):
        return True, "it is refused"
    if _has_first(store, canary):
        return True, "the earlier version is kept"
    return False, "it destroys what was there: the bucket keeps no versions"


def _delete_is_harmless(store: ObjectStore, canary: str) -> tuple[bool, str]:
    if _is_refused(lambda: store.delete(canary)):
        return True, "it is refused"
    if any(found.name == canary for found in store.list(canary)):
        return False, "the listing still shows what was deleted"
    if _has_first(store, canary):
        return True, "the earlier version is kept"
    return False, "these credentials destroy objects for good"


def _keeps_versions(store: ObjectStore, canary: str) -> tuple[bool, str]:
    versions = [found for found in _versions(store, canary) if found.version is not None]
    if not versions:
        return False, "the bucket keeps no versions"
    if _is_refused(lambda: store.delete(canary, versions[0].version)):
        return True, "it is refused"
    if versions[0] in _versions(store, canary):
        return True, "the version is still there"
    return False, "these credentials destroy versions for good"


def _is_refused(call: Callable[[], None]) -> bool:
    """Tell whether the store refuses; an outage is no answer, and is raised."""
    try:
        call()
    except StoreOutage:
        raise
    except StoreUnavailable:
        return True
    return False


def _has_first(store: ObjectStore, canary: str) -> bool:
    """Tell whether the first content is still there as a version of its own."""
    return any(
        store.get(canary, found.version) == _FIRST
        for found in _versions(store, canary)
        if found.version is not None and not found.delete_marker
    )


def _versions(store: ObjectStore, name: str) -> list[ObjectVersion]:
    return [found for found in store.versions(name) if found.name == name]


def _put(store: ObjectStore, name: str, value: bytes) -> None:
    store.put(name, value, hashlib.sha256(value).digest())


def _clean(store: ObjectStore, name: str) -> None:
    with suppress(StoreUnavailable):  # who may not delete leaves a few bytes behind
        for found in _versions(store, name):
            store.delete(name, found.version)
