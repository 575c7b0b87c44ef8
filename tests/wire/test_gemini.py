"""Gemini's lines and answers, on its own API and on Vertex."""

import json
from typing import Any

import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import GEMINI_EMBED, GEMINI_GENERATE, Request
from batchmill.wire import gemini, gemini_operation, google

QUOTA = "You exceeded your current quota, please check your plan and billing details."
HELP = "For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."


def answered(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> bytes:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish}
    return json.dumps(
        {"candidates": [candidate], "modelVersion": "gemini-2.5-flash"} | more
    ).encode()


def judged(body: bytes, status: int = 200, dialect: str = GEMINI_GENERATE):
    return gemini.result("row", status, body, dialect)


def told(line: bytes) -> Result:
    found = gemini.parse_line(line, GEMINI_GENERATE)
    assert found is not None
    return found


# -- what a row's error means -----------------------------------------------------------------------

#: (HTTP status or canonical code, message, class); the id is the source.
ERRORS = [
    pytest.param(429, f"{QUOTA} {HELP}", "rate_limited", id="python-genai#1901"),
    pytest.param(429, "Resource has been exhausted (e.g. check quota).", "rate_limited", id="python-genai#2065"),
    pytest.param(8, "Resource exhausted. Please try again later.", "rate_limited", id="capture: codes are canonical"),
    pytest.param(429, "Enqueued tokens exceed the limit of this tier.", "quota", id="rate limits page, batch: a guess at the words"),
    pytest.param(429, f"{QUOTA} * Quota exceeded for metric: generate_content_free_tier_requests, limit: 0, model: gemini-2.5-pro", "account", id="continue#10062"),
    pytest.param(429, f"{QUOTA} * Quota exceeded for metric: generate_requests, limit: 0.5", "rate_limited", id="a limit that is not nothing"),
    pytest.param(503, "The model is overloaded. Please try again later.", "server", id="troubleshooting page: 503 UNAVAILABLE"),
    pytest.param(14, "overloaded", "server", id="code.proto 14"),
    pytest.param(13, "internal", "server", id="capture: gemini.json"),
    pytest.param(500, "An internal error has occurred.", "server", id="troubleshooting page: 500 INTERNAL"),
    pytest.param(4, "Deadline expired before operation could complete.", "server", id="troubleshooting page: 504"),
    pytest.param(4, "The batch expired before the request was run.", "expired", id="batch guide, 48 h: a guess at the words"),
    pytest.param(0, "", "server", id="neither code nor words"),
    pytest.param(3, "bad", "invalid_request", id="capture: gemini.json, a row"),
    pytest.param(400, 'Invalid JSON payload received. Unknown name "x": Cannot find field.', "invalid_request", id="troubleshooting page: 400"),
    pytest.param(400, "Aspect ratio is not enabled for this model", "invalid_request", id="Gemini-Nexus#13"),
    pytest.param(400, "The input token count (2551556) exceeds the maximum number of tokens allowed (1048576).", "too_long", id="gemini-cli#11248"),
    pytest.param(400, "The input token count exceeds the maximum number of tokens allowed 1048576.", "too_long", id="gemini-cli#15184"),
    pytest.param(400, "Request payload size exceeds the limit: 20971520 bytes.", "too_long", id="files guide: 20 MB"),
    pytest.param(400, "Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting", "invalid_media", id="gemini-cli#5064"),
    pytest.param(400, "Provided image is not valid", "invalid_media", id="Open-Interface#64"),
    pytest.param(403, "You do not have permission to access the File xxxx or it may not exist.", "invalid_media", id="python-genai#1218"),
    pytest.param(400, "API key not valid. Please pass a valid API key.", "account", id="troubleshooting page: API_KEY_INVALID"),
    pytest.param(401, "Request had invalid authentication credentials.", "account", id="vertex: 401"),
    pytest.param(403, "The caller does not have permission", "account", id="gemini-cli#25607"),
    pytest.param(400, "User location is not supported for the API use.", "account", id="gemini-cli#24641"),
    pytest.param(404, "models/gemini-2.0-flash-preview-image-generation is not found for API version v1beta, or is not supported for generateContent.", "account", id="chatwise-releases#794"),
    pytest.param(404, "Publisher Model `projects/p/locations/us-central1/publishers/google/models/gemini-3-flash-preview` was not found or your project does not have access to it.", "account", id="pollinations#6148"),
    pytest.param(1, "The operation was cancelled.", "canceled", id="code.proto 1"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message", "failure"), ERRORS)
def test_an_error_has_its_class(code: int, message: str, failure: str) -> None:
    line = {"key": "row", "error": {"code": code, "message": message}}

    found = told(json.dumps(line).encode())

    assert found.failure == failure
    assert message in found.detail
    assert found.outcome == {"expired": "expired", "canceled": "canceled"}.get(failure, "errored")


def test_a_reason_in_the_details_is_heard_too() -> None:
    # sub2api#1709 (2026-04): other words for the same
    reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    error = {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT", "details": [reason]}
    body = json.dumps({"error": error}).encode()

    assert judged(body, 400).failure is Failure.ACCOUNT
    assert google.names_account(body)
    assert not google.names_account(b'{"error":{"code":403,"message":"Blocked here."}}')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]',
            "503 UNAVAILABLE: busy",
        ),
        (b"<html>Bad Gateway</html>", "502: <html>Bad Gateway</html>"),
        (b'{"error":"invalid_grant"}', "502: invalid_grant"),
        (b'{"error":{"code":"many","message":7}}', "502"),
        (b"", "502: an empty body"),
    ],
)
def test_an_error_of_any_shape_keeps_its_words(body: bytes, said: str) -> None:
    assert judged(body, 502).failure is Failure.SERVER
    assert judged(body, 502).detail.startswith(said)


