"""
OpenRouter's batch requests and results, and what its errors mean.

Bodies and answers are OpenAI's; what is added is a typed `error_type`, errors inside of answers
with status 200, and the price of each answer. Sources: the vendor's pages "Batch API quickstart"
and "Errors and debugging" (as of 2026-09), and its SDK 1.3.84.
"""

import re
from decimal import Decimal

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request
from batchmill.wire import _loose, openai
from batchmill.wire.failures import OUTCOMES, excerpt


class Response(msgspec.Struct):
    status_code: int = 0
    body: Raw = Raw(b"null")


class ResultItem(msgspec.Struct):
    """One item of the results of a batch: a response or an error."""

    custom_id: str
    response: Response | None = None
    error: object = None


class Error(msgspec.Struct):
    """What every error object may say, wherever it stands."""

    message: object = None
    code: object = None
    type: object = None
    error_type: object = None
    metadata: dict[str, object] | None = None


class _Choice(msgspec.Struct):
    finish_reason: object = None
    error: Error | None = None


class _Answer(msgspec.Struct):
    """The parts of an answer that may say that it is none."""

    error: Error | None = None
    error_type: object = None
    choices: list[_Choice] = []


class _Cost(msgspec.Struct):
    cost: Decimal | None = None
    is_byok: bool = False


class _Priced(msgspec.Struct):
    usage: _Cost | None = None


_item = msgspec.json.Decoder(ResultItem).decode
_answer = msgspec.json.Decoder(_Answer).decode
_priced = msgspec.json.Decoder(_Priced).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

#: The vendor's `error_type`, which means the same on all its endpoints ("Typed error codes").
TYPES = {
    "context_length_exceeded": Failure.TOO_LONG,
    "string_too_long": Failure.TOO_LONG,
    "payload_too_large": Failure.TOO_LONG,
    "max_tokens_exceeded": Failure.TRUNCATED,
    "token_limit_exceeded": Failure.ACCOUNT,  # a cap by credit
    "authentication": Failure.ACCOUNT,
    "payment_required": Failure.ACCOUNT,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
    "provider_overloaded": Failure.SERVER,
    "provider_unavailable": Failure.SERVER,
    "server": Failure.SERVER,
    "timeout": Failure.SERVER,
    "unmapped": Failure.SERVER,
    "invalid_request": Failure.INVALID_REQUEST,
    "invalid_prompt": Failure.INVALID_REQUEST,
    "not_found": Failure.INVALID_REQUEST,
    "precondition_failed": Failure.INVALID_REQUEST,
    "unprocessable": Failure.INVALID_REQUEST,
    "content_policy_violation": Failure.REFUSED,
    "refusal": Failure.REFUSED,
    "invalid_image": Failure.INVALID_MEDIA,
    "image_too_large": Failure.INVALID_MEDIA,
    "image_too_small": Failure.INVALID_MEDIA,
    "unsupported_image_format": Failure.INVALID_MEDIA,
    "image_not_found": Failure.INVALID_MEDIA,
    "image_download_failed": Failure.INVALID_MEDIA,
}
_STATUSES = {
    401: Failure.ACCOUNT,
    402: Failure.ACCOUNT,
    403: Failure.ACCOUNT,
    408: Failure.SERVER,
    409: Failure.SERVER,
    413: Failure.TOO_LONG,
    429: Failure.RATE_LIMITED,
}
#: Said of the model, and so of every row: `Model 'x' does not have a :batch endpoint` (2026-09-28),
#: `x is not a valid model ID`, `No endpoints found for x`.
_OF_THE_MODEL = re.compile(
    "does not have a :batch endpoint|not a valid model|no endpoints found|no allowed providers"
)
_TOO_LONG = re.compile("maximum context length|context window|too long")
#: A 403 is the key or, in the words of a guardrail or of a moderation, this one row.
_BLOCKED = re.compile("blocked|flagged|moderation|guardrail|prompt injection")
#: `HTTP 422: …` of a batch, `Upstream request failed with status 400.` of a row (2026-09-04).
_STATUS_IN = re.compile(r"(?:^http|with status) ([1-5]\d\d)\b")
#: The `type` of a row's error is a word of OpenAI's, and says little.
_NATIVE = {"invalid_request_error": Failure.INVALID_REQUEST}
#: Of a row without a status and without a type.
_UNRUN = (
    (re.compile("expired"), Failure.EXPIRED),
    (re.compile("cancell?ed"), Failure.CANCELED),
)


