"""Anthropic's requests and results: what we say is what we hear, and every odd answer is named."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import ANTHROPIC_MESSAGES, Request
from batchmill.wire import anthropic

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
bodies = st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=4)
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 4},
    "service_tier": "batch",
}


def text(said: str) -> dict[str, object]:
    return {"type": "text", "text": said}


def tool(name: str, given: object, call_id: str = "toolu_1") -> dict[str, object]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def message(*content: object, stop: str | None = "end_turn", **more: object) -> bytes:
    # The order of the vendor's own example, with what it has beside.
    facts = {
        "id": "msg_01FqfsLoHwgeFbguDgpz48m7",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
    }
    return json.dumps(facts | more).encode()


def line(custom_id: str, kind: str, **more: bytes) -> bytes:
    rest = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in more.items())
    return b'{"custom_id":"%b","result":{"type":"%b"%b}}' % (
        custom_id.encode(),
        kind.encode(),
        rest,
    )


def judged(*content: object, stop: str | None = "end_turn", **more: object) -> Result:
    return anthropic.result("a", 200, message(*content, stop=stop, **more), ANTHROPIC_MESSAGES)


@given(st.lists(st.tuples(ids, bodies), max_size=3))
def test_what_we_say_is_what_we_hear(asked: list[tuple[str, dict[str, object]]]) -> None:
    requests = [Request(custom_id, json.dumps(body).encode()) for custom_id, body in asked]
    rendered = [anthropic.render_request(request) for request in requests]
    whole = anthropic.HEAD + anthropic.BETWEEN.join(rendered) + anthropic.TAIL

    heard = json.loads(whole)["requests"]

    assert heard == [{"custom_id": custom_id, "params": body} for custom_id, body in asked]
    for one, (custom_id, body) in zip(map(anthropic.parse_request, rendered), asked, strict=True):
        assert (one.custom_id, json.loads(bytes(one.params))) == (custom_id, body)


@given(ids, st.text())
def test_an_answer_survives_the_line_and_its_body_stays_verbatim(custom_id: str, said: str) -> None:
    body = message(text(said))

    result = anthropic.parse_result_line(line(custom_id, "succeeded", message=body))

    assert (result.custom_id, result.outcome) == (custom_id, Outcome.SUCCEEDED)
    assert (result.answer, result.model) == (said, "claude-haiku-4-5-20251001")
    assert result.body == body


def test_input_tokens_are_all_of_them_whether_cached_or_not() -> None:
    assert judged(text("hi")).usage == Usage(60, 7, 30, 4)
    assert judged(text("hi"), usage={"input_tokens": 1, "output_tokens": 1}).usage == Usage(1, 1)
    assert judged(text("hi"), usage={}).usage is None


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence", "tool_use", None, "a_new_reason"])
def test_an_answer_that_came_to_its_end_is_a_success(stop: str | None) -> None:
    result = judged(text("hi"), stop=stop)

    assert (result.outcome, result.failure, result.answer) == (Outcome.SUCCEEDED, None, "hi")


@pytest.mark.parametrize(
    ("stop", "failure"),
    [
        ("max_tokens", Failure.TRUNCATED),
        ("pause_turn", Failure.TRUNCATED),
        ("compaction", Failure.TRUNCATED),
        # More room for the answer would not help: the row is too long for this model.
        ("model_context_window_exceeded", Failure.TOO_LONG),
        ("refusal", Failure.REFUSED),
    ],
)
def test_an_answer_that_was_cut_short_is_named_and_kept(stop: str, failure: Failure) -> None:
    result = judged(text("The answer is"), stop=stop)

    assert (result.outcome, result.failure) == (Outcome.ERRORED, failure)
    assert result.answer == "The answer is"
    assert result.detail
    assert result.usage is not None


def test_a_refusal_says_what_the_vendor_says_about_it() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "It could enable harm."}

    result = judged(stop="refusal", stop_details=details)

    assert result.detail == "the model declined to answer (bio): It could enable harm."
    assert result.answer is None
    assert judged(stop="refusal", stop_details=None).failure is Failure.REFUSED


def test_thinking_is_no_part_of_the_answer_and_texts_are_joined() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "EqoB"}
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}

    assert judged(thinking, text("a"), search, text("b")).answer == "ab"
    assert judged(thinking).answer is None


def test_the_tool_that_stands_for_a_schema_answers_with_its_object() -> None:
    given = {"brand": "Zażółć", "price": 1.0}

    result = judged(tool(anthropic.SCHEMA_TOOL, given), stop="tool_use")

    assert result.answer is not None
    assert json.loads(result.answer) == given
    assert judged(text("Here:"), tool(anthropic.SCHEMA_TOOL, given)).answer == result.answer


def test_other_tool_calls_are_told_as_openai_tells_them() -> None:
    calls = [tool("weather", {"city": "Oslo"}), tool("weather", {}, "toolu_2")]

    answer = judged(*calls, stop="tool_use").answer

    assert answer is not None
    first, second = json.loads(answer)
    assert (first["id"], first["type"], second["id"]) == ("toolu_1", "function", "toolu_2")
    assert first["function"]["name"] == "weather"
    assert json.loads(first["function"]["arguments"]) == {"city": "Oslo"}
    assert judged(text("I look."), *calls).answer == "I look."


@pytest.mark.parametrize(
    ("kind", "outcome", "failure"),
    [
        ("expired", Outcome.EXPIRED, Failure.EXPIRED),
        ("canceled", Outcome.CANCELED, Failure.CANCELED),
        ("something_new", Outcome.ERRORED, Failure.SERVER),
    ],
)
def test_a_row_that_never_ran_says_why(kind: str, outcome: Outcome, failure: Failure) -> None:
    result = anthropic.parse_result_line(line("a", kind))

    assert (result.custom_id, result.outcome, result.failure) == ("a", outcome, failure)
    assert result.detail


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{", b'{"custom_id":1}', b'"x"', b'{"result":{"type":"expired"}}']
)
def test_what_is_no_line_is_an_error(said: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        anthropic.parse_result_line(said)


def test_a_request_that_is_not_utf8_is_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        anthropic.parse_request(b'{"custom_id":"a","params":{"a":"\xff"}}')


@pytest.mark.parametrize(
    "said",
    [
        b'{"custom_id":"a"}',
        b'{"custom_id":"a","result":null}',
        b'{"custom_id":"a","result":"succeeded"}',
        b'{"custom_id":"a","result":{"type":7}}',
        line("a", "succeeded"),
        line("a", "succeeded", message=b"null"),
        line("a", "succeeded", message=b'{"content":7}'),
        line("a", "errored"),
        line("a", "errored", error=b"null"),
    ],
)
def test_a_line_without_an_answer_is_the_row_s_trouble_and_may_run_again(said: bytes) -> None:
    result = anthropic.parse_result_line(said)

    assert (result.custom_id, result.outcome) == ("a", Outcome.ERRORED)
    assert result.failure is Failure.SERVER
    assert result.detail


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + message(text("hi")),
        message(text("hi"), usage="none"),
        message(text("hi"), usage={"input_tokens": -1, "output_tokens": "7"}),
        message(text("hi"), stop_details=[]),
        message(text("hi"), model=None),
        message(text("hi"), odd=1).replace(b'"odd": 1', b'"odd": NaN'),
        message(text("hi"), tool("f", {"x": 1})),
    ],
)
def test_a_paid_answer_is_not_lost_for_an_odd_decoration(body: bytes) -> None:
    result = anthropic.result("a", 200, body)

    assert (result.outcome, result.answer) == (Outcome.SUCCEEDED, "hi")
    json.loads(result.body)


def test_half_a_character_is_mended() -> None:
    body = message(text("hi")).replace(b"hi", b"\\ud83d")

    result = anthropic.parse_result_line(line("a", "succeeded", message=body))

    assert result.outcome is Outcome.SUCCEEDED
    result.body.decode()


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"null", b"{}", b"[" * 5000, b"\xff"])
def test_a_success_that_is_none_keeps_the_words(body: bytes) -> None:
    result = anthropic.result("a", 200, body)

    assert (result.outcome, result.failure) == (Outcome.ERRORED, Failure.SERVER)
    assert "no answer" in result.detail
