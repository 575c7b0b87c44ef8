"""What one vendor can be asked, another can be asked as well, or says which field it cannot."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.hubs import DIALECTS, Says, answers, chats

from batchmill.core import request as dialects
from batchmill.core.request import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, GEMINI_GENERATE
from batchmill.errors import InvalidRequest
from batchmill.wire import hub, translate
from batchmill.wire.dialects.anthropic_messages import MAX_TOKENS_DEFAULT

encode = msgspec.json.encode
CHATS = sorted(DIALECTS)
EMBEDDINGS = (dialects.OPENAI_EMBEDDINGS, dialects.GEMINI_EMBED)
BACK = (dialects.GEMINI_EMBED, dialects.OPENAI_EMBEDDINGS)


@pytest.mark.parametrize("dialect", CHATS)
@settings(max_examples=50)
@given(st.data())
def test_a_request_comes_back_as_it_was(dialect: str, data: st.DataObject) -> None:
    chat = data.draw(chats(dialect))
    body = encode(translate.write(dialect, chat))
    lost: list[str] = []
    assert translate.read(dialect, body, lost) == named(chat, dialect)
    assert lost == []
    assert translate.complaint(dialect, body) == ""


@pytest.mark.parametrize("dialect", CHATS)
@settings(max_examples=50)
@given(st.data())
def test_an_answer_comes_back_as_it_was(dialect: str, data: st.DataObject) -> None:
    answer = data.draw(answers(dialect))
    tongue = translate._TONGUES[dialect]
    written = msgspec.json.decode(encode(tongue.write_answer(answer)))
    assert tongue.read_answer(written) == answer


@pytest.mark.parametrize("to", CHATS)
@pytest.mark.parametrize("from_", CHATS)
@settings(max_examples=10)
@given(st.data())
def test_a_request_survives_the_way_to_another_vendor_or_is_refused_by_name(
    from_: str, to: str, data: st.DataObject
) -> None:
    chat = data.draw(chats(from_))
    body = encode(translate.write(from_, chat))
    try:
        there = translate.request(body, from_, to, "m")
    except InvalidRequest as error:
        field, colon, _ = str(error).partition(": ")
        assert colon
        assert field
        return
    assert translate.read(to, there) == told(chat, from_, to)


@pytest.mark.parametrize("to", CHATS)
@pytest.mark.parametrize("from_", CHATS)
@settings(max_examples=10)
@given(st.data())
def test_an_answer_keeps_its_words_and_its_end_wherever_it_is_told(
    from_: str, to: str, data: st.DataObject
) -> None:
    answer = data.draw(answers(from_))
    body = encode(translate._TONGUES[from_].write_answer(answer))
    there = translate.answer(body, from_, to)
    found = translate._TONGUES[to].read_answer(msgspec.json.decode(there))
    ended = found.finish
    if to == dialects.MISTRAL_CHAT and answer.refusal:
        ended = hub.REFUSED  # its own word for that is not known
    assert ended == answer.finish
    assert said(found, hub.ToolCall) == said(answer, hub.ToolCall)
    if not answer.refusal:
        assert said(found, hub.Text) == said(answer, hub.Text)
    if answer.usage is not None and found.usage is not None:
        assert found.usage.input_tokens == answer.usage.input_tokens
        assert found.usage.output_tokens == answer.usage.output_tokens


def said(answer: hub.Answer, kind: type) -> list[Any]:
    return [part for part in answer.parts if isinstance(part, kind)]


def named(chat: hub.Chat, dialect: str) -> hub.Chat:
    """Return what comes back: where the path names the model, the body does not."""
    return chat if dialects.DIALECTS[dialect].names_model else replace(chat, model="")


def told(chat: hub.Chat, from_: str, to: str) -> hub.Chat:
    """Return what must arrive: everything, but for marks and labels without a place there."""
    says, source = DIALECTS[to], DIALECTS[from_]
    turns = tuple(
        replace(turn, parts=tuple(_part(part, says, to) for part in turn.parts))
        for turn in chat.turns
    )
    system = tuple(_unmarked(text, says) for text in chat.system)
    tools = tuple(_unmarked(tool, says) for tool in chat.tools)
    if None not in says.stricts:
        tools = tuple(replace(tool, strict=tool.strict or False) for tool in tools)
    elif says.stricts == (None,):
        tools = tuple(replace(tool, strict=None) for tool in tools)
    if chat.schema is not None:
        name = chat.schema.name if says.names and source.names else "answer"
        strict = chat.schema.strict if says.lenient else True
        chat = replace(chat, schema=replace(chat.schema, name=name, strict=strict))
    if to == ANTHROPIC_MESSAGES and chat.max_tokens is None:
        chat = replace(chat, max_tokens=MAX_TOKENS_DEFAULT + (chat.thinking_tokens or 0))
    return named(replace(chat, system=system, turns=turns, tools=tools), to)


def _unmarked(part: Any, says: Says) -> Any:
    return part if says.caches else replace(part, cache="")


def _part(part: Any, says: Says, to: str) -> Any:
    if isinstance(part, hub.Thinking):
        return part
    part = _unmarked(part, says)
    if isinstance(part, hub.ToolResult):
        part = replace(part, content=tuple(_part(p, says, to) for p in part.content))
    if isinstance(part, hub.Document) and not says.document_names:
        part = replace(part, name="")
    if isinstance(part, hub.Image) and part.url is not None:
        told_of = to in {GEMINI_GENERATE, BEDROCK_CONVERSE}
        part = replace(part, media_type="image/png" if told_of else "")
    return part


# --------------------------------------------------------------------------------------- embeddings


def test_embeddings_go_from_one_vendor_to_the_other() -> None:
    body = encode({"model": "m", "input": "words", "dimensions": 8})
    there = translate.request(body, *EMBEDDINGS, "gemini-embedding-001")
    assert msgspec.json.decode(there) == {
        "content": {"parts": [{"text": "words"}]},
        "outputDimensionality": 8,
    }
    back = translate.request(there, *BACK, "m")
    assert msgspec.json.decode(back) == msgspec.json.decode(body)

    answer = encode({"embedding": {"values": [0.5, 1.0]}})
    listed = msgspec.json.decode(translate.answer(answer, *BACK))
    assert listed["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
    assert translate.answer(encode(listed), *EMBEDDINGS) == answer


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "m", "input": ["a", "b"]}, "input: gemini.embed takes one text"),
        ({"model": "m", "input": "a", "user": "u"}, "user: gemini.embed"),
        ({"model": "m", "input": "a", "encoding_format": "base64"}, "encoding_format: only"),
    ],
)
def test_what_the_other_kind_of_embeddings_lacks_is_named(body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        translate.request(encode(body), *EMBEDDINGS, "m")


def test_a_chat_is_no_embedding() -> None:
    body = encode({"model": "m", "messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(InvalidRequest, match="no way to ask for a chat"):
        translate.request(body, "openai.chat", "gemini.embed", "m")
