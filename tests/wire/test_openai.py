"""OpenAI's lines: what we say is what we hear, and every odd answer has a class."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Usage
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES, Request
from batchmill.wire import openai

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
bodies = st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=4)


def chat(content: object = "42", finish: str = "stop", **message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    return json.dumps(
        {"model": "m-1", "choices": [{**choice, "finish_reason": finish}], "usage": usage}
    ).encode()


@given(ids, bodies)
def test_what_we_say_is_what_we_hear(custom_id: str, body: dict[str, object]) -> None:
    raw = json.dumps(body).encode()
    line = openai.parse_request_line(openai.render_request_line(Request(custom_id, raw), "/v1/x"))
    assert (line.custom_id, line.method, line.url) == (custom_id, "POST", "/v1/x")
    assert json.loads(bytes(line.body)) == body


@given(ids, st.text())
def test_an_answer_survives_the_line_and_its_body_stays_verbatim(custom_id: str, text: str) -> None:
    body = chat(text)
    line = openai.render_result_line(custom_id, 200, body, "req_1")
    result = openai.parse_result_line(line, OPENAI_CHAT)
    assert (result.custom_id, result.outcome, result.answer) == (custom_id, Outcome.SUCCEEDED, text)
    assert (result.model, result.usage, result.body) == ("m-1", Usage(9, 3, 4, 1), body)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b'{"custom_id":1}', b"\xef\xbb\xbf{}", b'"x"'])
def test_what_is_no_line_is_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        openai.parse_result_line(line, OPENAI_CHAT)


def test_a_line_that_is_not_utf8_is_an_error() -> None:
    line = b'{"custom_id":"a","method":"POST","url":"/v1/x","body":{"a":"\xff"}}'
    with pytest.raises(UnicodeDecodeError):
        openai.parse_request_line(line)


def error(code: str | None, message: str, kind: str = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, error("context_length_exceeded", "too many tokens"), Failure.TOO_LONG),
        (400, error(None, "This model's maximum context length is 8192 tokens"), Failure.TOO_LONG),
        (400, error("exceed_context_size_error", "n_ctx"), Failure.TOO_LONG),
        (400, error("content_policy_violation", "no"), Failure.REFUSED),
        (400, error("invalid_image_url", "cannot download"), Failure.INVALID_MEDIA),
        (400, error("model_not_found", "no such model"), Failure.ACCOUNT),
        (401, error("invalid_api_key", "Incorrect API key"), Failure.ACCOUNT),
        (402, {"message": "pay first"}, Failure.ACCOUNT),
        (403, error(None, "not allowed"), Failure.ACCOUNT),
        (404, error("model_not_found", "no such model"), Failure.ACCOUNT),
        (422, {"error": "bad"}, Failure.INVALID_REQUEST),
        (429, error("rate_limit_exceeded", "slow down", "tokens"), Failure.RATE_LIMITED),
        (429, error("insufficient_quota", "You exceeded your current quota"), Failure.ACCOUNT),
        (429, error("token_limit_exceeded", "Enqueued token limit reached"), Failure.QUOTA),
        (500, error(None, "The server had an error", "server_error"), Failure.SERVER),
        (503, {"error": {"code": 503, "message": "Loading model"}}, Failure.SERVER),
        (0, {}, Failure.SERVER),
    ],
)
def test_every_error_has_a_class_and_keeps_its_words(
    status: int, body: dict[str, object], failure: Failure
) -> None:
    raw = json.dumps(body).encode()
    # A rejected row stands in either file with `error: null`.
    result = openai.parse_result_line(openai.render_result_line("a", status, raw, "r"), OPENAI_CHAT)
    assert (result.outcome, result.failure) == (Outcome.ERRORED, failure)
    assert str(status) in result.detail
    for words in ("message",):
        said = body.get("error", body)
        if isinstance(said, dict) and words in said:
            assert str(said[words]) in result.detail


@pytest.mark.parametrize(
    ("code", "outcome", "failure"),
    [
        ("batch_expired", Outcome.EXPIRED, Failure.EXPIRED),
        ("batch_cancelled", Outcome.CANCELED, Failure.CANCELED),
        ("something_new", Outcome.ERRORED, Failure.SERVER),
    ],
)
def test_a_row_that_never_ran_says_why(code: str, outcome: Outcome, failure: Failure) -> None:
    result = openai.parse_result_line(openai.render_unrun_line("a", code, "words"), OPENAI_CHAT)
    assert (result.outcome, result.failure, result.detail) == (outcome, failure, "words")


def test_neither_an_answer_nor_a_reason_may_run_again() -> None:
    result = openai.parse_result_line(b'{"custom_id":"a"}', OPENAI_CHAT)
    assert (result.outcome, result.failure) == (Outcome.ERRORED, Failure.SERVER)


def test_an_answer_cut_short_is_kept_and_named() -> None:
    result = openai.result("a", 200, chat("The answer is", "length"), OPENAI_CHAT)
    assert (result.failure, result.answer) == (Failure.TRUNCATED, "The answer is")


@pytest.mark.parametrize(
    "body", [chat(None, "content_filter"), chat(None, refusal="I cannot help with that.")]
)
def test_a_refusal_is_no_success(body: bytes) -> None:
    assert openai.result("a", 200, body, OPENAI_CHAT).failure is Failure.REFUSED


def test_text_in_parts_is_joined_and_tool_calls_are_json() -> None:
    parts = chat([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    assert openai.result("a", 200, parts, OPENAI_CHAT).answer == "ab"
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = openai.result("a", 200, chat(None, tool_calls=calls), OPENAI_CHAT).answer
    assert answer is not None
    assert json.loads(answer) == calls


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"null",
        b"{}",
        b'{"choices":[]}',
        b"\xff",
        b"[" * 5000 + b"]" * 5000,
    ],
)
@pytest.mark.parametrize("dialect", [OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES])
def test_a_200_without_an_answer_is_the_servers_failure(body: bytes, dialect: str) -> None:
    result = openai.result("a", 200, body, dialect)
    assert (result.outcome, result.failure) == (Outcome.ERRORED, Failure.SERVER)
    assert result.detail


def test_embeddings_answer_with_their_vector() -> None:
    body = b'{"data":[{"index":0,"embedding":[0.5,-1]}],"model":"e","usage":{"prompt_tokens":3}}'
    result = openai.result("a", 200, body, OPENAI_EMBEDDINGS)
    assert (result.answer, result.usage) == ("[0.5,-1]", Usage(3, 0))


def test_responses_answer_with_their_text() -> None:
    body = {
        "model": "m",
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        ],
        "usage": {"input_tokens": 2, "output_tokens": 1},
    }
    result = openai.result("a", 200, json.dumps(body).encode(), OPENAI_RESPONSES)
    assert (result.answer, result.outcome, result.usage) == ("hi", Outcome.SUCCEEDED, Usage(2, 1))
    cut = {**body, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert (
        openai.result("a", 200, json.dumps(cut).encode(), OPENAI_RESPONSES).failure
        is Failure.TRUNCATED
    )


PLAIN = json.loads(chat("42"))


def odd(**over: object) -> bytes:
    return json.dumps(PLAIN | over).encode()


@pytest.mark.parametrize(
    "body",
    [
        odd(model=None),
        odd(model=7),
        odd(usage=[]),
        odd(usage="much"),
        odd(usage={"prompt_tokens": 12.0, "completion_tokens": "12"}),
        odd(usage={"prompt_tokens": 1, "prompt_tokens_details": []}),
        odd(usage={"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": "no"}}),
        chat("42", tool_calls={}),
        chat("42", tool_calls="none"),
        chat("42", refusal=False),
        chat("42", refusal={}),
        chat("42", finish=7),  # type: ignore[arg-type]
        chat("42", finish={"type": "stop"}),  # type: ignore[arg-type]
        b"\xef\xbb\xbf" + chat("42"),
        chat("42").replace(b'"m-1"', b'"\\ud800"'),
        chat("42").replace(b'"m-1"', b'"m",' + b'"logprob":-Infinity'),
        chat("42").replace(b'"m-1"', b'"caf\xe9"'),
        chat("42").replace(b'"prompt_tokens": 9', b'"prompt_tokens": ' + b"9" * 5000),
        chat("42").replace(b'"prompt_tokens": 9', b'"prompt_tokens": 1e400'),
    ],
)
def test_a_good_answer_is_never_thrown_away_for_its_decoration(body: bytes) -> None:
    result = openai.result("a", 200, body, OPENAI_CHAT)
    assert (result.outcome, result.answer) == (Outcome.SUCCEEDED, "42"), result.detail
    assert msgspec.json.decode(result.body), "what is kept can be read by everybody"
    msgspec.msgpack.encode(result)
    if not body.startswith(b"\xef"):
        line = openai.render_result_line("a", 200, body, "r")
        assert openai.parse_result_line(line, OPENAI_CHAT) == result


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (rb"a\ud800b", "a\ufffdb"),
        (rb"\udc00", "\ufffd"),
        (rb"\ud83d\ude00\ud83d", "\U0001f600\ufffd"),
    ],
)
def test_half_a_character_is_replaced_and_nothing_else_is_lost(said: bytes, heard: str) -> None:
    body = chat("42").replace(b'"42"', b'"' + said + b'"')
    result = openai.result("a", 200, body, OPENAI_CHAT)
    assert (result.answer, result.model, result.usage) == (heard, "m-1", Usage(9, 3, 4, 1))


def test_a_mark_of_byte_order_is_skipped_before_a_line_an_answer_and_an_error() -> None:
    mark = b"\xef\xbb\xbf"
    line = mark + openai.render_result_line("a", 200, chat("42"), "r")
    assert openai.parse_result_line(line, OPENAI_CHAT).answer == "42"
    assert openai.result("a", 200, mark + chat("42"), OPENAI_CHAT).body == chat("42")
    broke = mark + json.dumps(error("insufficient_quota", "broke")).encode()
    assert openai.result("a", 429, broke, OPENAI_CHAT).failure is Failure.ACCOUNT


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id":"a","id":7,"response":{"status_code":200,"request_id":9,"body":%b},"error":{}}',
        b'{"custom_id":"a","response":{"status_code":200.0,"body":%b},"error":""}',
        b'{"custom_id":"a","response":{"status_code":"200","body":%b},"error":{"code":0}}',
    ],
)
def test_an_oddly_decorated_line_is_read(line: bytes) -> None:
    result = openai.parse_result_line(line % chat("42"), OPENAI_CHAT)
    assert (result.custom_id, result.answer, result.body) == ("a", "42", chat("42"))


def test_a_numbered_code_of_a_row_that_never_ran_is_kept() -> None:
    line = b'{"custom_id":"a","response":null,"error":{"code":500,"message":"boom"}}'
    result = openai.parse_result_line(line, OPENAI_CHAT)
    assert (result.failure, result.detail) == (Failure.SERVER, "boom")


@pytest.mark.parametrize(
    "body", [b'{"choices":[{"message":"hi"}]}', b'{"choices":{}}', b"[1]", b"\xef\xbb\xbf[1]"]
)
def test_what_cannot_be_read_at_all_is_kept_word_for_word(body: bytes) -> None:
    result = openai.result("a", 200, body, OPENAI_CHAT)
    assert result.failure is Failure.SERVER
    assert body.removeprefix(b"\xef\xbb\xbf").decode() in result.detail
    assert result.body == body.removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OPENAI_EMBEDDINGS, b'{"data":[{"embedding":[1]}],"model":null,"usage":[]}'),
        (
            OPENAI_RESPONSES,
            b'{"output":[{"content":[{"text":"[1]"}]}],"model":null,"status":null,"usage":7}',
        ),
    ],
)
def test_the_other_dialects_are_read_as_leniently(dialect: str, body: bytes) -> None:
    result = openai.result("a", 200, body, dialect)
    assert (result.outcome, result.answer) == (Outcome.SUCCEEDED, "[1]")


# -- counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10**20, 2**62 + 1, -1, True, False, 1.5, "9", [], {}])
@pytest.mark.parametrize("place", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_is_none_is_unknown_and_the_rest_stands(count: object, place: str) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, place: count}
    result = openai.result("a", 200, odd(usage=usage), OPENAI_CHAT)
    assert result.usage == (Usage(0, 3) if place == "prompt_tokens" else Usage(9, 0))
    msgspec.msgpack.encode(result)


def test_usage_without_one_count_is_unknown() -> None:
    usage = {"prompt_tokens": 10**20, "completion_tokens": -3}
    assert openai.result("a", 200, odd(usage=usage), OPENAI_CHAT).usage is None
    details = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": -4}}
    assert openai.result("a", 200, odd(usage=details), OPENAI_CHAT).usage == Usage(5, 0)


def test_too_large_for_the_limit_is_too_long_whatever_the_status() -> None:
    said = "Request too large for gpt-4o: Limit 30000, Requested 50000"
    body = json.dumps(error("rate_limit_exceeded", said, "tokens")).encode()
    assert openai.result("a", 429, body, OPENAI_CHAT).failure is Failure.TOO_LONG
