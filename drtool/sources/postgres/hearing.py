"""What the messages of a WAL stream prove: how far the server's WAL went, and as of when.

PostgreSQL: walsender.c. With data the server looks for the end of its WAL first and at its clock afterwards, so what
was committed in between is as old as the message before, and lies before that end. A keepalive says what was sent,
not what there is: it tells something only where the server looked for more before it, and found nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL counts microseconds from here
SETTLE_S = 0.05  # from hearing the server to asking it: it has looked for more WAL in between


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the server said of itself: at time, by its clock (UTC), all that was committed lay before flush_lsn."""

    flush_lsn: int
    time: datetime

    @classmethod
    def untimed(cls, flush_lsn: int) -> "ServerState":
        """Return what promises nothing about time: by PostgreSQL's own epoch nothing was committed."""
        return cls(flush_lsn, EPOCH)


class Hearing:
    """All that was heard in one stream. now is a monotonic clock in seconds, moment the server's own clock."""

    def __init__(self) -> None:
        self.is_standby = False
        self.state: ServerState | None = None
        self._last: tuple[datetime, float] | None = None
        self._questions = 0  # that are not answered yet
        self._is_telling = (
            False  # the answer to the only one will tell something, if nothing else comes before it
        )

    def ask(self, now: float) -> None:
        """Note a question to the server."""
        is_settled = self._last is not None and now - self._last[1] >= SETTLE_S
        self._is_telling = is_settled and not self._questions
        self._questions += 1

    def data(self, end: int, moment: datetime, now: float) -> None:
        """Note data. end is where the server's WAL ended when it looked.

        On its way to the end of a timeline that it has left, a promoted standby sees the same end again: that
        tells nothing of the newer timeline.
        """
        is_news = not self.is_standby or end > self._known
        self._hear(end, moment, now, is_news=is_news)

    def keepalive(self, sent: int, moment: datetime, now: float, *, is_answer: bool) -> None:
        """Note a keepalive. sent is how far the server has sent its WAL."""
        is_news = is_answer and self._is_telling and sent >= self._known
        if is_answer:
            self._questions = max(0, self._questions - 1)
        self._hear(sent, moment, now, is_news=is_news)

    @property
    def _known(self) -> int:
        return self.state.flush_lsn if self.state is not None else 0

    def _hear(self, lsn: int, moment: datetime, now: float, *, is_news: bool) -> None:
        before, self._last = self._last, (moment, now)
        self._is_telling = False
        if before is not None and is_news:
            self.state = ServerState(max(lsn, self._known), before[0])
