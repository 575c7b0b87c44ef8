"""What a person sets for Gemini, and its live lane."""

import re
from collections.abc import Mapping
from typing import Final

from batchmill.errors import InvalidSetting
from batchmill.ports import Offer
from batchmill.providers import Context
from batchmill.providers._gemini_files import quoted
from batchmill.providers._google import reads
from batchmill.providers._rest import Words
from batchmill.providers.live import HttpEndpoint, LiveProvider, concurrency_of, known_options
from batchmill.wire import gemini, google

OPTIONS: Final = ("api_version", "input", "concurrency")
INLINE: Final = "inline"  #: the reference of an input that needs no file
#: How rows travel. Whether they fit the creating call is not for a person to promise.
INPUTS: Final = ("auto", "file")


class GeminiEndpoint(HttpEndpoint):
    """Gemini's live API: the model is in the path, the key in a header of its own."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.models_path = f"/{api_version(context)}/models"

    def key_headers(self, key: str) -> dict[str, str]:
        return dict(key_headers(key))

    def place(self, url: str) -> str:
        return self.base_url.rstrip("/") + url

    def reads(self, status: int, body: bytes) -> Words:
        return reads(status, body)


def key_headers(key: str | None) -> Mapping[str, str]:
    return {"x-goog-api-key": key.strip()} if key else {}


def api_version(context: Context) -> str:
    """Return the first part of every path. The guide's is `v1beta`; newer SDKs say `v1`."""
    version = context.knobs.options.get("api_version", "v1beta")
    if not isinstance(version, str) or not re.fullmatch(r"v\d\w*", version):
        raise InvalidSetting(
            f"[providers.{context.name}] api_version = {version!r}: expected e.g. v1beta or v1."
        )
    return version


def model_path(model: str) -> str:
    """Return where a model lies: `models/NAME`, unless it says so itself (`tunedModels/…`)."""
    return quoted(model if "/" in model else f"models/{model}")


def input_of(context: Context) -> str:
    chosen = context.knobs.options.get("input", "auto")
    if chosen not in INPUTS:
        raise InvalidSetting(
            f"[providers.{context.name}] input = {chosen!r}: expected one of {', '.join(INPUTS)}."
        )
    return str(chosen)


def live(context: Context) -> LiveProvider:
    known_options(context.name, context.knobs, OPTIONS)
    version = api_version(context)

    def url_of(offer: Offer) -> str:
        return f"/{version}/{model_path(offer.model)}{offer.url}"

    return LiveProvider(
        context,
        GeminiEndpoint(context),
        concurrency=concurrency_of(context),
        label=context.name,
        judge=gemini.result,
        names_account=google.names_account,
        url_of=url_of,
    )
