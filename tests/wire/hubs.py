"""Requests and answers in hub form, drawn at random: whatever one dialect can say."""

import json
import string
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from batchmill.core.request import (
    ANTHROPIC_MESSAGES,
    BEDROCK_CONVERSE,
    GEMINI_GENERATE,
    MISTRAL_CHAT,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
)
from batchmill.wire import hub

SAMPLING = {"temperature", "top_p"}
PENALTIES = {"frequency_penalty", "presence_penalty"}
EFFORTS = ("low", "medium", "high")


@dataclass(frozen=True)
class Says:
    """What a dialect can say."""

    fields: set[str]
    caches: bool = False
    efforts: tuple[str, ...] = EFFORTS
    names: bool = False  #: schemas have a name
    lenient: bool = False  #: schemas may be kept to loosely
    stricts: tuple[bool | None, ...] = (None, True, False)  #: whether tools are strict
    failures: bool = False  #: a tool may have failed
    details: bool = False
    image_links: str = "https://x.org/"
    document_links: str = "https://x.org/"
    document_names: bool = True
    result_media: bool = False
    thinking: tuple[str, ...] = ()  #: fields of thoughts, in requests
    answer: set[str] = field(default_factory=lambda: {"id", "model"})
    answer_thinking: tuple[str, ...] = ("text",)
    counts: bool = True  #: an answer without usage is none
    usage: tuple[str, ...] = ("cached_tokens", "cache_written_tokens", "reasoning_tokens")


DIALECTS = {
    OPENAI_CHAT: Says(
        SAMPLING | PENALTIES | {"stop", "seed", "user", "metadata", "json", "parallel_tools"},
        efforts=hub.EFFORTS,
        names=True,
        lenient=True,
        details=True,
        document_links="",
        answer={"id", "model", "created", "refusal"},
        counts=False,
    ),
    OPENAI_RESPONSES: Says(
        SAMPLING | {"user", "metadata", "json", "parallel_tools"},
        efforts=hub.EFFORTS,
        names=True,
        lenient=True,
        details=True,
        stricts=(True, False),
        result_media=True,
        answer={"id", "model", "created", "refusal"},
        counts=False,
    ),
    MISTRAL_CHAT: Says(
        SAMPLING | PENALTIES | {"stop", "seed", "top_k", "metadata", "json", "parallel_tools"},
        efforts=hub.EFFORTS,
        names=True,
        lenient=True,
        details=True,
        answer={"id", "model", "created"},
    ),
    ANTHROPIC_MESSAGES: Says(
        SAMPLING | {"top_k", "stop", "user", "thinking_tokens", "parallel_tools"},
        caches=True,
        efforts=("none", *EFFORTS, "xhigh", "max"),
        failures=True,
        result_media=True,
        thinking=("text", "signature", "redacted"),
        answer={"id", "model", "refusal"},
        answer_thinking=("text", "signature", "redacted"),
    ),
    GEMINI_GENERATE: Says(
        SAMPLING | PENALTIES | {"top_k", "stop", "seed", "json", "thinking_tokens"},
        efforts=("minimal", *EFFORTS, "xhigh"),
        stricts=(None,),
        failures=True,
        document_names=False,
        thinking=("text", "signature"),
        answer={"id", "model", "refusal"},
        answer_thinking=("text", "signature"),
        usage=("cached_tokens", "reasoning_tokens"),
        counts=False,
    ),
    BEDROCK_CONVERSE: Says(
        SAMPLING | {"stop", "metadata"},
        caches=True,
        efforts=hub.EFFORTS,
        names=True,
        failures=True,
        image_links="s3://bucket/",
        document_links="s3://bucket/",
        result_media=True,
        thinking=("text", "signature", "redacted"),
        answer=set(),
        answer_thinking=("text", "signature", "redacted"),
        usage=("cached_tokens", "cache_written_tokens"),
    ),
}

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
names = st.text(string.ascii_lowercase, min_size=1, max_size=6)
call_ids = st.text(string.ascii_letters + string.digits, min_size=9, max_size=9)
BASE64 = st.sampled_from(["aGVsbG8=", "YQ==", "/+8="])
values = st.one_of(st.integers(-9, 9), words, st.booleans(), st.none(), st.just([1, {"a": "b"}]))


