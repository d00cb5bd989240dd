"""An object store in an S3 bucket: the only door to boto3.

Settings that other stores than AWS's need: checksums only where we send them (botocore's default CRC32 breaks several
stores), single deletes, no multipart. The payload is not hashed a second time for the signature: the SHA-256 that
travels as a signed header lets the store refuse damaged bytes, and is what the name says anyway.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from drtool.errors import StoreOutage, StoreUnavailable
from drtool.repository.storage.base import ObjectVersion, Rules
from drtool.repository.storage.clock import elapsed, within
from drtool.repository.storage.names import check_name, check_prefix, is_name
from drtool.repository.storage.s3_errors import EXPIRED, MISSING, Asked, outage, refusal, unreachable
from drtool.repository.storage.s3_listing import Page, in_order
from drtool.repository.storage.s3_rules import (
    CHANGES,
    NO_LIFECYCLE,
    NO_LOCK,
    NOT_CHANGEABLE,
    expiry_of,
    lock_of,
)
from drtool.repository.storage.settings import S3Settings

CONNECTIONS = 16
CLOCK_AGE_S = 300  # how long one look at the store's clock serves

_EMPTY = {"InvalidRange": b"", "416": b""}  # a range beyond the end
_GONE = dict.fromkeys(MISSING)  # some stores tell that there was nothing to delete
_VERSIONING = {  # who may not ask must assume that there are versions; who knows no such question has none
    "AccessDenied": {"Status": "unknown"},
    "403": {"Status": "unknown"},
    "NotImplemented": {},
    "501": {},
}

_Request = Callable[[Any], Any]


class S3Store:
    """Objects below one prefix of one bucket. Opens no connection before the first call."""

    def __init__(self, settings: S3Settings, clock: Callable[[], datetime] | None = None) -> None:
        """Take the settings, and the machine's clock: it tells what is cut off of the store's where the two agree."""
        self._settings = settings
        self._ours = clock
        self._lock = Lock()
        self._client: Any = None
        self._clock: tuple[datetime, float] | None = None  # the store's, and elapsed() at that moment

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        check_name(name)
        body = bytes(value) if isinstance(value, memoryview) else value  # botocore takes no memoryview
        where = self._at(name) | {"ChecksumSHA256": b64encode(sha256).decode()}
        self._ask(f"put {name}", lambda client: client.put_object(Body=body, **where))

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        where = self._at(name, version)
        if start or length is not None:
            # A range has at least one byte, so an empty one is asked as one byte, and cut.
            where["Range"] = f"bytes={start}-{'' if length is None else start + max(length, 1) - 1}"
        value: bytes = self._ask(
            f"get {name}", lambda client: client.get_object(**where)["Body"].read(), instead=_EMPTY
        )
        return value if length is None else value[:length]

    def presign(self, name: str, version: str | None, lasts: timedelta) -> str:
        check_name(name)
        call = {"Params": self._at(name, version), "ExpiresIn": int(lasts.total_seconds())}
        url: str = self._ask(
            f"sign a URL of {name}", lambda client: client.generate_presigned_url("get_object", **call)
        )
        return url

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        check_prefix(prefix)
        return in_order(self._object_pages, prefix)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        check_prefix(prefix)
        state = self._ask(
            "ask whether versions are kept",
            lambda client: client.get_bucket_versioning(Bucket=self._settings.bucket),
            instead=_VERSIONING,
        )
        return in_order(self._version_pages if "Status" in state else self._object_pages, prefix)

    def delete(self, name: str, version: str | None = None) -> None:
        check_name(name)
        where = self._at(name, version)
        self._ask(f"delete {name}", lambda client: client.delete_object(**where), instead=_GONE)

    def rules(self) -> Rules:
        bucket = self._settings.bucket
        lifecycle = self._ask(
            "read the bucket's lifecycle",
            lambda client: client.get_bucket_lifecycle_configuration(Bucket=bucket),
            instead=NO_LIFECYCLE,
        )
        lock = self._ask(
            "read the bucket's lock",
            lambda client: client.get_object_lock_configuration(Bucket=bucket),
            instead=NO_LOCK,
        )
        return Rules(
            tuple(what for what, change in CHANGES.items() if self._may(what, change)),
            None if lifecycle is None else expiry_of(lifecycle, self._settings.prefix),
            lock_of(lock),
        )

    def _may(self, what: str, change: Callable[[Any, str], Any]) -> bool:
        """Tell whether a change of the bucket that no store takes is refused as malformed, not as forbidden."""
        request = f"change the bucket's {what}"
        try:
            answer = self._ask(
                request, lambda client: change(client, self._settings.bucket), instead=NOT_CHANGEABLE
            )
        except StoreOutage:
            raise
        except StoreUnavailable:
            return True
        return answer is not None

    def now(self) -> datetime:
        """Return the store's clock: the Date of an answer, which has whole seconds, and what has passed since."""
        seen = self._clock
        if seen is None or elapsed() - seen[1] > CLOCK_AGE_S:
            self._clock = seen = self._ask("read the clock", self._asked_clock)
        return seen[0] + timedelta(seconds=elapsed() - seen[1])

    def _asked_clock(self, client: Any) -> tuple[datetime, float]:
        asked = elapsed()
        # A listing of one object, because a HEAD that is refused says nothing but 403 or 404.
        answer = self._list(client, "list_objects_v2", MaxKeys=1)
        told = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
        ours = self._ours() if self._ours else told
        seen = elapsed()
        return within(told, ours, seen - asked), seen

    def close(self) -> None:
        """Close the connections. The store can still be used, and then opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _at(self, name: str, version: str | None = None) -> dict[str, Any]:
        where = {"Bucket": self._settings.bucket, "Key": self._settings.prefix + name}
        return where if version is None else where | {"VersionId": version}

    def _object_pages(self, prefix: str, *, one_level: bool) -> Iterator[Page]:
        more: dict[str, str] | None = {}
        while more is not None:
            answer = self._page("list_objects_v2", prefix, more, one_level=one_level)
            objects = [self._found(each, None, latest=True) for each in answer.get("Contents", [])]
            yield Page(_named(objects), _folders(answer, self._settings.prefix))
            more = {"ContinuationToken": answer["NextContinuationToken"]} if answer["IsTruncated"] else None

    def _version_pages(self, prefix: str, *, one_level: bool) -> Iterator[Page]:
        more: dict[str, str] | None = {}
        while more is not None:
            answer = self._page("list_object_versions", prefix, more, one_level=one_level)
            objects = [
                self._found(each, each["VersionId"], latest=each["IsLatest"], delete_marker=delete_marker)
                for kind, delete_marker in (("Versions", False), ("DeleteMarkers", True))
                for each in answer.get(kind, [])
            ]
            yield Page(
                sorted(_named(objects), key=lambda one: one.name), _folders(answer, self._settings.prefix)
            )
            more = None
            if answer["IsTruncated"]:
                version = answer.get("NextVersionIdMarker")
                more = {"KeyMarker": answer["NextKeyMarker"]} | (
                    {"VersionIdMarker": version} if version else {}
                )

    def _page(self, operation: str, prefix: str, more: dict[str, str], *, one_level: bool) -> dict[str, Any]:
        parameters = more | ({"Delimiter": "/"} if one_level else {})
        what = f"list {prefix or 'everything'}"
        answer: dict[str, Any] = self._ask(
            what, lambda client: self._list(client, operation, prefix, **parameters)
        )
        if "IsTruncated" not in answer:  # an empty 200 would otherwise read as an empty bucket
            raise outage("its answer is no listing", self._asked(what))
        return answer

    def _list(self, client: Any, operation: str, prefix: str = "", **parameters: Any) -> Any:
        place = {"Bucket": self._settings.bucket, "Prefix": self._settings.prefix + prefix}
        return getattr(client, operation)(**place, **parameters)

    def _found(
        self, each: Mapping[str, Any], version: str | None, *, latest: bool, delete_marker: bool = False
    ) -> ObjectVersion:
        name = each["Key"].removeprefix(self._settings.prefix)
        modified = each["LastModified"].astimezone(UTC)
        return ObjectVersion(name, each.get("Size", 0), modified, version, latest, delete_marker)

    def _ask(self, what: str, request: _Request, *, instead: Mapping[str, Any] | None = None) -> Any:
        """Return what request makes of the client, or what instead holds for the store's error code.

        Expired credentials are renewed once; every other error is translated.
        """
        client = self._connected()
        try:
            return request(client)
        except ClientError as cause:
            code = cause.response["Error"]["Code"]
            if instead and code in instead:
                return instead[code]
            if code not in EXPIRED:
                raise self._translated(cause, what) from cause
        except BotoCoreError as cause:
            raise self._translated(cause, what) from cause
        try:
            return request(self._connected(instead_of=client))
        except (BotoCoreError, ClientError) as cause:
            raise self._translated(cause, what) from cause

    def _asked(self, what: str) -> Asked:
        return Asked(what, self._settings.bucket, self._settings.place)

    def _translated(self, cause: BotoCoreError | ClientError, what: str) -> StoreUnavailable:
        asked = self._asked(what)
        match cause:
            case ClientError(response=response):
                status = response["ResponseMetadata"].get("HTTPStatusCode", 0)
                return refusal(response["Error"]["Code"], status, asked)
            case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
                return refusal("NoCredentials", 0, asked)
            case ParamValidationError():  # the one parameter that nobody has checked before
                return refusal("InvalidBucketName", 0, asked)
            case _:
                return unreachable(cause, asked)

    def _connected(self, instead_of: Any = None) -> Any:
        """Return the client; a new one, with credentials asked for again, if it is still instead_of."""
        with self._lock:
            if self._client is None or self._client is instead_of:
                self._client = _connect(self._settings)
            return self._client


def _named(found: list[ObjectVersion]) -> list[ObjectVersion]:
    """Return those that drtool may have named: what else lies in the bucket is none of ours."""
    return [one for one in found if is_name(one.name)]


def _folders(answer: Mapping[str, Any], prefix: str) -> list[str]:
    found = (each["Prefix"].removeprefix(prefix) for each in answer.get("CommonPrefixes", []))
    return [folder for folder in found if is_name(folder.removesuffix("/"))]


def _connect(settings: S3Settings) -> Any:
    keys = settings.credentials() if settings.credentials is not None else None
    session = boto3.session.Session(
        aws_access_key_id=keys and keys.access_key,
        aws_secret_access_key=keys and keys.secret_key,
        aws_session_token=keys and keys.session_token,
    )
    return session.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region or session.region_name or "us-east-1",
        verify=None if settings.ca_file is None else str(settings.ca_file),
        config=Config(
            signature_version="s3v4",
            s3={
                "addressing_style": "path" if settings.endpoint else "auto",
                "payload_signing_enabled": False,
            },
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},  # RetryingStore repeats, and asks a fence before each
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
        ),
    )
