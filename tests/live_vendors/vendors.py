"""Which vendors can be asked for real, what that takes, and what it may cost at most."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from batchmill import providers
from batchmill.core.outcome import Usage
from batchmill.core.price import price
from batchmill.providers import Knobs, ProviderSpec
from batchmill.wire import hub, translate

OPT_IN = "BATCHMILL_LIVE_VENDORS"
WAIT_S = "BATCHMILL_LIVE_WAIT_S"
POLL_S = "BATCHMILL_LIVE_POLL_S"

#: The cheapest model that is fit for it; "": it depends on the account, and has to be named.
MODELS = {
    "openai": "gpt-4.1-nano",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash-lite",
    "mistral": "mistral-small-latest",
    "groq": "llama-3.1-8b-instant",
    "openrouter": "openai/gpt-4o-mini",
    "azure": "",
    "vertex": "gemini-2.5-flash-lite",
    "bedrock": "amazon.nova-micro-v1:0",
}
#: What has no default here: the account's own place, options as a JSON object.
NEEDS = {"azure": ("MODEL", "BASE_URL"), "vertex": ("OPTIONS",), "bedrock": ("OPTIONS",)}
ROWS = 3
MAX_TOKENS = 16
#: Each lane is bought from twice: a life to its end, and one that is cancelled.
LIVES = 2
WORDS = ("apple", "pear", "plum")


@dataclass(frozen=True)
class Vendor:
    """One vendor's lane, as the environment lets it be asked."""

    name: str
    lane: str
    #: The environment as it was before the tests stripped it: never shown.
    given: Mapping[str, str] = field(repr=False)

    def setting(self, what: str) -> str:
        return self.given.get(f"BATCHMILL_LIVE_{self.name.upper()}_{what}", "")

    @cached_property
    def spec(self) -> ProviderSpec:
        return providers.spec(self.name)

    @property
    def key(self) -> str | None:
        names = (self.spec.key_variable or "", *self.spec.key_fallbacks)
        return next((found for name in names if (found := self.given.get(name))), None)

    @property
    def model(self) -> str:
        return self.setting("MODEL") or MODELS[self.name]

    @property
    def dialect(self) -> str:
        found = self.spec.dialect(self.spec, "chat", self.model)
        assert found is not None, f"{self.name} has no chat endpoint for {self.model}"
        return found

    @property
    def rows(self) -> int:
        return max(ROWS, self.spec.limits.requests_min if self.lane == "batch" else 0)

    @property
    def knobs(self) -> Knobs:
        options: dict[str, object] = json.loads(self.setting("OPTIONS") or "{}")
        return Knobs(
            base_url=self.setting("BASE_URL") or self.spec.base_url,
            lane=self.lane,
            key=self.key,
            timeout_s=self.spec.timeout_s,
            poll_s=float(self.given.get(POLL_S, "15")),
            options=options,
        )

    def missing(self) -> str:
        """Return which variables have to be set before it can be asked; empty if none."""
        names = [] if self.given.get(OPT_IN) == "1" else [f"{OPT_IN}=1"]
        if self.spec.key_required and not self.key:
            names.append(self.spec.key_variable or "its key")
        names += [
            f"BATCHMILL_LIVE_{self.name.upper()}_{what}"
            for what in NEEDS.get(self.name, ())
            if not self.setting(what)
        ]
        return f"set {' and '.join(names)}" if names else self.spec.ready(self.knobs) or ""

    def body(self, row: int) -> bytes:
        said = hub.Text(f"Reply with this one word: {WORDS[row % len(WORDS)]}")
        turns = (hub.Turn("user", (said,)),)
        asked = hub.Chat(model=self.model, turns=turns, max_tokens=MAX_TOKENS)
        return msgspec.json.encode(translate.write(self.dialect, asked))

    def bound_usd(self, now: float) -> Decimal | None:
        """Return what all of its tests cost at most; None where the model has no known price."""
        # No token is shorter than a byte.
        usage = Usage(len(self.body(0)) + 64, MAX_TOKENS)
        discount = self.spec.discount
        one = price(self.name, self.model, self.lane, usage, now, discount=discount)
        return None if one is None else one.paid_usd * self.rows * LIVES


LANES = [(name, lane) for name in MODELS for lane in providers.spec(name).lanes]


def all_vendors(given: Mapping[str, str]) -> list[Vendor]:
    return [Vendor(name, lane, given) for name, lane in LANES]


def bill(given: Mapping[str, str], now: float) -> str:
    """Return what the tests that will run cost at most, a line for each vendor's lane."""
    lines: list[str] = []
    total, unknown = Decimal(0), 0
    for vendor in all_vendors(given):
        if vendor.missing():
            continue
        bound: Any = vendor.bound_usd(now)
        total += bound or 0
        unknown += bound is None
        words = "unknown" if bound is None else f"at most ${bound:f}"
        rows = f"{LIVES} x {vendor.rows} rows"
        lines.append(f"{vendor.name}/{vendor.model}, {vendor.lane}: {rows}, {words}")
    more = f" and {unknown} unknown" if unknown else ""
    return "\n".join([*lines, f"all of it: at most ${total:f}{more}"]) if lines else ""
