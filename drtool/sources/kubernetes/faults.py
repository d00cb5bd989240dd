"""What the API server's refusals mean, in our words."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from drtool.errors import DrtoolError, SourceUnavailable


class Forbidden(SourceUnavailable):
    """The API server knows who asks, and does not let them."""


class Unauthorized(SourceUnavailable):
    """The API server does not take the credentials, or not any more."""


class Absent(SourceUnavailable):
    """What was asked for is not there."""


class Conflict(SourceUnavailable):
    """Somebody else made, changed or owns what was to be written."""


class TooLarge(SourceUnavailable):
    """An answer is longer than what we hold in memory."""


class ListingExpired(DrtoolError):
    """The rest of a listing is gone, for it took too long: it has to begin anew."""


# What the API server answers with 500 for what does not fit its schema, applied: kubernetes/kubernetes#122480.
_MISFIT: Final = "failed to create typed patch object"
_PLAIN: Final = {
    404: (Absent, "Look at its name and namespace."),
    409: (Conflict, "Look who else works on it, and do it again."),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API server. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def is_busy(self) -> bool:
        """Whether the server asks to try again, or is not itself: overloaded, starting, or behind a broken proxy."""
        is_away = self.status >= 500 and not self.is_misfit  # noqa: PLR2004 - as HTTP has them
        return self.status == 429 or is_away  # noqa: PLR2004

    @property
    def is_misfit(self) -> bool:
        """Whether an object was refused for a field that the schema has not, or has another type for."""
        return _MISFIT in self.said

    @property
    def is_denied(self) -> bool:
        """Whether the server does not know who asks, or does not let them."""
        return self.status in (401, 403)

    @property
    def retry_after_s(self) -> float | None:
        """How long the server asks to wait, None if it does not say."""
        said = self.headers.get("retry-after", "")
        return float(said) if said.isdigit() else None

    @property
    def said(self) -> str:
        """What the server says of it, in a line."""
        try:
            message = json.loads(self.body)["message"]
        except (ValueError, KeyError, TypeError):
            message = ""
        return " ".join(str(message).split()) or f"HTTP {self.status}"


def refusal(answer: Answer, doing: str, where: str) -> DrtoolError:
    """Return the error for an answer that trying again does not mend. doing is as in "list secrets in namespace x"."""
    if answer.status == 401:  # noqa: PLR2004
        return Unauthorized(
            f"the API server {where} does not take our credentials: {answer.said}",
            hint="A token has expired or was revoked: log in again, or see the service account of the pod.",
        )
    if answer.status == 403:  # noqa: PLR2004
        return Forbidden(f"not allowed to {doing}: {answer.said}", hint=why_forbidden(answer.said))
    if answer.status == 410:  # noqa: PLR2004
        return ListingExpired(f"the listing ran out: {answer.said}", hint="Begin it anew.")
    if answer.status in _PLAIN:
        kind, hint = _PLAIN[answer.status]
        return kind(f"cannot {doing}: {answer.said}", hint=hint)
    misfit = "This version of the server has not the field that is named, or another type for it: change the object."
    return SourceUnavailable(
        f"the API server {where} refuses to {doing}: {answer.said}",
        hint=misfit if answer.is_misfit else "Look at the object and at the API server's log.",
    )


def why_forbidden(said: str) -> str:
    """Return what to do: rights are one reason of several to say no to what was asked."""
    if "exceeded quota" in said:
        return "Raise the quota that is named, or delete what fills it."
    if "admission webhook" in said or "PodSecurity" in said or "ValidatingAdmissionPolicy" in said:
        return "The rule that is named does not let it in: change the rule, or the object."
    return "`drtool doctor --rbac` prints the Role that is missing."


def dead_webhook(said: str) -> str:
    """Return which webhook the API server could not ask, by what it says; empty for any other failure."""
    found = re.search(r'failed calling webhook "([^"]+)"', said)
    return found[1] if found else ""


def broken_connection(reason: str, where: str) -> Exception:
    """Return the error for TLS that failed: waiting mends a handshake that broke off, but no certificate."""
    said = " ".join(reason.split())
    if "CERTIFICATE_VERIFY_FAILED" in said or "WRONG_VERSION_NUMBER" in said:
        return SourceUnavailable(
            f"the API server {where} does not prove who it is: {said}",
            hint="See that the kubeconfig has the address and the certificate authority of this cluster.",
        )
    return ConnectionError(said)
