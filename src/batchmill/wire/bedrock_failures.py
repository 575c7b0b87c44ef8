"""
What Bedrock's errors mean: by code, then words, then status.

A `ValidationException` is a bad row as well as a model that does not exist or an account that may
not use it, and only its words tell them apart. Where the words change, the row is final as
`invalid_request`. Sources: the error shapes of botocore 1.44.5, the vendor's page on error codes
(read 2026-11-28); words that only users have reported carry their thread in the tests.
"""

import re
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.wire import _loose
from batchmill.wire.failures import excerpt

_CODES: Final = {
    "AccessDeniedException": Failure.ACCOUNT,
    "ExpiredTokenException": Failure.ACCOUNT,
    "FTUFormNotFilled": Failure.ACCOUNT,
    "IncompleteSignature": Failure.ACCOUNT,
    "IncompleteSignatureException": Failure.ACCOUNT,
    "InvalidClientTokenId": Failure.ACCOUNT,
    "InvalidSignatureException": Failure.ACCOUNT,
    "MissingAuthenticationTokenException": Failure.ACCOUNT,
    "NotAuthorized": Failure.ACCOUNT,
    "OptInRequired": Failure.ACCOUNT,
    "RequestExpired": Failure.ACCOUNT,  # our clock is wrong
    "ResourceNotFoundException": Failure.ACCOUNT,  # no such model, or one at the end of its life
    "SignatureDoesNotMatch": Failure.ACCOUNT,
    "UnrecognizedClientException": Failure.ACCOUNT,
    "InternalFailure": Failure.SERVER,
    "InternalServerException": Failure.SERVER,
    "ModelErrorException": Failure.SERVER,
    "ModelTimeoutException": Failure.SERVER,
    "ServiceUnavailable": Failure.SERVER,
    "ServiceUnavailableException": Failure.SERVER,
    "ModelNotReadyException": Failure.RATE_LIMITED,
    "ServiceQuotaExceededException": Failure.QUOTA,
}
_WORDS: Final = (
    # Said of the account or of the model, with any code.
    ("model identifier is invalid", Failure.ACCOUNT),
    ("with on-demand throughput isn", Failure.ACCOUNT),  # the apostrophe is a curly one, today
    ("not authorized", Failure.ACCOUNT),
    ("operation not allowed", Failure.ACCOUNT),
    ("access to the model", Failure.ACCOUNT),
    ("reached the end of its life", Failure.ACCOUNT),
    ("marked by provider as legacy", Failure.ACCOUNT),
    ("security token", Failure.ACCOUNT),
    ("input is too long", Failure.TOO_LONG),
    ("prompt is too long", Failure.TOO_LONG),
    ("too many input tokens", Failure.TOO_LONG),
    ("exceed context limit", Failure.TOO_LONG),
    ("context length", Failure.TOO_LONG),
    ("expected maxlength", Failure.TOO_LONG),
    ("length limit exceeded", Failure.TOO_LONG),
    ("content filter", Failure.REFUSED),
    ("guardrail intervened", Failure.REFUSED),
    ("could not process image", Failure.INVALID_MEDIA),
    ("could not process pdf", Failure.INVALID_MEDIA),
    ("image exceeds", Failure.INVALID_MEDIA),
    ("image does not match", Failure.INVALID_MEDIA),
)
#: The place that a complaint names, e.g. `messages.0.content.2.image.source.bytes: …`.
_IN_MEDIA: Final = re.compile(r"\.(image|document|video|audio|pdf)\.source\b")
_STATUSES: Final = {
    401: Failure.ACCOUNT,
    403: Failure.ACCOUNT,
    408: Failure.SERVER,
    409: Failure.SERVER,
    413: Failure.TOO_LONG,
    424: Failure.SERVER,  # "the request failed due to an error while processing the model"
    429: Failure.RATE_LIMITED,
}
_THROTTLED: Final = ("ThrottlingException", "TooManyRequestsException")


class _ErrorBody(msgspec.Struct):
    kind: object = msgspec.field(default=None, name="__type")
    code: object = None
    message: object = None
    Message: object = None


_error_body = msgspec.json.Decoder(_ErrorBody).decode


def failure_of(status: int, code: str, message: str) -> Failure:
    """Return the class of an error; *status* is that of HTTP, or a record's `errorCode`."""
    if (known := _CODES.get(code)) is not None:
        return known
    words = message.lower()
    if code in _THROTTLED or status == 429:
        return Failure.QUOTA if "per day" in words else Failure.RATE_LIMITED
    if status < 500:
        for said, failure in _WORDS:
            if said in words:
                return failure
        if _IN_MEDIA.search(words):
            return Failure.INVALID_MEDIA
    if (by_status := _STATUSES.get(status)) is not None:
        return by_status
    client = 400 <= status < 500 or code == "ValidationException"
    return Failure.INVALID_REQUEST if client else Failure.SERVER


def names_account(body: bytes) -> bool:
    """Say whether an error names the key, the right or the model, and not merely this one row."""
    code, message = error_words(body)
    return failure_of(400, code, message) is Failure.ACCOUNT


def error_words(body: bytes) -> tuple[str, str]:
    """Return (code, message) of an error body; the code as `bare` leaves it, where there is one."""
    try:
        found = _error_body(body.removeprefix(_loose.MARK))
    except _loose.UNREADABLE:
        return "", excerpt(body)
    code = found.kind if isinstance(found.kind, str) else found.code
    message = found.message if isinstance(found.message, str) else found.Message
    words = message if isinstance(message, str) and message else excerpt(body)
    return bare(code) if isinstance(code, str) else "", words


def bare(code: str) -> str:
    """
    Return an error's name without what stands around it.

    The header says `ThrottlingException:http://internal.amazon.com/coral/…` (aws-samples/
    amazon-bedrock-client-for-mac issue 99), a body may say `com.amazon.coral.service#Name`.
    """
    return code.partition(":")[0].rpartition("#")[2]
