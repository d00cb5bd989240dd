"""Do the names in a policy mean something? Looks at plain data, so that it speaks up beside faults of other kinds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]

_OF_FILES = ("longhorn", "csi", "files")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a policy. is_secret: what stands at path may be a secret and is never shown."""

    path: Path
    message: str
    suggestion: str = ""
    is_secret: bool = False

    @property
    def dotted_path(self) -> str:
        """The path as people write it: volumes[1].password, empty for the whole file."""
        return "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path
        ).removeprefix(".")


def name_faults(policy: object) -> Iterator[Fault]:
    """Yield what is wrong with the names of a policy, given as mappings and sequences of any shape."""
    volumes = {
        name: str(_get(volume, "source"))
        for volume in _items(_get(policy, "volumes"))
        if isinstance(name := _get(volume, "name"), str)
    }
    recovery = _get(policy, "recovery")
    yield from _repeated(policy, ("volumes",), "name")
    for index, volume in enumerate(_items(_get(policy, "volumes"))):
        yield from _repeated(volume, ("proofs",), "name", above=("volumes", index))
    for part in ("hooks", "probes", "references"):
        yield from _repeated(recovery, (part,), "name", above=("recovery",))
    yield from _order_faults(_items(_get(recovery, "order")), volumes)
    yield from _tier_faults(_items(_get(recovery, "tiers")))
    yield from _hook_faults(_items(_get(recovery, "hooks")), volumes)
    yield from _reference_faults(_items(_get(recovery, "references")), volumes)
    yield from _namespace_faults(policy)


def _order_faults(order: Sequence[object], volumes: dict[str, str]) -> Iterator[Fault]:
    for index, name in enumerate(order):
        if name in order[:index]:
            yield Fault(("recovery", "order", index), f"names {name} twice")
        elif str(name) not in volumes:
            yield _unknown_volume(("recovery", "order", index), name, list(volumes))
    left_out = [name for name in volumes if name not in order]
    if order and left_out:
        yield Fault(
            ("recovery", "order"),
            f"leaves out {', '.join(left_out)}",
            "name every volume, or leave order out",
        )


def _tier_faults(tiers: Sequence[object]) -> Iterator[Fault]:
    seen: set[object] = set()
    for number, tier in enumerate(tiers):
        for index, workload in enumerate(_items(tier)):
            if isinstance(workload, str) and workload in seen:
                yield Fault(("recovery", "tiers", number, index), f"names {workload} twice")
            seen.add(str(workload))


def _hook_faults(hooks: Sequence[object], volumes: dict[str, str]) -> Iterator[Fault]:
    """Yield what hooks wait for and no plan restores; objects are applied kind by kind, and are no such step."""
    fitting = [volume for volume, source in volumes.items() if source != "manifests"]
    for index, hook in enumerate(hooks):
        for key in ("before", "after"):
            name = _get(_get(hook, key), "restore")
            if name is not None and name not in fitting:
                yield _unknown_volume(("recovery", "hooks", index, key, "restore"), name, fitting)


def _reference_faults(references: Sequence[object], volumes: dict[str, str]) -> Iterator[Fault]:
    for index, reference in enumerate(references):
        for key, sources in (("database", ("postgres",)), ("files", _OF_FILES)):
            name = _get(reference, key)
            if name is not None and volumes.get(str(name)) not in sources:
                fitting = [volume for volume, source in volumes.items() if source in sources]
                yield _unknown_volume(("recovery", "references", index, key), name, fitting)


def _namespace_faults(policy: object) -> Iterator[Fault]:
    namespace = _get(_get(policy, "kubernetes"), "namespace")
    if namespace is not None and namespace == _get(_get(policy, "drill"), "namespace"):
        yield Fault(("drill", "namespace"), "is the protected namespace", "a drill needs one of its own")
    if _get(policy, "kubernetes") is None:
        for path, what in _kubernetes_users(policy):
            yield Fault(path, f"{what} needs `kubernetes: {{namespace: …}}` in the policy")


def _kubernetes_users(policy: object) -> Iterator[tuple[Path, str]]:
    for index, volume in enumerate(_items(_get(policy, "volumes"))):
        source = _get(volume, "source")
        if source in ("longhorn", "csi", "manifests"):
            yield ("volumes", index, "source"), f"source {source}"
        elif source == "files" and _get(volume, "claim") is not None:
            yield ("volumes", index, "claim"), "a claim"
    for path in _secret_paths(policy, ()):
        yield path, "a Kubernetes Secret"


def _secret_paths(data: object, path: Path) -> Iterator[Path]:
    if isinstance(data, dict):
        if "secret" in data and "key" in data:
            yield path
        for key, value in data.items():
            yield from _secret_paths(value, (*path, key))
    for index, value in enumerate(_items(data)):
        yield from _secret_paths(value, (*path, index))


def _repeated(data: object, where: Path, key: str, *, above: Path = ()) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for index, item in enumerate(_items(_get(data, str(where[-1])))):
        name = _get(item, key)
        if isinstance(name, str) and name in seen:
            first = Fault((*above, *where, seen[name]), "").dotted_path
            yield Fault((*above, *where, index, key), f"{name} is also the name of {first}")
        elif isinstance(name, str):
            seen[name] = index


def nearest(word: str, known: Sequence[str]) -> str:
    """Return which of the known was probably meant: close, and about as long, or one begins the other; else empty."""
    for near in get_close_matches(word, known):
        difference = abs(len(near) - len(word))
        if difference <= max(1, len(word) // 3) or near.startswith(word) or word.startswith(near):
            return near
    return ""


def _unknown_volume(path: Path, name: object, fitting: list[str]) -> Fault:
    near = nearest(str(name), fitting)
    suggestion = f"did you mean {near}?" if near else f"there is {', '.join(fitting) or 'none'}"
    return Fault(path, f"{name} is no volume that fits here", suggestion)


def _get(data: object, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None


def _items(data: object) -> Sequence[object]:
    return data if isinstance(data, list | tuple) else ()
