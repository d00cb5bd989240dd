"""What a person should see of a capture of objects: what is not in the point, and why."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Facts of a capture: the uid of its namespace, and of the point before where that was another.
UID: Final = "namespace_uid"
UID_BEFORE: Final = "namespace_uid_before"
FORBIDDEN, AWAY, GONE = "may not be read", "is not served now", "is not served any more"


def manifests_notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a person should see of a capture's facts: what is not in the point, by the names of its kinds."""
    for reason in (FORBIDDEN, AWAY, GONE):
        kinds = [kind for kind, why in facts.get("not_captured", {}).items() if why == reason]
        if kinds:
            yield f"not captured, for it {reason}: {', '.join(kinds)}"
    if UID_BEFORE in facts:
        before = facts[UID_BEFORE]
        yield f"the namespace is another than that of the point before: its uid is {facts[UID]}, not {before}"
    for pattern in facts.get("idle", ()):
        yield f"{pattern} of include or exclude names no kind of this cluster"


def webhook_notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a restore tells beside that: webhooks that were asked there, and are not the application's own."""
    others = facts.get("other_webhooks")
    if others:
        yield f"webhooks of others in the captured cluster do not come back: {', '.join(others)}"
