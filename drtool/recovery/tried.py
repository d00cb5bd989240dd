"""What the target says of the objects of a plan, each of which it was asked to apply and not to store. Pure.

That tells what no look can: whether schema, quotas, policies and webhooks let an object in. A server cannot say all of
it before the plan is executed: what an object needs may come back with it, and nobody may be asked about an object in
a namespace that is not there. Such an object is tried where it can be, and of what is said there only that counts which
is true everywhere: that its fields are wrong.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from drtool.recovery.compare import Change
from drtool.recovery.manifests.hold import hold
from drtool.recovery.manifests.objects import Json, Ref, part, spec_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import applied_of
from drtool.recovery.target import TargetFacts

STAND_IN: Final = "drtool-tried"  # what an object is called that cannot be tried under its own name
ELSEWHERE: Final = "default"  # a namespace that every cluster has, and that nobody can delete
# No byte of a Secret goes to a cluster that nobody has confirmed yet; this is valid in one of any type.
_VALUES: Final = {"data": "e30=", "stringData": "{}"}
_DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_QUOTA: Final = ("", "ResourceQuota")
_NAMED: Final = 5  # objects that a note names
_FORBIDDEN, _ABSENT = 403, 404

# What API servers say. Kubernetes: apiserver/pkg/admission and plugin/pkg/admission.
_NO_DRY_RUN: Final = re.compile(r'webhook "([^"]+)" does not support dry run')
_NOT_FOUND: Final = re.compile(r'"([^"]+)" not found|with name (\S+) was found')
_NO_RIGHT: Final = re.compile(r'User "[^"]*" cannot |attempting to grant')
_OVER_QUOTA: Final = re.compile(r"exceeded quota: ([^,\s]+)")
_UNCOUNTED: Final = "status unknown for quota"
_PORT_TAKEN: Final = "already allocated"
_OF_THE_PLACE: Final = ("admission webhook", "denied request", "metadata.name")


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one object is tried. is_anew: as if that were not there which is deleted first; then it has another name."""

    prepared: Prepared
    is_anew: bool = False
    is_elsewhere: bool = False

    def body(self, label: str) -> Json:
        """Return what is sent: the object as it would be applied, but for what a Secret holds. label is of its run."""
        item = deepcopy(self.prepared.item)
        metadata = item["metadata"]
        metadata.setdefault("labels", {})[label] = STAND_IN
        if self.is_anew or self.is_elsewhere:
            metadata["name"] = STAND_IN
        if self.is_elsewhere:
            metadata["namespace"] = ELSEWHERE
        if self.prepared.ref[:2] == ("", "Secret"):
            item |= {
                key: dict.fromkeys(part(item, key), value) for key, value in _VALUES.items() if key in item
            }
        return hold(item)

    @property
    def about(self) -> str:
        """Which object it is, with its namespace."""
        namespace = self.prepared.item["metadata"].get("namespace")
        ref = self.prepared.ref
        return f"{ref.kind} {namespace}/{ref.name}" if namespace else str(ref)

    def told(self, words: str) -> str:
        """Return words of the server with the object's own name in them."""
        namespace, name = self.prepared.item["metadata"].get("namespace", ""), self.prepared.ref.name
        if self.is_elsewhere:
            words = words.replace(f"{ELSEWHERE}/{STAND_IN}", f"{namespace}/{name}")
        return words.replace(STAND_IN, name) if self.is_anew or self.is_elsewhere else words


@dataclass(frozen=True, slots=True)
class Said:
    """A server's answer to an attempt: HTTP's status, its own words, and what may be done about it."""

    status: int
    words: str
    hint: str

    @property
    def is_let_in(self) -> bool:
        """Whether nothing was said against it."""
        return 200 <= self.status < 300  # noqa: PLR2004 - as HTTP has them


@dataclass(frozen=True, slots=True)
class Tried:
    """What the target has against objects, and what it could not be asked."""

    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def attempts_of(objects: Sequence[Prepared], changes: Iterable[Change], facts: TargetFacts) -> list[Attempt]:
    """Return how each object is tried that a plan applies, in the order of the plan."""
    changes = tuple(changes)
    replaced = {change.ref for change in changes if change.action == "replace"}
    return [
        Attempt(each, is_anew=each.ref in replaced, is_elsewhere=each.is_namespaced and not facts.phase)
        for each in applied_of(objects, changes)
    ]