# -- answers ------------------------------------------------------------------------------------------


def test_an_answer_is_its_text_without_the_thoughts() -> None:
    usage = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 20,
        "toolUsePromptTokenCount": 2,
        "totalTokenCount": 35,
    }
    body = answered(
        {"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}, usageMetadata=usage
    )

    found = judged(body)

    assert (found.outcome, found.answer, found.model) == ("succeeded", "ab", "gemini-2.5-flash")
    assert found.usage == Usage(12, 23, 4, 20)
    assert found.body == body


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([{"functionCall": {"name": "f", "args": {"x": 1}}}], '[{"name":"f","args":{"x":1}}]'),
        ([{"inlineData": {"mimeType": "image/png", "data": "AA"}}], '[{"inlineData":{"mimeType":"image/png","data":"AA"}}]'),
        ([{"text": "", "thoughtSignature": "s"}, {"functionCall": {"name": "g"}}], '[{"name":"g"}]'),
        ([{"text": ""}], ""),  # pydantic-ai#3504 (2025-11): it does so at will
    ],
)  # fmt: skip
def test_an_answer_may_be_no_text(parts: list[Any], answer: str) -> None:
    assert judged(answered(*parts)).answer == answer


@pytest.mark.parametrize(
    ("finish", "failure"),
    [
        ("MAX_TOKENS", Failure.TRUNCATED),
        ("SAFETY", Failure.REFUSED),
        ("RECITATION", Failure.REFUSED),
        ("PROHIBITED_CONTENT", Failure.REFUSED),
        ("BLOCKLIST", Failure.REFUSED),
        ("SPII", Failure.REFUSED),
        ("IMAGE_SAFETY", Failure.REFUSED),
        ("MALFORMED_FUNCTION_CALL", Failure.SCHEMA),
        ("OTHER", Failure.SERVER),
        ("SOMETHING_NEW", Failure.SERVER),
    ],
)
def test_an_answer_that_was_stopped_keeps_what_there_is(finish: str, failure: Failure) -> None:
    found = judged(answered({"text": "half"}, finish=finish, usageMetadata={"promptTokenCount": 5}))

    assert (found.outcome, found.failure, found.answer) == (Outcome.ERRORED, failure, "half")
    assert found.usage == Usage(5)
    assert finish in found.detail or failure is Failure.TRUNCATED


def test_a_blocked_prompt_is_a_refusal_and_not_an_error() -> None:
    body = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":7}}'

    found = judged(body)

    assert (found.failure, found.detail) == (Failure.REFUSED, "the prompt was blocked (SAFETY)")
    assert found.usage == Usage(7)


