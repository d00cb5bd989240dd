"""The store is probed, not trusted: what it and these credentials really do, as a table for `init` and `doctor`.

It works on one canary below `probe/`, and cleans up as far as the credentials allow. What it asks of the bucket's
rules and of the objects of a repository cannot be done as it is asked, whoever asks: only the refusal tells.
"""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial

from drtool.errors import ObjectMissing, StoreOutage, StoreUnavailable
from drtool.repository.storage.base import ObjectStore, ObjectVersion, Rules

PREFIX = "probe/"
CLOCK_TOLERANCE = timedelta(minutes=5)  # beyond it prune refuses; a store's dates would mean something else

FAMILIES = (
    "config",
    "heads",
    "packs",
    "lists",
    "snap",
    "part",
    "wal",
    "tail",
    "void",
    "runs",
)  # that a repository needs

_FIRST = b"drtool probes this store: first content"
_SECOND = b"drtool probes this store: second content"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. essential: without it no repository may live here; else it weakens a promise.

    guards: without it, who holds these credentials can destroy what was stored before.
    """

    name: str
    ok: bool
    detail: str
    essential: bool
    guards: bool = False


def probe_store(store: ObjectStore, clock: Callable[[], datetime]) -> list[Finding]:
    """Return what store does, in about a dozen calls.

    A refusal becomes a finding. Raises StoreOutage when the store does not answer, and StoreUnavailable when it
    takes not even the first object, for then nothing can be said about it.
    """
    token = secrets.token_hex(8)
    canary = f"{PREFIX}{token}"
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
            _finding("the clocks agree", lambda: _clocks_agree(store, clock)),
            _finding("no pack can be read", lambda: _packs_are_closed(store, token)),
            *_guards(store, canary, token),
        ]
    finally:
        _clean(store, canary)


def _guards(store: ObjectStore, canary: str, token: str) -> list[Finding]:
    """Return what keeps history: from whom holds these credentials, and from the bucket's own rules."""
    rules = cache(store.rules)
    checks: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("an overwrite harms nothing", lambda: _overwrite_is_harmless(store, canary)),
        ("a delete harms nothing", lambda: _delete_is_harmless(store, canary)),
        ("no version can be deleted", lambda: _keeps_versions(store, canary)),
        ("no stored object can be deleted", lambda: _objects_are_safe(store, token, rules)),
        ("the bucket's rules are out of reach", lambda: _rules_are_fixed(rules())),
        ("old versions do not expire", lambda: _nothing_expires(rules())),
    ]
    return [_finding(name, check, guards=True) for name, check in checks]


def _finding(
    name: str, check: Callable[[], tuple[bool, str]], *, essential: bool = False, guards: bool = False
) -> Finding:
    try:
        ok, detail = check()
    except StoreOutage:
        raise
    except StoreUnavailable as refused:
        ok, detail = False, refused.message
    return Finding(name, ok, detail, essential, guards)


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


def _packs_are_closed(store: ObjectStore, token: str) -> tuple[bool, str]:
    """Tell whether reading packs is refused. There is no such pack: who may read is told that it is not there."""
    try:
        store.get(f"packs/{token}")
    except ObjectMissing:
        return False, "these credentials read packs, which a writer need not; they stay sealed"
    except StoreOutage:
        raise
    except StoreUnavailable:
        return True, "it is refused"
    return False, "the store answers for what is not there"


def _objects_are_safe(store: ObjectStore, token: str, rules: Callable[[], Rules]) -> tuple[bool, str]:
    """Tell whether deleting versions of a repository's objects is refused; the canary may be under another rule."""
    open_to = [
        family for family in FAMILIES if not _is_refused(partial(store.delete, f"{family}/{token}", "null"))
    ]
    if not open_to:
        return True, "it is refused"
    if lock := rules().lock:
        return True, f"the bucket locks each version: {lock}"
    return False, f"these credentials may delete {', '.join(open_to)}"


def _rules_are_fixed(rules: Rules) -> tuple[bool, str]:
    changeable = rules.changeable
    if changeable:
        return False, f"these credentials may change the bucket's {', '.join(changeable)}"
    return True, "none can be changed"


def _nothing_expires(rules: Rules) -> tuple[bool, str]:
    expiry = rules.expiry
    if expiry is None:
        return False, "these credentials may not ask: allow s3:GetLifecycleConfiguration"
    return not expiry, f"the bucket deletes them after {expiry}" if expiry else "no rule deletes them"


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
