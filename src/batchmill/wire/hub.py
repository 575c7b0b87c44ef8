"""
The hub form: one shape for a chat or embedding request and its answer, whoever is asked.

A dialect is read into it and written from it (`wire/dialects`). It says what several vendors can
say; what only one of them can is not in it, and is an error by name when it would have to travel.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

#: What a forced tool is called where a model has no other way to keep to a schema.
ANSWER_TOOL = "answer_in_schema"

#: How long a prompt-cache mark lasts; "" is no mark.
CACHE_5M = "5m"
CACHE_1H = "1h"

#: Why an answer ended.
STOP = "stop"  #: by itself, or at a stop sequence
LENGTH = "length"  #: at the maximum of tokens
TOOL_CALLS = "tool_calls"  #: it wants its tools called
REFUSED = "refused"  #: a refusal, or a safety block

#: Reasoning efforts, least first. Each vendor has some of them.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str
    cache: str = ""  #: a prompt-cache mark after it: "5m", "1h" or none


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture, by link or by its bytes: exactly one of `url` and `data` is there."""

    url: str | None = None  #: http(s), gs:// or s3://; never a data: URL (see `data_url`)
    data: str | None = None  #: base64, without line breaks
    media_type: str = ""  #: image/png, …; needed beside `data`, and beside gs:// and s3://
    detail: str = ""  #: how closely to look: low, high, auto; "" leaves it to the vendor
    cache: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A PDF, by link or by its bytes: exactly one of `url` and `data` is there."""

    url: str | None = None
    data: str | None = None  #: base64, without line breaks
    media_type: str = "application/pdf"
    name: str = ""  #: of the file, as the model may see it
    cache: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """What a model thought before it answered; the signature is the vendor's own."""

    text: str = ""
    signature: str = ""
    redacted: str = ""  #: encrypted, in place of the text


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model asks for a tool."""

    id: str
    name: str
    arguments: str  #: a JSON object, as text
    cache: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool gave back."""

    call_id: str
    content: tuple[Text | Image | Document, ...]
    failed: bool = False
    cache: str = ""


Media = Image | Document
Part = Text | Image | Document | Thinking | ToolCall | ToolResult

USER = "user"
ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says before the other answers. Tools' results are the user's."""

    role: str  #: user or assistant
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str = ""
    parameters: Mapping[str, object] | None = None  #: JSON Schema; None: it takes none
    strict: bool | None = None  #: arguments must match; None leaves it to the vendor
    cache: str = ""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tool must be asked for."""

    kind: str  #: auto, none, required, or one (by name)
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What the answer must look like. The name is a label: not every vendor has a place for it."""

    schema: Mapping[str, object]
    name: str = "answer"
    strict: bool = True  #: a vendor that knows only strict schemas keeps the others strictly too


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A chat request. Neighbouring turns have different roles (`joined`)."""

    model: str = ""
    system: tuple[Text, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None  #: whether several tools may be asked for at once
    schema: Schema | None = None
    json: bool = False  #: any JSON, without a schema
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    effort: str = ""  #: of reasoning, one of `EFFORTS`; "" leaves it to the vendor
    thinking_tokens: int | None = None  #: the most tokens of reasoning; 0 is none
    user: str = ""  #: the vendor's customer's customer, for its abuse checks
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, as `core.outcome.Usage` counts them, and those that filled a prompt cache."""

    input_tokens: int = 0  #: all of them
    output_tokens: int = 0  #: all of them
    cached_tokens: int = 0  #: part of the input: read from a cache
    cache_written_tokens: int = 0  #: part of the input: written into one
    reasoning_tokens: int = 0  #: part of the output


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered to a chat request."""

    id: str = ""
    model: str = ""
    parts: tuple[Part, ...] = ()  #: Text, Thinking and ToolCall
    refusal: str = ""  #: why the model would not, in its own or the vendor's words
    finish: str = STOP
    usage: Usage | None = None
    created: int | None = None  #: unix seconds; not every vendor says


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """A request for vectors."""

    model: str = ""
    texts: tuple[str, ...] = ()
    dimensions: int | None = None
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The vectors, in the order of the texts."""

    model: str = ""
    vectors: tuple[tuple[float, ...], ...] = ()
    input_tokens: int | None = None


def joined(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Make one turn of neighbours of the same role, as every vendor understands them."""
    found: list[Turn] = []
    for turn in turns:
        if found and found[-1].role == turn.role:
            found[-1] = replace(turn, parts=found[-1].parts + turn.parts)
        else:
            found.append(turn)
    return tuple(found)


def media_of(asked: Chat | Embed) -> list[Media]:
    """Return the pictures and PDFs of a request, those of tools' results too, in order."""
    found: list[Media] = []
    with_media(asked, lambda media: found.append(media) or media)
    return found


def with_media(asked: Chat | Embed, swap: Callable[[Media], Media]) -> Chat | Embed:
    """Return the request with each of its pictures and PDFs as *swap* gives it back."""
    if isinstance(asked, Embed):
        return asked

    def other(part: Part) -> Part:
        if isinstance(part, ToolResult):
            return replace(
                part, content=tuple(p if isinstance(p, Text) else swap(p) for p in part.content)
            )
        return swap(part) if isinstance(part, Image | Document) else part

    turns = (replace(turn, parts=tuple(map(other, turn.parts))) for turn in asked.turns)
    return replace(asked, turns=tuple(turns))


def data_url(url: str) -> tuple[str, str] | None:
    """Return (media type, base64) of a `data:…;base64,…` URL; None for every other link."""
    head, comma, data = url.partition(",")
    if not comma or not head.lower().startswith("data:") or not head.lower().endswith(";base64"):
        return None
    return head[5:].split(";")[0].lower(), data
