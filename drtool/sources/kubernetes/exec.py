"""A command in a container that runs: its output to a bound, its exit code for certain, no shell in between.

The API server sends pieces of output, each behind the number of its channel, and last of all how it ended. A stream
that breaks off without that says nothing about the command: what came of it is then thrown away.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.known import PODS
from drtool.sources.kubernetes.transport import Stream

KEPT: Final = 64 * 1024  # bytes of each output: its end, where programs say why they failed
_STDOUT, _STDERR, _ENDED = 1, 2, 3  # channels
_LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command ended. Of each output the last KEPT bytes are here; they may hold a secret."""

    exit_code: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


def execute(
    cluster: Cluster,
    pod: tuple[str, str, str],
    argv: tuple[str, ...],
    *,
    deadline_s: float,
    ending: threading.Event,
) -> Executed:
    """Run argv in a container, given as (namespace, pod, container), and return how it ended.

    Raises Forbidden, Absent, SourceUnavailable where it cannot be run; TemporaryFailure where it did not end in time,
    drtool is asked to end, or the connection broke: it may then still be at work.
    """
    namespace, name, container = pod
    asked = [
        ("container", container),
        ("stdout", "true"),
        ("stderr", "true"),
        *(("command", each) for each in argv),
    ]
    target = f"{PODS.path(namespace, name)}/exec?{urlencode(asked)}"
    doing = f"run {argv[0]} in pod {name}"
    stream = cluster.stream(target, doing)
    try:
        return _follow(stream, doing, time.monotonic() + deadline_s, ending)
    finally:
        stream.close()


def _follow(stream: Stream, doing: str, deadline: float, ending: threading.Event) -> Executed:
    kept = {_STDOUT: bytearray(), _STDERR: bytearray()}
    hint = "It may still be at work there: see to that before it is run again."
    while True:
        if ending.is_set():
            raise TemporaryFailure(f"cannot {doing}: drtool was asked to end", hint=hint)
        if time.monotonic() > deadline:
            raise TemporaryFailure(f"cannot {doing}: it has not ended in time", hint=hint)
        try:
            piece = stream.receive(_LOOK_S)
        except OSError as cause:
            raise TemporaryFailure(f"cannot {doing}: the connection broke: {cause}", hint=hint) from cause
        channel = piece[0] if piece else -1
        if channel == _ENDED:
            return Executed(_exit_code(piece[1:], doing), bytes(kept[_STDOUT]), bytes(kept[_STDERR]))
        if channel in kept:
            kept[channel] += piece[1:]
            del kept[channel][:-KEPT]


def _exit_code(said: bytes, doing: str) -> int:
    """Return the exit code of a Status. Raises SourceUnavailable where the command was never run."""
    try:
        status = json.loads(said)
        if status["status"] == "Success":
            return 0
        causes = status.get("details", {}).get("causes", [])
        codes = [int(each["message"]) for each in causes if each.get("reason") == "ExitCode"]
        why = str(status.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        codes, why = [], "the API server does not say how it ended"
    if codes:
        return codes[0]
    raise SourceUnavailable(
        f"cannot {doing}: {' '.join(why.split())}", hint="See that the container has this program."
    )