def batch_name(model: str, suffix: str) -> str:
    """Return how a model is called in a batch: with *suffix*, unless it has a variant already."""
    return model if ":" in model.rpartition("/")[2] else model + suffix


def render_head(endpoint: str, model: str) -> bytes:
    """Return what comes before the items of a creating call; `requests` must come last in it."""
    return b'{"endpoint":%b,"model":%b,"completion_window":"24h","requests":[' % (
        _encode(endpoint),
        _encode(model),
    )


BETWEEN = b","
TAIL = b"]}"


def render_item(request: Request, asked: str, model: str) -> bytes:
    """
    Return one item of a creating call, in whose body *model* stands where *asked* stood.

    The vendor refuses a body that names another model than its batch. Where a body names neither,
    it shall do so: nobody wants an answer of another model than he asked for.
    """
    body = request.body
    if asked != model:
        body = _renamed(body, _encode(asked), _encode(model))
    return b'{"custom_id":"%b","body":%b}' % (request.custom_id.encode(), body)


def _renamed(body: bytes, asked: bytes, model: bytes) -> bytes:
    first = b'{"model":' + asked
    if body.startswith(first):
        return b'{"model":' + model + body[len(first) :]
    if b'"model"' not in body:
        return body
    fields = _fields(body)
    if "model" not in fields or _encode(_any(fields["model"])) != asked:
        return body
    return _encode({**fields, "model": Raw(model)})


def parse_item(item: bytes, dialect: str) -> Result:
    """Read one item of the results; raise `msgspec.MsgspecError` where it is none."""
    try:
        found = _item(item)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _loose.struct(ResultItem, _loose.loads(item)[0])
    response = found.response
    if found.error is None and response is not None and response.status_code:
        return result(found.custom_id, response.status_code, bytes(response.body), dialect)
    status = response.status_code if response is not None else 0
    said = _said(found.error)
    if said is None and response is not None:
        said = error_of(bytes(response.body))
    return _errored(found.custom_id, status, said or Error(), b"")


def result(custom_id: str, status: int, body: bytes, dialect: str) -> Result:
    """Judge one HTTP answer of OpenRouter's chat, responses or embeddings; *body* is verbatim."""
    if status != 200:
        said = error_of(body) or Error(message=excerpt(body))
        return _errored(custom_id, status, said, body)
    found = openai.result(custom_id, status, body, dialect)
    if b'"error' in body and (said := _broken_off(body)) is not None:
        failure = failure_of(status_of(said), said)
        outcome = OUTCOMES.get(failure, Outcome.ERRORED)
        found = replace(
            found, outcome=outcome, failure=failure, detail=_words(said) or str(failure)
        )
    return _with_cost(found, body) if b'"cost"' in body else found


def _broken_off(body: bytes) -> Error | None:
    """Return the error inside an answer with status 200; None: it has none."""
    try:
        found = _answer(body)
    except _loose.UNREADABLE:
        return None
    if found.error is not None and _says(found.error):
        return replace(found.error, error_type=found.error_type or found.error.error_type)
    choice = found.choices[0] if found.choices else _Choice()
    if choice.error is not None and _says(choice.error):
        return choice.error
    if choice.finish_reason == "error":
        return Error(message="the provider broke off (finish_reason: error)", code=502)
    return None


def _says(error: Error) -> bool:
    return bool(_words(error) or status_of(error))


def _with_cost(found: Result, body: bytes) -> Result:
    """Add what the answer itself says it cost, in dollars."""
    try:
        usage = _priced(body).usage
    except _loose.UNREADABLE:
        return found
    # With a key of one's own at the vendor behind, this is only the fee.
    if usage is None or usage.cost is None or usage.is_byok or not usage.cost.is_finite():
        return found
    return replace(found, cost_usd=usage.cost)