def judge(tried: Sequence[tuple[Attempt, Said | None]], facts: TargetFacts) -> Tried:
    """Return what is to be told of all that was tried. Nothing was said of what nobody serves the kind of."""
    around = _Around.of([attempt.prepared for attempt, _ in tried], lacks_rights=bool(facts.lacking))
    refusals: list[Refusal] = []
    unknown: dict[str, list[Ref]] = defaultdict(list)
    for attempt, said in tried:
        if said is not None and said.is_let_in:
            continue
        why = _KIND_COMES if said is None else around.why_unknown(attempt, said)
        if why:
            unknown[why].append(attempt.prepared.ref)
        elif said is not None and not _is_of_the_place(attempt, said):
            told = f"is refused by the target: {attempt.told(said.words)}"
            refusals.append(Refusal(attempt.about, told, said.hint))
    return Tried(tuple(refusals), tuple(_notes([attempt for attempt, _ in tried], unknown)))


_KIND_COMES: Final = "the definition of its kind comes back with it"


@dataclass(frozen=True, slots=True)
class _Around:
    """What comes back beside an object: until it is there, the target cannot tell all of it."""

    names: frozenset[str]
    defined: frozenset[tuple[str, str]]
    quotas: frozenset[str]
    lacks_rights: bool = field(kw_only=True)

    @classmethod
    def of(cls, applied: Sequence[Prepared], *, lacks_rights: bool) -> "_Around":
        return cls(
            frozenset(each.ref.name for each in applied),
            frozenset(_defined(each.item) for each in applied if each.ref[:2] == _DEFINITION),
            frozenset(each.ref.name for each in applied if each.ref[:2] == _QUOTA),
            lacks_rights=lacks_rights,
        )

    def why_unknown(self, attempt: Attempt, said: Said) -> str:
        """Return why what was said does not tell how it will be; empty where it does."""
        webhook = _NO_DRY_RUN.search(said.words)
        lacking = {name for found in _NOT_FOUND.findall(said.words) for name in found}
        reasons = {
            f"webhook {webhook[1]} takes no dry run" if webhook else "": webhook is not None,
            "it needs what comes back with it": bool(lacking & self.names),
            _KIND_COMES: attempt.prepared.ref[:2] in self.defined,
            "you have not the right to try it": self.lacks_rights and _lacks_right(said),
            "its quota comes back with it": bool({*_OVER_QUOTA.findall(said.words)} & self.quotas),
            "its quota is not counted yet": _UNCOUNTED in said.words,
        }
        return next((why for why, holds in reasons.items() if holds), "")


def _defined(definition: Json) -> tuple[str, str]:
    spec = spec_of(definition)
    return spec.get("group", ""), part(spec, "names").get("kind", "")


def _lacks_right(said: Said) -> bool:
    return said.status == _FORBIDDEN and bool(_NO_RIGHT.search(said.words))


def _is_of_the_place(attempt: Attempt, said: Said) -> bool:
    """Return whether what was said is true only of where, and under which name, an object was tried."""
    if attempt.is_elsewhere:
        is_of_others = said.status in (_FORBIDDEN, _ABSENT)
        return is_of_others or any(each in said.words for each in _OF_THE_PLACE)
    # What is replaced gives back its ports, and its room: that is reckoned elsewhere.
    return attempt.is_anew and (_PORT_TAKEN in said.words or bool(_OVER_QUOTA.search(said.words)))


def _notes(attempts: Sequence[Attempt], unknown: dict[str, list[Ref]]) -> Iterator[str]:
    for why, refs in unknown.items():
        more = f" and {len(refs) - _NAMED} more" if len(refs) > _NAMED else ""
        names = ", ".join(map(str, refs[:_NAMED]))
        yield f"{why}: whether the target lets in {names}{more} is known only when it is applied"
    away = next((each for each in attempts if each.is_elsewhere), None)
    if away is not None:
        namespace = away.prepared.item["metadata"]["namespace"]
        yield (
            f"namespace {namespace} is not there yet: the target was asked about the fields of what comes into it; "
            "what quotas, policies and webhooks say to that is known only when it is applied"
        )
