"""The error tree: what failed, what to do next, and the exit code that says so.

DrtoolError                      1  failed
├── UsageError                   2  wrong usage
│   └── PolicyInvalid            2  the policy file has faults; all of them are in the message
├── PartialFailure               3  some volumes failed, the others are done
├── NotProven                    4  data could not be proven
│   └── Corrupt                  4  a byte is not what was written
│       └── SignerEnded          4  a record came after its signer had ended
├── Refused                      5  refused; nothing was touched
│   └── WrongKey                 5  the key that was given opens nothing here
├── SourceUnavailable            6  a source is unreachable or refuses
├── StoreUnavailable             7  the object store is unreachable or refuses
│   ├── StoreOutage             75  the object store does not answer, or is overloaded: waiting may help
│   └── ObjectMissing            7  an object that was named is not there
├── NoRecoveryPoint              8  no recovery point matches
├── ObjectiveMissed              9  done, but an objective was missed
└── TemporaryFailure            75  waiting may help; try again
"""

from collections.abc import Mapping
from typing import ClassVar


class DrtoolError(Exception):
    """What a person should read: a message that names the thing, and a hint that says what to do next.

    message is lower-case and has no full stop; hint is a whole sentence. facts are what programs are told beside it:
    plain values, by name. None of them may hold a secret.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts: Mapping[str, object] = {}


class UsageError(DrtoolError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class PolicyInvalid(UsageError):
    """The policy file has faults. message holds all of them, one block a fault."""


class PartialFailure(DrtoolError):
    """Some volumes failed; what is done is done."""

    exit_code = 3


class NotProven(DrtoolError):
    """A proof failed: the data may be wrong, so nobody may call it restored."""

    exit_code = 4


class Corrupt(NotProven):
    """A stored byte is not what was written. message names the object."""


class SignerEnded(Corrupt):
    """A record was received after the end of who signed it: it may be an intruder's, or a copy that lost its time."""


class Refused(DrtoolError):
    """A check before the work said no; nothing was touched."""

    exit_code = 5


class WrongKey(Refused):
    """The key that was given opens nothing in this repository."""


class SourceUnavailable(DrtoolError):
    """A source is unreachable, or refuses what it was asked."""

    exit_code = 6


class StoreUnavailable(DrtoolError):
    """The object store is unreachable, or refuses what it was asked, after retries."""

    exit_code = 7


class StoreOutage(StoreUnavailable):
    """The object store does not answer, or not now. The one refusal of a store that is worth a retry."""

    exit_code = 75


class ObjectMissing(StoreUnavailable):
    """An object that something names is not in the store."""


class NoRecoveryPoint(DrtoolError):
    """No recovery point matches what was asked."""

    exit_code = 8


class ObjectiveMissed(DrtoolError):
    """Done, but slower or with more loss than the policy promises."""

    exit_code = 9


class TemporaryFailure(DrtoolError):
    """It did not work this time, and waiting may help."""

    exit_code = 75