@pytest.mark.parametrize(
    "body",
    [
        # litellm#24442 (2026-03), deprecated-generative-ai-python#744 (2025-08): asked again, it answers
        b'{"candidates":[{"content":{"role":"model"},"finishReason":"STOP","index":0}]}',
        b'{"candidates":[{"finishReason":"STOP"}]}',
        b'{"candidates":[]}',
        b"{}",
    ],
)
def test_an_answer_without_anything_may_be_asked_for_again(body: bytes) -> None:
    assert judged(body).failure is Failure.SERVER


def test_an_odd_decoration_does_not_lose_an_answer() -> None:
    body = b'{"candidates":[{"content":{"parts":[{"text":"hi \xff"}]}}],"usageMetadata":{"promptTokenCount":-1,"candidatesTokenCount":2},"modelVersion":7}'

    found = judged(body)

    assert (found.failure, found.answer, found.usage) == (None, "hi \ufffd", Usage(0, 2))
    assert json.loads(found.body)


@pytest.mark.parametrize("body", [b"no json", b'"text"', b'{"candidates":{"a":1}}'])
def test_what_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    assert judged(body).failure is Failure.SERVER


@pytest.mark.parametrize(
    ("more", "usage"),
    [({"usageMetadata": {"promptTokenCount": 3}}, Usage(3)), ({"tokenCount": "4"}, Usage(4)), ({}, None)],
)  # fmt: skip
def test_a_vector_is_an_answer(more: dict[str, Any], usage: Usage | None) -> None:
    body = json.dumps({"embedding": {"values": [0.25, -1.0]}} | more).encode()

    found = judged(body, dialect=GEMINI_EMBED)

    assert (found.answer, found.usage) == ("[0.25,-1.0]", usage)
    assert judged(b"{}", dialect=GEMINI_EMBED).failure is Failure.SERVER


# -- lines --------------------------------------------------------------------------------------------


def test_a_request_is_rendered_for_a_file_for_a_call_and_for_vertex() -> None:
    request = Request("batch_x-0001-7", b'{"contents":[]}')

    file, inline, vertex = (
        json.loads(render(request))
        for render in (gemini.render_line, gemini.render_inline, gemini.render_vertex_line)
    )

    assert file == {"key": "batch_x-0001-7", "request": {"contents": []}}
    assert inline == {"metadata": {"key": "batch_x-0001-7"}, "request": {"contents": []}}
    assert vertex == {"request": {"contents": [], "labels": {"batchmill": "batch_x-0001-7"}}}


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        (b"{}", {"batchmill": "b-1"}),
        (b' { "contents" : [ ] } ', {"batchmill": "b-1"}),
        (b'{"labels":{"team":"a"}}', {"team": "a", "batchmill": "b-1"}),
        (b'{"labels":null}', {"batchmill": "b-1"}),
        (b'{"contents":[{"parts":[{"text":"\\"labels\\""}]}]}', {"batchmill": "b-1"}),
    ],
)
def test_a_label_joins_those_that_are_there(body: bytes, labels: dict[str, str]) -> None:
    found = json.loads(gemini.render_vertex_line(Request("b-1", body)))

    assert found["request"]["labels"] == labels
    assert found["request"].keys() - {"labels"} == json.loads(body).keys() - {"labels"}


def test_a_name_that_is_no_label_is_left_to_the_hash() -> None:
    assert gemini.render_vertex_line(Request("Upper-1", b"{}")) == b'{"request":{}}'


# -- vertex -------------------------------------------------------------------------------------------


def vertex_line(request: dict[str, Any], status: str = "", response: bytes = b"{}") -> bytes:
    head = json.dumps(
        {"status": status, "processed_time": "2025-01-01T00:00:00Z", "request": request}
    )
    return head[:-1].encode() + b',"response":' + response + b"}"


def test_a_line_of_vertex_is_known_by_its_label() -> None:
    request = {"contents": [], "labels": {"batchmill": "b-1"}}

    echo = gemini.parse_vertex_line(
        vertex_line(request, response=answered({"text": "hi"})), GEMINI_GENERATE
    )

    assert (echo.result.custom_id, echo.result.answer) == ("b-1", "hi")


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        # python-aiplatform#4485 (2024-09)
        ('RESOURCE_EXHAUSTED error occurred: {"error": {"code": 429, "message": "Online prediction request quota exceeded for gemini-1.5-pro. Please try again later with backoff.", "status": "RESOURCE_EXHAUSTED"}}', "rate_limited"),
        ('Bad Request: {"error": {"code": 400, "message": "Provided image is not valid", "status": "INVALID_ARGUMENT"}}', "invalid_media"),
        ("INTERNAL", "server"),
        ("DEADLINE_EXCEEDED: it took too long", "server"),
        ("INVALID_ARGUMENT: odd {", "invalid_request"),
        ("something went wrong", "server"),
    ],
)  # fmt: skip
def test_the_words_of_a_vertex_row_have_their_class(status: str, failure: str) -> None:
    echo = gemini.parse_vertex_line(
        vertex_line({"labels": {"batchmill": "b-1"}}, status), GEMINI_GENERATE
    )

    assert (echo.result.custom_id, echo.result.failure) == ("b-1", failure)


