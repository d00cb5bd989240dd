"""What drtool's own one-off pods do: ask an address until it answers as it must, treat the queues of a broker."""

import time
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from drtool.errors import NotProven
from drtool.operations.session import World
from drtool.operations.settings import redis_settings
from drtool.policy.volumes import RedisVolume
from drtool.sources.redis.queues import Doing, Queue, treat

_ONCE_S: Final = 10.0
_PAUSE_S: Final = 2.0
_LONGEST: Final = 1 << 20  # bytes of an answer that are read


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        """Follow nothing: the status of the address itself is what was promised."""
        return


def probe_http(url: str, status: int, world: World, limit_s: float) -> None:
    """Return once url answers with status. Raises NotProven with what it last answered."""
    end = time.monotonic() + limit_s
    while (said := _ask(url, status)) is not None:
        if time.monotonic() > end or world.ending.wait(_PAUSE_S):
            raise NotProven(f"{url} {said}, not {status}", hint="See the log of what answers there.")


def _ask(url: str, status: int) -> str | None:
    """Return what an address answers; None where it is the status."""
    try:
        with build_opener(_Stay).open(Request(url), timeout=_ONCE_S) as answer:  # noqa: S310 - the policy's own
            code, body = answer.status, answer.read(_LONGEST)
    except HTTPError as answer:
        with answer:
            code, body = answer.code, answer.read(_LONGEST)
    except (OSError, HTTPException, ValueError) as fault:
        return f"gave no answer: {getattr(fault, 'reason', '') or str(fault) or type(fault).__name__}"
    return None if code == status else f"answered {code} with {len(body)} bytes"


def run_queues(volume: RedisVolume, doing: Doing, world: World) -> list[Queue]:
    """Do it to the queues of a volume that is reached from here; return them as they were."""
    return treat(redis_settings(volume, world), doing)
