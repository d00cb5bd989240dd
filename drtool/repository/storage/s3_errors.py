"""What an S3 store's error codes and a broken connection mean, in words that say what to do next."""

import re
import socket
import ssl
from dataclasses import dataclass

from drtool.errors import ObjectMissing, StoreOutage, StoreUnavailable

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
MISSING = {"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"}  # the last: a get of a delete marker

_TOO_MANY = 429
_SERVER_ERRORS = 500  # this HTTP status and all above
_NOT_IMPLEMENTED = {"NotImplemented", "501"}
_OUTAGES = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_FULL = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}

_WORDS = (  # codes; the message; the hint
    (
        {"NoSuchBucket", "InvalidBucketName"},
        "there is no bucket {bucket} at {place}",
        "Create the bucket, or correct the repository's url or endpoint.",
    ),
    (
        {"NoCredentials"},  # ours
        "no credentials for {place} were found",
        "Name them in the policy, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    ),
    (
        {"InvalidAccessKeyId"},
        "{place} does not know the access key",
        "Give the access key of this store; each endpoint has its own.",
    ),
    (
        {"SignatureDoesNotMatch"},
        "{place} refuses the secret key: it does not belong to the access key",
        "Give both keys of one pair, and look for a line end or a blank that was copied along.",
    ),
    (
        EXPIRED | {"InvalidToken"},
        "the credentials for {place} have expired, and no newer ones were found",
        "Renew the session token or the file that holds it.",
    ),
    (
        {"RequestTimeTooSkewed"},
        "the clock of this machine differs too much from the clock of {place}",
        "Set this machine's clock (NTP); stores accept 15 minutes.",
    ),
    (
        _DENIED,
        "{place} does not allow these credentials to {what} in bucket {bucket}",
        "Grant that right in the bucket's policy, or use the credentials of the role that has it.",
    ),
    (
        _REGION,
        "bucket {bucket} lies in another region than the one asked at {place}",
        "Set the region of the bucket.",
    ),
    (
        _DAMAGED,
        "{place} refused to {what}: the bytes that arrived do not match their SHA-256",
        "Something between here and the store, or this machine's memory, damages bytes: nothing was stored.",
    ),
    (
        _FULL,
        "no space is left in bucket {bucket} at {place}",
        "Raise the quota or free space; what is stored is untouched.",
    ),
    (
        {"EntityTooLarge"},
        "{place} takes no object as large as the one to {what}",
        "Use a store that takes single PUTs of 64 MiB.",
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of which store: the words that messages are made of."""

    what: str
    bucket: str
    place: str


def refusal(code: str, status: int, asked: Asked) -> StoreUnavailable:
    """Return the error for a store's answer. code is S3's, or the HTTP status where the answer had no body."""
    if code in MISSING:
        return ObjectMissing(f"cannot {asked.what}: it is not in bucket {asked.bucket}")
    is_down = status >= _SERVER_ERRORS and code not in _NOT_IMPLEMENTED | _FULL
    if code in _OUTAGES or status == _TOO_MANY or is_down:
        return outage(f"it answered {code}", asked)
    for codes, message, hint in _WORDS:
        if code in codes:
            words = {"what": asked.what, "bucket": asked.bucket, "place": asked.place}
            return StoreUnavailable(message.format(**words), hint=hint)
    return StoreUnavailable(
        f"{asked.place} refused to {asked.what} in bucket {asked.bucket}: {code} (HTTP {status})",
        hint="Look the code up in the store's documentation.",
    )


def outage(why: str, asked: Asked) -> StoreOutage:
    """Return the error for a store that does not answer, or not now."""
    return StoreOutage(
        f"cannot {asked.what} in bucket {asked.bucket}, {asked.place} is not available: {why}",
        hint="See that the store runs and is reachable from here; nothing is lost, try again.",
    )


def unreachable(cause: BaseException, asked: Asked) -> StoreUnavailable:
    """Return the error for a connection that failed, from what lies at the bottom of cause."""
    bottom = _causes(cause)
    for one in bottom:
        if isinstance(one, ssl.SSLCertVerificationError):
            return StoreUnavailable(
                f"the certificate of {asked.place} is not trusted: {one.verify_message}",
                hint="Give the PEM file of its certificate authority as ca_file.",
            )
        if isinstance(one, ssl.SSLError) and one.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return StoreUnavailable(
                f"{asked.place} does not speak TLS",
                hint="Write the endpoint with http://, or correct its port.",
            )
        if isinstance(one, socket.gaierror) and one.errno == socket.EAI_NONAME:
            return StoreUnavailable(
                f"the host name of {asked.place} is not known here",
                hint="Correct the endpoint, or see that this machine's name server knows it.",
            )
    return outage(_reason(bottom), asked)


def _causes(cause: BaseException | None) -> list[BaseException]:
    """Return cause and all that it wraps, outermost first: in __cause__, in __context__, or as an argument."""
    found: list[BaseException] = []
    rest = [cause]
    while rest:
        one = rest.pop(0)
        if one is None or one in found:
            continue
        found.append(one)
        wrapped = [*one.args, *getattr(one, "kwargs", {}).values(), getattr(one, "reason", None)]
        rest += [
            one.__cause__,
            one.__context__,
            *(each for each in wrapped if isinstance(each, BaseException)),
        ]
    return found


def _reason(causes: list[BaseException]) -> str:
    """Return the operating system's words where there are any, else the name of the outermost error."""
    for one in causes:
        if isinstance(one, OSError) and one.strerror:
            return one.strerror.lower()
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(causes[0]).__name__).lower()
