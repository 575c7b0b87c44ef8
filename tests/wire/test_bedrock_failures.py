"""What Bedrock's own words mean: each failure class, each case with its source."""

import json

import pytest

from batchmill.core.failure import Failure
from batchmill.core.request import BEDROCK_CONVERSE
from batchmill.wire import bedrock
from batchmill.wire.bedrock_failures import bare, error_words, failure_of, names_account

#: (status, code, message, class), by source. "page": the vendor's page on error codes (2026-11-28).
CASES = {
    # botocore 1.44.5, bedrock-runtime: the shapes with their statuses
    "botocore access": (403, "AccessDeniedException", "denied", Failure.ACCOUNT),
    "botocore model timeout": (408, "ModelTimeoutException", "too slow", Failure.SERVER),
    "botocore model error": (424, "ModelErrorException", "the model failed", Failure.SERVER),
    "botocore not ready": (429, "ModelNotReadyException", "not ready", Failure.RATE_LIMITED),
    "botocore internal": (500, "InternalServerException", "sorry", Failure.SERVER),
    "botocore unavailable": (503, "ServiceUnavailableException", "sorry", Failure.SERVER),
    "botocore quota": (400, "ServiceQuotaExceededException", "too many jobs", Failure.QUOTA),
    "botocore validation": (400, "ValidationException", "no", Failure.INVALID_REQUEST),
    # the page
    "page form": (404, "FTUFormNotFilled", "use case details", Failure.ACCOUNT),
    "page signature": (400, "IncompleteSignature", "not conform", Failure.ACCOUNT),
    "page token": (403, "InvalidClientTokenId", "does not exist", Failure.ACCOUNT),
    "page authorized": (400, "NotAuthorized", "no permission", Failure.ACCOUNT),
    "page expired": (400, "RequestExpired", "expired timestamps", Failure.ACCOUNT),
    "page internal": (500, "InternalFailure", "a server error", Failure.SERVER),
    # repost.aws/knowledge-center/bedrock-validation-exception-errors
    "repost model": (
        400,
        "ValidationException",
        "The provided model identifier is invalid.",
        Failure.ACCOUNT,
    ),
    "repost account": (
        400,
        "ValidationException",
        "Your AWS account is not authorized to invoke this API operation.",
        Failure.ACCOUNT,
    ),
    # langchain-aws issue 1019
    "profile": (
        400,
        "ValidationException",
        (
            "Invocation of model ID amazon.nova-2-lite-v1:0 with on-demand throughput isn\u2019t "
            "supported. Retry your request with the ID or ARN of an inference profile that contains "
            "this model."
        ),
        Failure.ACCOUNT,
    ),
    # BerriAI/litellm pull 28704
    "legacy": (400, "ValidationException", "Operation not allowed", Failure.ACCOUNT),
    # aws-samples/amazon-bedrock-workshop issue 386
    "inactive": (
        404,
        "ResourceNotFoundException",
        (
            "Access denied. This Model is marked by provider as Legacy and you have not been actively "
            "using the model in the last 15 days."
        ),
        Failure.ACCOUNT,
    ),
    # aws-solutions-library-samples/accelerated-intelligent-document-processing-on-aws issue 708
    "end of life": (
        404,
        "ResourceNotFoundException",
        "This model version has reached the end of its life.",
        Failure.ACCOUNT,
    ),
    # RooCodeInc/Roo-Code issue 5050
    "tokens a minute": (
        429,
        "ThrottlingException",
        "Too many tokens, please wait before trying again.",
        Failure.RATE_LIMITED,
    ),
    # minorun365/agent-book issue 29
    "tokens a day": (
        429,
        "ThrottlingException",
        "Too many tokens per day, please wait before trying again.",
        Failure.QUOTA,
    ),
    # aws-samples/bedrock-chat issue 95
    "too long": (
        400,
        "ValidationException",
        "Input is too long for requested model.",
        Failure.TOO_LONG,
    ),
    # aws-solutions-library-samples/… issue 160
    "too large": (
        400,
        "ValidationException",
        (
            'The model returned the following errors: {"code":"validation_error","message":"Failed to '
            'buffer the request body: length limit exceeded"}'
        ),
        Failure.TOO_LONG,
    ),
    # aws-solutions-library-samples/… issue 778
    "heavy image": (
        400,
        "ValidationException",
        (
            "The model returned the following errors: messages.0.content.2.image.source.bytes: image "
            "exceeds 5 MB maximum: 7167852 bytes > 5242880 bytes"
        ),
        Failure.INVALID_MEDIA,
    ),
    # aws-samples/video-semantic-search-with-aws-ai-ml-services issue 4
    "many pixels": (
        400,
        "ValidationException",
        "400 Bad Request: Image exceeds max pixels allowed.",
        Failure.INVALID_MEDIA,
    ),
    # boto/boto3 issue 4415
    "other format": (
        400,
        "ValidationException",
        (
            "The model returned the following errors: The provided image does not match the specified "
            "image format."
        ),
        Failure.INVALID_MEDIA,
    ),
    # anthropics/claude-code issue 58367: Anthropic's own words, which Bedrock passes on
    "blocked": (
        400,
        "ValidationException",
        "Output blocked by content filtering policy",
        Failure.REFUSED,
    ),
    # maximhq/bifrost pull 4516
    "extra": (
        400,
        "ValidationException",
        "modelId: Extra inputs are not permitted",
        Failure.INVALID_REQUEST,
    ),
    # boto/boto3 issue 4463
    "plain": (
        400,
        "ValidationException",
        "The model returned the following errors: Validation Error",
        Failure.INVALID_REQUEST,
    ),
    # no code: a record's errorCode, or a proxy on the way
    "bare 413": (413, "", "", Failure.TOO_LONG),
    "bare 401": (401, "", "", Failure.ACCOUNT),
    "bare 502": (502, "", "image exceeds", Failure.SERVER),
    "nothing": (0, "", "", Failure.SERVER),
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_has_its_class(case: str) -> None:
    status, code, message, failure = CASES[case]

    assert failure_of(status, code, message) is failure


@pytest.mark.parametrize("case", CASES)
def test_an_http_error_keeps_the_vendors_words(case: str) -> None:
    status, code, message, failure = CASES[case]
    body = json.dumps({"__type": code, "message": message} if code else {"message": message})

    result = bedrock.result("a", status or 500, body.encode(), BEDROCK_CONVERSE)

    assert result.failure is failure
    assert message in result.detail
    assert code in result.detail
    assert names_account(body.encode()) == (failure is Failure.ACCOUNT and bool(code))


def test_an_error_is_named_without_what_stands_around() -> None:
    # aws-samples/amazon-bedrock-client-for-mac issue 99
    header = "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/"

    assert bare(header) == "ThrottlingException"
    assert bare("com.amazon.coral.service#AccessDeniedException") == "AccessDeniedException"
    assert bare("ValidationException") == "ValidationException"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message":"no"}', ("", "no")),
        (b'{"Message":"no"}', ("", "no")),
        (b'{"__type":"a#B","message":"no"}', ("B", "no")),
        (b'{"code":"B:x","Message":"no"}', ("B", "no")),
        (b'{"message":null}', ("", '{"message":null}')),
        (b"<html>", ("", "<html>")),
        (b"", ("", "an empty body")),
        (b"[]", ("", "[]")),
    ],
)
def test_words_are_found_in_every_envelope(body: bytes, words: tuple[str, str]) -> None:
    assert error_words(body) == words
