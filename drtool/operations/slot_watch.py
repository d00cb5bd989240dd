"""The slot of a volume, watched from before the repository is open: a store that is away must not fill a disk."""

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from drtool.operations.session import KeyFiles, World, not_a_writer, read_bundle
from drtool.operations.settings import postgres_settings, postgres_volume
from drtool.policy.schema import Policy
from drtool.sources.postgres.slot import slot_name
from drtool.sources.postgres.slot_guard import Backlog, SlotGuard


class SlotWatch:
    """Gives up the slot of a volume where it endangers the server; nothing under `on_backlog: protect-rpo`.

    drops says what was given up and why, each until it is on record.
    """

    def __init__(self, policy: Policy, name: str, keys: KeyFiles, world: World) -> None:
        """Raises UsageError where the volume, its secrets or the writer's bundle are not at hand; Refused for a kit."""
        if keys.recovery is not None:
            raise not_a_writer("recipient")
        volume = postgres_volume(policy, name)
        slot = slot_name(policy.name, volume.name, read_bundle(keys, policy, world).repository.hex())
        self.drops: deque[str] = deque()
        self._slot = slot
        self._progress = world.progress
        self._guard: AbstractContextManager[object] = nullcontext()
        if volume.on_backlog == "protect-app":
            self._guard = SlotGuard(
                postgres_settings(volume, world), slot, volume.slot_limit, self._note_drop
            )

    def __enter__(self) -> Self:
        self._guard.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._guard.__exit__(None, None, None)

    def _note_drop(self, backlog: Backlog) -> None:
        text = (
            f"slot {self._slot} was given up: it kept {backlog.size >> 20:,} MiB of WAL, "
            f"more than {(backlog.limit or 0) >> 20:,} MiB, and the repository took too little of it"
        )
        self.drops.append(text)
        self._progress.note(f"{text}; there may be a gap now, and then a base backup is due")