def marks(says: Says) -> st.SearchStrategy[str]:
    return st.sampled_from(["", "5m", "1h"] if says.caches else [""])


@st.composite
def texts(draw: st.DrawFn, says: Says) -> hub.Text:
    return hub.Text(draw(words), draw(marks(says)))


@st.composite
def media(draw: st.DrawFn, says: Says) -> hub.Media:
    document = draw(st.booleans())
    place = says.document_links if document else says.image_links
    more: dict[str, Any] = {"cache": draw(marks(says))}
    if place and draw(st.booleans()):
        more["url"] = place + draw(names) + (".pdf" if document else ".png")
    else:
        more["data"] = draw(BASE64)
    if document:
        return hub.Document(name=draw(names | st.just("")) if says.document_names else "", **more)
    if "data" in more or not place.startswith("https"):
        more["media_type"] = "image/png"
    elif not says.document_names:
        more["media_type"] = "image/png"  # Gemini wants to know it of links, too
    return hub.Image(detail=draw(st.sampled_from(["", "low"])) if says.details else "", **more)


@st.composite
def thoughts(draw: st.DrawFn, fields: tuple[str, ...]) -> hub.Thinking:
    if "redacted" in fields and draw(st.booleans()):
        return hub.Thinking(redacted=draw(names))
    signature = draw(BASE64) if "signature" in fields else ""
    return hub.Thinking(text=draw(words), signature=signature)


@st.composite
def calls(draw: st.DrawFn, says: Says) -> hub.ToolCall:
    arguments = draw(st.dictionaries(names, values, max_size=2))
    text = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    return hub.ToolCall(
        id=draw(call_ids), name=draw(names), arguments=text, cache=draw(marks(says))
    )


@st.composite
def results(draw: st.DrawFn, says: Says, call_id: str) -> hub.ToolResult:
    content: tuple[Any, ...] = (replace(draw(texts(says)), cache=""),)
    if says.result_media and draw(st.booleans()):
        content += (replace(draw(media(says)), cache=""),)
    failed = draw(st.booleans()) if says.failures else False
    return hub.ToolResult(call_id=call_id, content=content, failed=failed, cache=draw(marks(says)))


@st.composite
def turns(draw: st.DrawFn, says: Says) -> tuple[hub.Turn, ...]:
    content = st.one_of(texts(says), media(says))
    found = [hub.Turn(hub.USER, tuple(draw(st.lists(content, min_size=1, max_size=3))))]
    seen: set[str] = set()
    for _ in range(draw(st.integers(0, 2))):
        said: list[Any] = []
        if says.thinking:
            said += draw(st.lists(thoughts(says.thinking), max_size=1))
        said += draw(st.lists(texts(says), max_size=2))
        asked = draw(st.lists(calls(says), max_size=2, unique_by=lambda call: call.id))
        asked = [call for call in asked if call.id not in seen]
        seen |= {call.id for call in asked}
        if not [*said, *asked]:
            said = [hub.Text("yes")]
        found.append(hub.Turn(hub.ASSISTANT, (*said, *asked)))
        given = [draw(results(says, call.id)) for call in asked]
        more = draw(st.lists(content, min_size=0 if given else 1, max_size=2))
        found.append(hub.Turn(hub.USER, (*given, *more)))
    return tuple(found)


