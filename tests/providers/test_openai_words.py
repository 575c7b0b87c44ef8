"""What a batch that was refused as a whole means for its rows, in the vendors' own words."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from batchmill.core.failure import Failure
from batchmill.core.request import Request
from batchmill.ports import Offer
from batchmill.providers._openai_words import refusal

ROWS = 4


async def requests() -> AsyncIterator[Sequence[Request]]:
    for _ in ():
        yield []


OFFER = Offer(
    shard_id="batch_x-0001",
    dialect="openai.chat",
    url="/v1/chat/completions",
    model="gpt-4o-mini",
    count=ROWS,
    requests=requests,
)


def errors(*said: dict[str, Any]) -> dict[str, Any]:
    whole = ({"code": "", "message": "", "param": None, "line": None} | one for one in said)
    return {"status": "failed", "errors": {"object": "list", "data": list(whole)}}


#: One error, and what it means: for the whole batch, or for the line it names.
WHOLE = {
    "openai-python#2084": (
        {
            "code": "token_limit_exceeded",
            "message": "Enqueued token limit reached for gpt-4o-mini in organization org-x. "
            "Limit: 2,000,000 enqueued tokens. Please try again once some in_progress batches "
            "have been completed.",
        },
        Failure.QUOTA,
    ),
    "azure: learn Q&A 2285577": (
        {
            "code": "token_limit_exceeded",
            "message": "The number of enqueued tokens has surpassed the configured limit",
        },
        Failure.QUOTA,
    ),
    "recorded: file gone": (
        {
            "code": "invalid_request",
            "param": "file_id",
            "message": "Cannot find file file-x, or organization org-x does not have access to it.",
        },
        Failure.SERVER,
    ),
    "recorded: no such model": (
        {
            "code": "model_not_found",
            "param": "body.model",
            "line": 1,
            "message": "The provided model 'gpt-4o-mini' is not supported by the Batch API.",
        },
        Failure.ACCOUNT,
    ),
    "azure: how-to batch, model_not_found": (
        {
            "code": "model_not_found",
            "line": 1,
            "message": "The deployment name in the model property of the file was not found.",
        },
        Failure.ACCOUNT,
    ),
    "azure: how-to batch, input_no_permissions": (
        {"code": "input_no_permissions", "message": "The input file cannot be read."},
        Failure.ACCOUNT,
    ),
    "azure: how-to batch, too_many_tasks": (
        {"code": "too_many_tasks", "message": "The number of requests exceeds the maximum."},
        Failure.NOT_RUN,
    ),
}


@pytest.mark.parametrize(("said", "failure"), WHOLE.values(), ids=WHOLE)
def test_what_is_said_of_the_batch_holds_for_every_row(
    said: dict[str, Any], failure: Failure
) -> None:
    why, named = refusal(errors(said), OFFER)

    assert (why.failure, named) == (failure, {})
    assert said["message"] in why.message


LINES = {
    "recorded: json": ("invalid_json_line", "This line is not parseable as valid JSON."),
    "recorded: field": ("missing_required_parameter", "Missing required parameter: 'custom_id'."),
    "recorded: url": (
        "invalid_url",
        "The URL provided for this request does not match the batch endpoint.",
    ),
    "recorded: stream": (
        "streaming_unsupported",
        "Chat Completions: Streaming is not supported in the Batch API.",
    ),
    "recorded: model": ("invalid_request", "Model parameter is required."),
    "recorded: other model": (
        "model_not_found",
        "The provided model 'gpt-9' is not supported by the Batch API.",
    ),
    "community 723696": (
        "duplicate_custom_id",
        "The custom_id for this request is a duplicate of another request.",
    ),
    "azure: how-to batch": ("model_mismatch", "The name does not match the rest of the file."),
}


@pytest.mark.parametrize(("code", "message"), LINES.values(), ids=LINES)
def test_what_is_said_of_a_line_is_that_rows_fault(code: str, message: str) -> None:
    why, named = refusal(errors({"code": code, "message": message, "line": 3}), OFFER)

    assert set(named) == {3}
    assert named[3].failure is Failure.INVALID_REQUEST
    assert named[3].message == why.message == f"{code}: {message}"


def test_many_lines_may_be_named_and_the_first_complaint_of_each_counts() -> None:
    said = [{"code": f"c{n}", "message": "no", "line": line} for n, line in enumerate([2, 2, 4])]

    _, named = refusal(errors(*said), OFFER)

    assert {line: words.message for line, words in named.items()} == {2: "c0: no", 4: "c2: no"}


@pytest.mark.parametrize("line", [0, -1, ROWS + 1, "3rd", 1.5, True])
def test_a_line_that_is_none_of_ours_names_nobody(line: object) -> None:
    why, named = refusal(errors({"code": "x", "message": "no", "line": line}), OFFER)

    assert (why.failure, named) == (Failure.INVALID_REQUEST, {})


@pytest.mark.parametrize("batch", [{}, {"errors": None}, {"errors": {"data": []}}, {"errors": 7}])
def test_no_reason_is_the_vendors_trouble(batch: dict[str, Any]) -> None:
    why, named = refusal(batch, OFFER)

    assert (why.failure, named) == (Failure.SERVER, {})
