"""Bedrock's records and Converse answers: what we say is what we hear, and odd answers are named."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, Request
from batchmill.wire import bedrock
from batchmill.wire.hub import ANSWER_TOOL

SHARD = "batch_x-0001"
bodies = st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=4)


def converse(*content: object, stop: str = "end_turn", **more: object) -> bytes:
    facts = {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop,
        "usage": {
            "inputTokens": 10,
            "outputTokens": 7,
            "totalTokens": 67,
            "cacheReadInputTokens": 30,
            "cacheWriteInputTokens": 20,
        },
        "metrics": {"latencyMs": 1290},
    }
    return json.dumps(facts | more).encode()


def record(name: str = "R0000000017", **more: object) -> bytes:
    return json.dumps({"recordId": name, "modelInput": {"messages": []}, **more}).encode()


def parsed(line: bytes, dialect: str = BEDROCK_CONVERSE) -> Result:
    return bedrock.parse_record(line, dialect, SHARD)


def judged(*content: object, stop: str = "end_turn", **more: object) -> Result:
    return bedrock.result("a", 200, converse(*content, stop=stop, **more), BEDROCK_CONVERSE)


@given(st.integers(0, 10**10 - 1), bodies)
def test_what_we_say_is_what_we_hear(row: int, body: dict[str, object]) -> None:
    request = Request(f"{SHARD}-{row}", json.dumps(body).encode())

    line = bedrock.render_record(request, BEDROCK_CONVERSE)

    heard = json.loads(line)
    assert len(heard["recordId"]) == 11
    assert heard["recordId"].isalnum()
    assert heard["modelInput"] == body
    assert bedrock.custom_id(heard["recordId"], SHARD) == request.custom_id
    assert b"\n" not in line


@given(bodies)
def test_a_claude_body_names_its_api_and_not_its_model(body: dict[str, object]) -> None:
    given = body | {"model": "claude", "stream": False}

    sent = json.loads(bedrock.invoke_body(json.dumps(given).encode()))

    version = {"anthropic_version": "bedrock-2023-05-31"}
    rest = {name: value for name, value in body.items() if name not in ("model", "stream")}
    assert sent == version | rest


@pytest.mark.parametrize("name", ["CALL0000001", "R17", "R00000000017", "r0000000017", ""])
def test_a_record_that_is_not_ours_keeps_its_own_name(name: str) -> None:
    assert parsed(record(name, modelOutput={})).custom_id == name


@given(st.text())
def test_an_answer_survives_the_record_and_its_body_stays_verbatim(said: str) -> None:
    body = converse({"text": said})
    line = b'{"modelInput":{"a":[1]},"modelOutput":%b,"recordId":"R0000000017"}' % body

    result = parsed(line)

    assert (result.custom_id, result.outcome) == (f"{SHARD}-17", Outcome.SUCCEEDED)
    assert (result.answer, result.body) == (said, body)


def test_an_answer_of_claude_is_anthropics_own() -> None:
    message = {
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 5, "output_tokens": 3},
    }

    result = parsed(record(modelOutput=message), ANTHROPIC_MESSAGES)

    assert (result.answer, result.failure) == ("hi", Failure.TRUNCATED)
    assert (result.model, result.usage) == ("claude-haiku-4-5-20251001", Usage(5, 3))


def test_input_tokens_are_all_of_them_whether_cached_or_not() -> None:
    assert judged({"text": "hi"}).usage == Usage(60, 7, 30)
    assert judged({"text": "hi"}, usage={"inputTokens": 1, "outputTokens": 2}).usage == Usage(1, 2)
    assert judged({"text": "hi"}, usage={}).usage is None
    assert judged({"text": "hi"}, usage=None).usage is None


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence", "tool_use", "", "a_new_reason"])
def test_an_answer_that_came_to_its_end_is_a_success(stop: str) -> None:
    assert judged({"text": "hi"}, stop=stop).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("stop", "failure"),
    [  # the stop reasons of botocore 1.44.5, and Anthropic's own
        ("max_tokens", Failure.TRUNCATED),
        ("model_context_window_exceeded", Failure.TOO_LONG),
        ("guardrail_intervened", Failure.REFUSED),
        ("content_filtered", Failure.REFUSED),
        ("refusal", Failure.REFUSED),
        ("malformed_model_output", Failure.SCHEMA),
        ("malformed_tool_use", Failure.SCHEMA),
    ],
)
def test_an_answer_that_was_cut_short_is_named_and_kept(stop: str, failure: Failure) -> None:
    result = judged({"text": "The answer is"}, stop=stop)

    assert (result.outcome, result.failure) == (Outcome.ERRORED, failure)
    assert result.answer == "The answer is"
    assert result.detail
    assert result.usage is not None


def test_texts_are_joined_and_reasoning_is_left_out() -> None:
    reasoning = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "x"}}}
    cited = {"citationsContent": {"content": [{"text": "c"}], "citations": []}}

    assert judged(reasoning, {"text": "a"}, {"text": "b"}, cited).answer == "abc"
    assert judged(reasoning).answer is None


def test_tool_calls_are_told_as_openais_chat_tells_them() -> None:
    use = {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": "ä"}}}

    [call] = json.loads(judged(use, use).answer or "")[:1]

    assert call["function"]["name"] == "look"
    assert json.loads(call["function"]["arguments"]) == {"at": "ä"}
    assert call["id"] == "t1"


def test_the_input_of_a_schemas_tool_is_the_answer() -> None:
    use = {"toolUse": {"toolUseId": "t1", "name": ANSWER_TOOL, "input": {"n": 1}}}

    assert judged({"text": "Sure:"}, use).answer == '{"n":1}'


@pytest.mark.parametrize(
    "body",
    [
        converse({"text": "hi"}, usage="many"),
        converse({"text": "hi"}, usage={"inputTokens": -1, "outputTokens": 2}),
        converse({"text": "hi"}, stopReason=7),
        b"\xef\xbb\xbf" + converse({"text": "hi"}),
        converse({"text": "hi"}).replace(b'"latencyMs": 1290', b'"latencyMs": NaN'),
    ],
)
def test_an_oddly_decorated_answer_is_still_an_answer(body: bytes) -> None:
    result = bedrock.result("a", 200, body, BEDROCK_CONVERSE)

    assert (result.outcome, result.answer) == (Outcome.SUCCEEDED, "hi")


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b"", b'{"output":{}}', b"[" * 9999])
def test_a_success_without_an_answer_is_the_providers_trouble(body: bytes) -> None:
    result = bedrock.result("a", 200, body, BEDROCK_CONVERSE)

    assert (result.outcome, result.failure) == (Outcome.ERRORED, Failure.SERVER)
    assert "no answer" in result.detail


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"errorCode": 400, "errorMessage": "bad request"}, Failure.INVALID_REQUEST),
        ({"errorCode": 429, "errorMessage": "slower"}, Failure.RATE_LIMITED),
        ({"errorCode": 500, "errorMessage": "sorry"}, Failure.SERVER),
        ({"errorCode": 503, "errorMessage": "sorry"}, Failure.SERVER),
        ({"errorCode": "429", "errorMessage": "slower"}, Failure.RATE_LIMITED),
        ({"errorCode": "ThrottlingException", "errorMessage": "x"}, Failure.RATE_LIMITED),
        ({"errorCode": 400, "errorMessage": "x", "expired": True}, Failure.EXPIRED),
        ({"errorCode": 400}, Failure.INVALID_REQUEST),
        ({"errorCode": 400.0, "errorMessage": ["x"]}, Failure.SERVER),
        ("oops", Failure.SERVER),
    ],
)
def test_a_record_with_an_error_is_named_by_its_code(error: object, failure: Failure) -> None:
    result = parsed(record(error=error))

    assert result.failure is failure
    assert result.custom_id == f"{SHARD}-17"
    assert result.detail
    assert json.loads(result.body) == error


def test_a_record_with_neither_answer_nor_error_may_run_again() -> None:
    assert parsed(record()).failure is Failure.SERVER
    assert parsed(record(modelOutput=None, error=None)).failure is Failure.SERVER


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"recordId":7}', b'{"recordId":"R00000'])
def test_a_line_that_is_no_record_is_not_taken_for_one(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        parsed(line)
    assert bedrock.unreadable(line, SHARD) is None


def test_of_a_line_that_cannot_be_read_at_least_the_row_is_told() -> None:
    line = record(modelOutput={"a": 1})[:-3]

    with pytest.raises(msgspec.MsgspecError):
        parsed(line)
    found = bedrock.unreadable(line, SHARD)

    assert found is not None
    assert (found.custom_id, found.failure) == (f"{SHARD}-17", Failure.SERVER)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_judge(body: bytes) -> None:
    for status in (200, 400, 500):
        assert bedrock.result("a", status, body, BEDROCK_CONVERSE).custom_id == "a"