def test_an_echo_in_another_spelling_has_the_same_fingerprint() -> None:
    sent = b'{"systemInstruction":{"parts":[{"text":"a_b"}]},"generationConfig":{"topK":1,"topP":1.0},"labels":{"batchmill":"b-1"}}'
    echo = b'{"generation_config":{"topP":1,"topK":1.0,"seed":null},"system_instruction":{"parts":[{"text":"a_b"}]}}'

    assert gemini.fingerprint(sent) == gemini.fingerprint(echo)
    assert gemini.fingerprint(sent) != gemini.fingerprint(echo.replace(b"a_b", b"ab"))


def test_a_row_of_a_table_is_a_line_in_columns() -> None:
    sent = json.loads(gemini.render_bigquery_row(Request("b-1", b'{"contents":[]}')))
    row = sent | {"response": answered({"text": "hi"}).decode(), "status": None}

    echo = gemini.parse_bigquery_row(row, GEMINI_GENERATE)
    by_label = gemini.parse_bigquery_row(row | {"key": None}, GEMINI_GENERATE)
    broken = gemini.parse_bigquery_row(row | {"response": '{"cand'}, GEMINI_GENERATE)

    assert sent["request"] == '{"contents":[],"labels":{"batchmill":"b-1"}}'
    assert (echo.result.custom_id, echo.result.answer) == ("b-1", "hi")
    assert by_label.result == echo.result
    assert (broken.result.custom_id, broken.result.failure) == ("b-1", Failure.SERVER)


# -- the record of a batch ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "state", "ended"),
    [
        ({"metadata": {"state": "BATCH_STATE_RUNNING"}}, "RUNNING", False),
        ({"metadata": {"state": "JOB_STATE_PARTIALLY_SUCCEEDED"}}, "PARTIALLY_SUCCEEDED", True),
        ({"metadata": {"state": "BATCH_STATE_DREAMING"}}, "DREAMING", False),
        ({"done": True, "response": {}}, "SUCCEEDED", True),
        ({"done": True, "error": {"code": 13}}, "FAILED", True),
        ({"done": True, "error": {"code": 1}}, "CANCELLED", True),
        ({"done": True, "metadata": {"state": "BATCH_STATE_RUNNING"}, "error": {"code": 3}}, "FAILED", True),
        ({}, "", False),
    ],
)  # fmt: skip
def test_a_batch_has_ended_when_either_word_says_so(
    record: dict[str, Any], state: str, ended: bool
) -> None:
    found = gemini_operation.parse(json.dumps(record).encode())

    assert (found.state, found.ended) == (state, ended)


@pytest.mark.parametrize("name", ["inlinedResponses", "inlinedEmbedContentResponses"])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("place", ["response", "metadata"])
def test_inline_answers_are_found_wherever_they_are(name: str, nested: bool, place: str) -> None:
    rows = [{"metadata": {"key": "k"}, "response": {}}]
    output = {name: {"inlinedResponses": rows} if nested else rows}
    record = {"response": output} if place == "response" else {"metadata": {"output": output}}

    [found] = gemini_operation.parse(json.dumps(record).encode()).inlined

    assert json.loads(bytes(found)) == rows[0]


def test_an_ordinary_line_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(gemini, "_odd_line")
    monkeypatch.delattr(gemini, "_odd_answer")
    response = answered({"text": "hello"}, usageMetadata={"promptTokenCount": 3})

    found = told(b'{"key":"k","response":%b}' % response)
    failed = told(b'{"key":"k","error":{"code":3,"message":"bad"}}')

    assert (found.answer, failed.failure) == ("hello", Failure.INVALID_REQUEST)