def _errored(custom_id: str, status: int, said: Error, body: bytes) -> Result:
    status = status or status_of(said)
    failure = failure_of(status, said)
    outcome = OUTCOMES.get(failure, Outcome.ERRORED)
    words = _words(said) or "the provider gave neither an answer nor a reason"
    detail = f"{status} {words}" if status else words
    return Result(custom_id, outcome, failure, detail, body=_loose.sound(body))


def failure_of(status: int, said: Error) -> Failure:
    """Return the class of an error: by its type, then by words, then by status."""
    words = text_of(said).lower()
    if _OF_THE_MODEL.search(words):
        return Failure.ACCOUNT
    if (known := TYPES.get(type_of(said))) is not None:
        return known
    if _TOO_LONG.search(words):
        return Failure.TOO_LONG
    if status == 403 and (_BLOCKED.search(words) or _flagged(said)):
        return Failure.REFUSED
    if not status and (told := _STATUS_IN.search(words)):
        status = int(told[1])
    if not status:
        otherwise = _NATIVE.get(type_of(said), Failure.SERVER)
        return next((f for found, f in _UNRUN if found.search(words)), otherwise)
    by_status = _STATUSES.get(status)
    if by_status is not None:
        return by_status
    return Failure.INVALID_REQUEST if 400 <= status < 500 else Failure.SERVER


def _flagged(said: Error) -> bool:
    # Why the input was flagged, or which injection was seen in it.
    return said.metadata is not None and not said.metadata.keys().isdisjoint(
        ("reasons", "patterns")
    )


def type_of(said: Error) -> str:
    """Return an error's own type, wherever it is written; empty where it has none."""
    inner = (said.metadata or {}).get("error_type")
    found = (inner, said.error_type, said.type, said.code)
    return next((one for one in found if isinstance(one, str) and one), "")


def status_of(said: Error) -> int:
    """Return the status an error names as its code; 0 where it names none."""
    code = said.code
    return code if isinstance(code, int) and 100 <= code < 600 else 0


def text_of(said: Error) -> str:
    return " ".join(said.message.split()) if isinstance(said.message, str) else ""


def _words(said: Error) -> str:
    kind, text = type_of(said), text_of(said)
    return f"{kind}: {text}" if kind and text else kind or text


def error_of(body: bytes) -> Error | None:
    """Return what an error body says: `{"error": {"code", "message", "metadata"}}`."""
    try:
        found = msgspec.json.decode(body.removeprefix(_loose.MARK))
    except _loose.UNREADABLE:
        return None
    if not isinstance(found, dict):
        return None
    said = _said(found.get("error")) or (_said(found) if "message" in found else None)
    if said is not None and isinstance(found.get("error_type"), str):
        return replace(said, error_type=found["error_type"])
    return said


def _said(error: object) -> Error | None:
    if isinstance(error, str):
        return Error(message=error)
    return _loose.struct(Error, error) if isinstance(error, dict) else None


#: Said of a batch that could not be paid; the status of a 402 is not always told along with it.
_OF_THE_CREDIT = re.compile("insufficient (credits|balance|funds)|more credits")


def why_failed(message: str) -> Failure:
    """Return the class of a batch's own error; most often it is about one of its rows."""
    if not message:
        return Failure.SERVER
    if _OF_THE_CREDIT.search(message.lower()):
        return Failure.ACCOUNT
    status = _STATUS_IN.search(message.lower())
    return failure_of(int(status[1]) if status else 400, Error(message=message))


def custom_ids_in(message: str, shard_id: str) -> frozenset[str]:
    """Return a shard's custom_ids that a batch's error names: `Batch request 'x-1' sets …`."""
    return frozenset(re.findall(re.escape(shard_id) + r"-\d+(?![A-Za-z0-9_-])", message))


def names_account(body: bytes) -> bool:
    """Say whether an error names the key, the credit or the model, and not merely this one row."""
    said = error_of(body)
    if said is None:
        return False
    unauthorized = "key" in text_of(said).lower() and not _flagged(said)
    return unauthorized or failure_of(400, said) is Failure.ACCOUNT
