"""
The built-in model: llama.cpp in a child process behind `live.py`; needs no key and no GPU.

Requests that do not say otherwise get temperature 0 (the likeliest answer, the same one again) and
at most 512 output tokens, as a model of this size may ramble to the end of its context.
"""

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from batchmill.core.limits import MIB, Limits
from batchmill.core.request import OPENAI_CHAT, OPENAI_RESPONSES, Request
from batchmill.errors import InvalidSetting, MissingExtra, NotSent
from batchmill.ports import Answer, Offer, Provider
from batchmill.providers import Context, Knobs, ProviderSpec, _weights
from batchmill.providers._cores import free_cores
from batchmill.providers.live import LiveProvider, joined, known_options, whole_number
from batchmill.wire import failures

log = logging.getLogger(__name__)

MODEL: Final = "smollm2-135m"
OPTIONS: Final = ("model_path", "hub_url", "threads", "context_tokens", "output_tokens")
CONTEXT_TOKENS: Final = 8192  #: what SmolLM2 was trained for; 190 MB of memory
OUTPUT_TOKENS: Final = 512
THREADS_MAX: Final = 8  #: so small a model gains nothing from more
#: One slot decodes as fast as two or four on a CPU (40, 38 and 29 tokens/s on one core, xllamacpp
#: 2026.10), and neighbours do not change each other's rounding: the same row, the same answer.
SLOTS: Final = 1
IN_FLIGHT: Final = SLOTS + 1  #: one row waits at the server, so that the slot is never idle
START_S: Final = 120.0
LOG_TAIL_BYTES: Final = 600


class ModelServer:
    """The child process as an endpoint: started when first needed, again when it has died."""

    def __init__(self, context: Context) -> None:
        self._name = context.name
        self._knobs = context.knobs
        self._clock = context.clock
        self._http = context.http()  # now: it must outlive us, and wiring closes the last first
        self._log = context.folder / "llama.log"
        self._process: asyncio.subprocess.Process | None = None
        self._url = ""
        self._starting = asyncio.Lock()
        path = context.knobs.options.get("model_path")
        if path is not None and not isinstance(path, str):
            raise InvalidSetting(
                f"[providers.{self._name}] model_path = {path!r}: expected a path."
            )
        self._model_path = path
        self._hub = str(context.knobs.options.get("hub_url", _weights.HUB))
        self._threads = (
            self._number("threads", 0, 1024) if "threads" in self._knobs.options else None
        )
        self._context_tokens = self._number("context_tokens", CONTEXT_TOKENS, 1 << 20)
        self._output_tokens = self._number("output_tokens", OUTPUT_TOKENS, 1 << 20)

    @property
    def pid(self) -> int | None:
        """Return the child's process id while it lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    async def weights(self) -> Path:
        """Return the model file, fetched if it is nowhere on this machine."""
        there = _weights.at_hand(_weights.SMOLLM2, self._model_path)
        return there or await _weights.fetch(_weights.SMOLLM2, hub=self._hub)

    async def send(self, request: Request, url: str) -> Answer:
        answer = await self._http.request(
            "POST",
            joined(await self._up(), url),
            headers={"content-type": "application/json"},
            body=request.body,
            timeout_s=self._knobs.idle_timeout_s,
        )
        if answer.status >= 500 and b"not support" in answer.body:
            # Images, embeddings: llama.cpp says 500 or 501, but no repetition will mend it.
            _, message = failures.error_words(answer.body)
            said = {"error": {"message": message, "type": "invalid_request_error"}}
            return Answer(400, answer.headers, json.dumps(said).encode())
        if url.endswith("/responses") and answer.status == 200:
            return Answer(200, answer.headers, self._called_incomplete(request, answer.body))
        return answer

    async def probe(self) -> str:
        there = _weights.at_hand(_weights.SMOLLM2, self._model_path)
        return f"weights in {there}" if there else "weights are fetched at first use"

    async def aclose(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _up(self) -> str:
        """Return the base URL of a server that was alive a moment ago."""
        async with self._starting:
            if self.pid is None:
                await self._start(await self.weights())
            return self._url

    async def _start(self, model: Path) -> None:
        threads = self._threads or await free_cores(self._clock, most=THREADS_MAX)
        told = {
            "model": str(model),
            "name": MODEL,
            "threads": threads,
            "slots": SLOTS,
            "context_tokens": self._context_tokens,
            "output_tokens": self._output_tokens,
            "parent": os.getpid(),
        }
        program = Path(__file__).with_name("_llama.py")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log_file:
            # -P: the folder of that file holds an openai.py, which must not be found by others.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(program),
                json.dumps(told),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C is for us; we end it when we are done
            )
        self._url = await self._ready(self._process)
        log.info(
            "model server on %s, %d threads", self._url, threads, extra={"action": "model_started"}
        )

    async def _ready(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None, "it was asked for"
        line = b""
        try:
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
            return f"{json.loads(line)['url']}/v1"
        except (TimeoutError, ValueError, KeyError) as error:
            await self.aclose()
            raise NotSent(
                f"llama.cpp did not start (see {self._log}): "
                f"{_tail(self._log) or 'it says nothing'}"
            ) from error
        except BaseException:
            await self.aclose()  # cancelled while it loads: the next one starts afresh
            raise

    def _called_incomplete(self, request: Request, body: bytes) -> bytes:
        # llama.cpp's /v1/responses says `completed` also where it stopped at the maximum (2026.10).
        try:
            asked = msgspec.json.decode(request.body)
            said = msgspec.json.decode(body)
            most = asked.get("max_output_tokens") or self._output_tokens
            if said["usage"]["output_tokens"] < most:
                return body
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
            return body
        said |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        return msgspec.json.encode(said)

    def _number(self, option: str, default: int, most: int) -> int:
        return whole_number(self._name, self._knobs, option, default, most)


class LocalProvider(LiveProvider):
    """`live.py` in front of our own child."""

    def __init__(self, context: Context) -> None:
        self.server = ModelServer(context)
        super().__init__(
            context,
            self.server,
            concurrency=IN_FLIGHT,
            label="the built-in model",
            free=True,
        )

    async def prepare(self, offer: Offer) -> str:
        """See that the weights are here: the one part that may take long, and can be repeated."""
        await self.server.weights()
        return await super().prepare(offer)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            await self.server.aclose()


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        text = path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return " ".join(text.split())
    return ""


def _missing(_: Knobs) -> str | None:
    if importlib.util.find_spec("xllamacpp") is None:
        return "pip install 'batchmill[local]'"
    return None


def _open(context: Context) -> Provider:
    if (how := _missing(context.knobs)) is not None:
        raise MissingExtra(f"the built-in model needs llama.cpp: {how}")
    known_options(context.name, context.knobs, OPTIONS)
    return LocalProvider(context)


PROVIDER = ProviderSpec(
    title="The built-in model: SmolLM2-135M-Instruct on this machine's CPU",
    key_required=False,
    dialects=(OPENAI_CHAT, OPENAI_RESPONSES),
    lanes=("live",),
    # A thousand rows are minutes of work here: a crash, a retry or a look at the figures is cheap.
    limits=Limits(requests_max=1000, bytes_max=64 * MIB, request_bytes_max=1 * MIB),
    timeout_s=5.0,
    poll_s=0.5,
    listing_lag_s=0.0,
    found_by="its ledger, a file named after the shard",
    free=True,
    models=lambda _: (MODEL,),
    ready=_missing,
    options=OPTIONS,
    open=_open,
)