def objects() -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of objects, closed, as every vendor takes them."""
    leaf = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"enum": ["a", 1]}])
    return st.dictionaries(names, leaf, max_size=2).map(
        lambda found: {
            "type": "object",
            "properties": found,
            "required": sorted(found),
            "additionalProperties": False,
        }
    )


@st.composite
def tools(draw: st.DrawFn, says: Says) -> hub.Tool:
    return hub.Tool(
        name=draw(names),
        description=draw(words | st.just("")),
        parameters=draw(objects()),
        strict=draw(st.sampled_from(says.stricts)),
        cache=draw(marks(says)),
    )


@st.composite
def chats(draw: st.DrawFn, dialect: str) -> hub.Chat:
    """Draw a chat that *dialect* can say; its model is called m, of which nobody knows anything."""
    says = DIALECTS[dialect]
    half = st.sampled_from([0, 0.25, 0.5, 1])
    drawn = {
        "temperature": half,
        "top_p": half,
        "frequency_penalty": half,
        "presence_penalty": half,
        "top_k": st.integers(1, 9),
        "seed": st.integers(0, 9),
        "stop": st.lists(words, min_size=1, max_size=2).map(tuple),
        "user": names,
        "metadata": st.dictionaries(names, words, min_size=1, max_size=2),
        "json": st.just(True),
        "thinking_tokens": st.integers(1024, 2048),
    }
    more: dict[str, Any] = {
        name: draw(drawn[name])
        for name in sorted(says.fields & drawn.keys())
        if draw(st.booleans())
    }
    if draw(st.booleans()):
        more["effort"] = draw(st.sampled_from(says.efforts))
    if draw(st.booleans()):
        more.pop("json", None)
        more["schema"] = hub.Schema(
            schema=draw(objects()),
            name=draw(names) if says.names else "answer",
            strict=draw(st.booleans()) if says.lenient else True,
        )
    if draw(st.booleans()):
        more |= draw(tooled(dialect, says))
    if more.get("effort") == "none":
        more.pop("thinking_tokens", None)
    if dialect == ANTHROPIC_MESSAGES or draw(st.booleans()):
        more["max_tokens"] = draw(st.integers(4000, 5000))
    system = tuple(draw(st.lists(texts(says), max_size=2)))
    return hub.Chat(model="m", system=system, turns=draw(turns(says)), **more)


@st.composite
def tooled(draw: st.DrawFn, dialect: str, says: Says) -> dict[str, Any]:
    found = draw(st.lists(tools(says), min_size=1, max_size=2))
    kinds = ["auto", "required"] if dialect == BEDROCK_CONVERSE else ["auto", "required", "none"]
    choices = st.sampled_from([hub.ToolChoice(kind) for kind in kinds])
    choice = draw(choices | st.just(hub.ToolChoice("one", found[0].name)))
    more: dict[str, Any] = {"tools": tuple(found), "tool_choice": choice}
    if "parallel_tools" in says.fields and choice.kind != "none" and draw(st.booleans()):
        more["parallel_tools"] = draw(st.booleans())
    return more


@st.composite
def answers(draw: st.DrawFn, dialect: str) -> hub.Answer:
    """Draw an answer that *dialect* can tell."""
    says = DIALECTS[dialect]
    more: dict[str, Any] = {}
    if says.answer >= {"id", "model"}:
        more = {"id": draw(names), "model": draw(names)}
    if "created" in says.answer:
        more["created"] = draw(st.integers(1, 2_000_000_000))
    parts: list[Any] = draw(st.lists(thoughts(says.answer_thinking), max_size=1))
    parts += [hub.Text(text) for text in draw(st.lists(words, max_size=1))]
    asked = draw(st.lists(calls(replace(says, caches=False)), max_size=2))
    finish = draw(st.sampled_from([hub.STOP, hub.LENGTH, hub.REFUSED]))
    if dialect == MISTRAL_CHAT and finish == hub.REFUSED:
        finish = hub.STOP
    if finish == hub.STOP and asked:
        parts, finish = parts + asked, hub.TOOL_CALLS
    if finish == hub.REFUSED and "refusal" in says.answer:
        more["refusal"] = draw(words)
    return hub.Answer(parts=tuple(parts), finish=finish, usage=draw(usages(says)), **more)


@st.composite
def usages(draw: st.DrawFn, says: Says) -> hub.Usage | None:
    if not says.counts and draw(st.booleans()):
        return None
    small = st.integers(0, 9)
    details = {name: draw(small) for name in says.usage}
    taken = details.get("cached_tokens", 0) + details.get("cache_written_tokens", 0)
    given = details.get("reasoning_tokens", 0)
    return hub.Usage(input_tokens=taken + draw(small), output_tokens=given + draw(small), **details)
