"""The live lane of the simulated provider: an endpoint in this process, and a book of its calls."""

import os
from pathlib import Path

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES, Request
from batchmill.ports import Answer, Clock
from batchmill.providers._sim_answers import ECHO, answerer, failed
from batchmill.providers._sim_weather import Options, ever_new, seeded
from batchmill.wire.openai import render_request_line

CONCURRENCY = 64
#: An answer takes this share of what a batch takes.
SHARE = 1 / 20

#: What only a batch can do to a row.
NOT_LIVE = (Failure.MISSING, Failure.EXPIRED, Failure.CANCELED)


class _Asked(msgspec.Struct):
    model: str = ECHO


_asked = msgspec.json.Decoder(_Asked).decode
_encode = msgspec.json.Encoder().encode


class SimEndpoint:
    """Answers one request at a time; every request it has heard is a line of `live.jsonl`."""

    def __init__(self, clock: Clock, folder: Path, options: Options) -> None:
        self._clock = clock
        self._book = folder / "live.jsonl"
        self._options = options
        self._fate = seeded(options.seed)
        self._luck = ever_new(options.seed)
        self._pid = os.getpid()

    async def send(self, request: Request, url: str) -> Answer:
        self._enter(request.custom_id)
        speed = 0.75 + 0.5 * self._fate(f"speed {request.custom_id}")
        await self._clock.sleep(self._options.turnaround_s * SHARE * speed)
        model = _asked(request.body).model
        dialect, line = _dialect(url), render_request_line(request, url)
        failure = self._failure(request.custom_id)
        if failure is None:
            _, status, body = answerer(model, dialect)(line)
        else:
            _, status, body = failed(failure, line, model, dialect)
        headers = {"content-type": "application/json"}
        if status == 429:
            headers["retry-after"] = "1"
        return Answer(status, headers, body)

    async def probe(self) -> str:
        return "nothing to reach: it is simulated in this process"

    def _failure(self, custom_id: str) -> Failure | None:
        share = self._fate(custom_id)
        for failure, chance in self._options.faults.failures.items():
            if failure in NOT_LIVE:
                continue
            if failure in (Failure.RATE_LIMITED, Failure.QUOTA):
                # 429 is sent again by the dispatcher, with the same name: it needs another luck.
                if self._luck(custom_id) < chance:
                    return failure
                continue
            if share < chance:
                return failure
            share -= chance
        return None

    def _enter(self, custom_id: str) -> None:
        self._book.parent.mkdir(parents=True, exist_ok=True)
        entry = {"asked": custom_id, "at": self._clock.now(), "pid": self._pid}
        with self._book.open("ab", buffering=0) as file:
            file.write(_encode(entry) + b"\n")


def _dialect(url: str) -> str:
    if url.endswith("/embeddings"):
        return OPENAI_EMBEDDINGS
    return OPENAI_RESPONSES if url.endswith("/responses") else OPENAI_CHAT
