"""Whatever a line of Mistral's or an item of OpenRouter's holds, it is read or refused as a line."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.outcome import Outcome, Result
from batchmill.wire import mistral, openrouter

Parse = Callable[[bytes, str], Result | None]
NAMES = (
    "custom_id response error status_code body message code type detail errors choices usage "
    "metadata error_type finish_reason cost line_number loc msg is_byok"
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1300", '{"message":"x"}', "error"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4)
    ),
    max_leaves=12,
)
dialects = st.sampled_from(["mistral.chat", "openai.chat", "openai.responses", "openai.embeddings"])
statuses = st.sampled_from([0, 200, 400, 403, 500])


@pytest.mark.parametrize("parse", [mistral.parse_result_line, openrouter.parse_item])
@given(body=values, error=values, dialect=dialects, status=statuses)
def test_a_line_is_a_result_or_no_line(
    parse: Parse, body: object, error: object, dialect: str, status: int
) -> None:
    responses = (body, {"status_code": status, "body": body}, {"body": json.dumps(body)})
    told = [{"custom_id": "x", "response": response, "error": error} for response in responses]
    for found in (body, *told):
        try:
            result = parse(json.dumps(found).encode(), dialect)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if result is not None:
            assert (result.failure is None) is (result.outcome is Outcome.SUCCEEDED)
            assert result.failure is None or result.detail


@pytest.mark.parametrize("judge", [mistral.result, openrouter.result])
@given(body=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_judged(judge: Callable[..., Result], body: bytes) -> None:
    for status in (200, 400, 403, 500):
        assert judge("x", status, body, "openai.chat").custom_id == "x"
    for says in (mistral.names_account, openrouter.names_account):
        assert isinstance(says(body), bool)
