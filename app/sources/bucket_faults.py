"""What obstore's errors mean. They carry the storage's answer as text only, which is read here.

The text itself, the exception and its cause go no further: they hold URLs, access key ids, and in
Azure's case signatures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.core.errors import BadInput, ClairError, PhotoRejected, SourceUnavailable
from app.sources.egress import Lane

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_REGION = re.compile(r"<Region>([a-z0-9-]{1,32})</Region>")
_ODD_PATH = re.compile(r'Path "(.*?)"(?: contained|: )', re.S)

# Error codes of Amazon S3, Google Cloud Storage (XML API) and Azure Blob Storage, by their lists.
_BY_CODE = {
    code: reason
    for reason, codes in {
        "unauthorised": (
            "ExpiredToken InvalidToken TokenRefreshRequired InvalidAccessKeyId InvalidSecurity"
            " SignatureDoesNotMatch RequestTimeTooSkewed AuthenticationRequired InvalidClientTokenId"
            " AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation"
        ),
        "forbidden": (
            "AccessDenied AllAccessDisabled AccountProblem AuthorizationFailure"
            " AuthorizationPermissionMismatch AuthorizationSourceIPMismatch"
            " InsufficientAccountPermissions PublicAccessNotPermitted"
        ),
        "archived": "InvalidObjectState BlobArchived BlobBeingRehydrated",
        "rate-limited": "SlowDown TooManyRequests ServerBusy",
        "wrong-region": (
            "AuthorizationHeaderMalformed PermanentRedirect IllegalLocationConstraintException"
        ),
    }.items()
    for code in codes.split()
}
_BY_STATUS = {
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    407: "bad-redirect",  # of our own proxy: a redirect that left its lane without the secret
    410: "gone",
    412: "broken-off",  # the object changed while it was read
    429: "rate-limited",
}
_PASSING = frozenset(
    {"rate-limited", "server-error", "timeout", "broken-off", "bad-certificate", "unreachable"}
)
_WORDS = {
    "unauthorised": "does not accept the credentials",
    "forbidden": "refuses access",
    "not-found": "has no such object",
    "gone": "says that it was removed",
    "archived": "keeps it in an archive from which it has to be restored first",
    "rate-limited": "asks to slow down",
    "server-error": "failed",
    "timeout": "was too slow",
    "broken-off": "broke off",
    "bad-certificate": "has a certificate that is not valid",
    "unreachable": "can't be reached",
    "wrong-region": "keeps the bucket in another region",
    "bad-redirect": "sends on to another server, which isn't followed",
    "bad-listing": "answers with something that is no listing",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`detail` is the storage's status and error code; `region` where it said one. `known` is an
    error of the proxy or of ours, which says more than any of this."""

    reason: str
    detail: str = ""
    region: str = ""
    known: ClairError | None = None

    def of_photo(self, uri: str, origin: str) -> ClairError:
        """For one object."""
        if self.known is not None:
            return self.known
        message = f"{origin} {self.words()}: {uri}"
        if self.reason in _PASSING:
            return SourceUnavailable(self.reason, message)
        # The region is the source's, so that a photo can do no more than say that it is refused.
        reason = "forbidden" if self.reason in ("wrong-region", "bad-listing") else self.reason
        return PhotoRejected(reason, message)

    def of_listing(self, base: str, origin: str, cures: dict[str, str]) -> ClairError:
        """For the bucket as a whole: what can't pass by itself is the owner's to mend."""
        if isinstance(self.known, PhotoRejected):
            return BadInput(self.known.message, cure=self.known.cure)
        if self.known is not None:
            return self.known
        if self.reason == "not-found":
            message = f"{origin} has no such bucket ({self.detail}): {base}."
            return BadInput(message, cure="Check its name, the endpoint and the region.")
        message = f"{origin} {self.words()}: {base}"
        if self.reason in _PASSING:
            return SourceUnavailable(self.reason, message)
        cure = cures.get(self.reason, "")
        if self.reason == "wrong-region" and self.region:
            cure = f"Set the region to {self.region}."
        return BadInput(f"{message}.", cure=cure)

    def words(self) -> str:
        words = _WORDS.get(self.reason, "answers with an error")
        return f"{words} ({self.detail})" if self.detail else words


def fault_of(error: Exception, lane: Lane) -> Fault | None:
    """None for obstore's way to say that nothing changed."""
    said, _, debug = str(error).partition("\n\nDebug source:")
    if lane.mark in said and lane.fault is not None:
        return Fault(lane.fault.reason, known=lane.fault)
    status = _STATUS.search(said)
    if status is not None:
        return _answered(int(status[1]), said[status.end() :])
    if "redirect without LOCATION" in said:
        return Fault("wrong-region", "301")
    if "invalid list response" in said:
        return Fault("bad-listing")
    reason = _unanswered(error, debug)
    if reason == "unreachable" and lane.fault is not None:
        return Fault(lane.fault.reason, known=lane.fault)
    return Fault(reason)


def _answered(status: int, body: str) -> Fault | None:
    if status == 304:
        return None
    code, region = _CODE.search(body), _REGION.search(body)
    reason = _BY_CODE.get(code[1], "") if code is not None else ""
    if not reason and 300 <= status < 400:
        reason = "wrong-region"
    if not reason and (status in (408, 425) or status >= 500):
        reason = "server-error"
    return Fault(
        reason or _BY_STATUS.get(status, f"http-{status}"),
        f"{status} {code[1]}" if code is not None else str(status),
        region[1] if region is not None else "",
    )


def _unanswered(error: Exception, debug: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "not-found"
    if "InvalidCertificate" in debug or "invalid peer certificate" in debug:
        return "bad-certificate"
    if "kind: Timeout" in debug or "TimedOut" in debug:
        return "timeout"
    if "kind: Connect" in debug:
        return "unreachable"
    return "broken-off"


def odd_path(error: Exception) -> str:
    """The path for which obstore gave up a listing, "" where it does not say."""
    match = _ODD_PATH.search(str(error))
    return match[1] if match is not None else ""
