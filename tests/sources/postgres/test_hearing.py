"""What the messages of a stream prove, said and heard in an order that a test chooses."""

from datetime import timedelta

import pytest

from drtool.sources.postgres.hearing import EPOCH, SETTLE_S, Hearing, ServerState

MB = 1 << 20
LATER = 2 * SETTLE_S


class Stream:
    """A stream as it is heard: each step is later than the one before by `pause`, in seconds."""

    def __init__(self, *, is_standby: bool = False) -> None:
        self.hearing = Hearing()
        self.hearing.is_standby = is_standby
        self.now = 0.0

    def ask(self, pause: float = LATER) -> None:
        self.now += pause
        self.hearing.ask(self.now)

    def data(self, end: int, at: int) -> None:
        self.hearing.data(end, EPOCH + timedelta(seconds=at), self.now)

    def keepalive(self, sent: int, at: int, *, is_answer: bool = True) -> None:
        self.hearing.keepalive(sent, EPOCH + timedelta(seconds=at), self.now, is_answer=is_answer)

    @property
    def state(self) -> ServerState | None:
        return self.hearing.state


def state(flush: int, at: int) -> ServerState:
    return ServerState(flush, EPOCH + timedelta(seconds=at))


def test_data_proves_its_end_as_of_the_message_before() -> None:
    stream = Stream()
    stream.data(5 * MB, at=1)
    assert stream.state is None
    stream.data(6 * MB, at=3)
    assert stream.state == state(6 * MB, at=1)


def test_two_answers_with_a_look_between_them_prove_that_nothing_came() -> None:
    stream = Stream()
    stream.ask()
    stream.keepalive(5 * MB, at=1)
    assert stream.state is None
    stream.ask()
    stream.keepalive(5 * MB, at=2)
    assert stream.state == state(5 * MB, at=1)


def test_a_server_that_is_ahead_never_seems_to_have_sent_all() -> None:
    """1000 MB are there at 2, and 2 MB of them are sent: what is committed by 4 may lie anywhere behind."""
    stream = Stream()
    stream.ask()
    stream.keepalive(0, at=1)
    stream.data(1000 * MB, at=2)
    for moment in (2, 4, 6):
        stream.ask()
        stream.keepalive(2 * MB, at=moment)
        assert stream.state == state(1000 * MB, at=1)


def test_answers_to_several_questions_prove_nothing() -> None:
    """While the socket is not read, the server answers one after the other without a look for more."""
    stream = Stream()
    stream.data(5 * MB, at=1)
    stream.ask()
    stream.ask()
    stream.keepalive(5 * MB, at=10)
    stream.keepalive(5 * MB, at=20)
    assert stream.state is None
    stream.ask()
    stream.keepalive(5 * MB, at=21)
    assert stream.state == state(5 * MB, at=20)


@pytest.mark.parametrize("pause", [0, SETTLE_S / 2])
def test_an_answer_to_a_hasty_question_proves_nothing(pause: float) -> None:
    stream = Stream()
    stream.ask()
    stream.keepalive(5 * MB, at=1)
    stream.ask(pause)
    stream.keepalive(5 * MB, at=2)
    assert stream.state is None


def test_a_keepalive_that_nobody_asked_for_proves_nothing() -> None:
    stream = Stream()
    stream.keepalive(5 * MB, at=1, is_answer=False)
    stream.ask()
    stream.keepalive(5 * MB, at=2, is_answer=False)
    stream.keepalive(5 * MB, at=3)
    assert stream.state is None


def test_an_answer_after_data_proves_nothing_of_its_own() -> None:
    stream = Stream()
    stream.data(5 * MB, at=1)
    stream.data(6 * MB, at=2)
    stream.ask()
    stream.data(7 * MB, at=3)
    stream.keepalive(7 * MB, at=9)
    assert stream.state == state(7 * MB, at=2)


@pytest.mark.parametrize(("is_standby", "at"), [(True, 1), (False, 5)], ids=["standby", "primary"])
def test_the_same_end_again_is_news_from_a_primary_alone(at: int, *, is_standby: bool) -> None:
    """A standby may have been promoted meanwhile: it sends the rest of its old timeline, and commits on the new."""
    stream = Stream(is_standby=is_standby)
    stream.data(9 * MB, at=1)
    stream.data(10 * MB, at=5)
    stream.data(10 * MB, at=60)
    assert stream.state == state(10 * MB, at=at)


def test_what_is_untimed_lies_before_every_commit() -> None:
    assert ServerState.untimed(5 * MB) == state(5 * MB, at=0)
