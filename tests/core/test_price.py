"""A request costs what the price table says, exactly; what the table does not know has no price."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core import price as prices
from batchmill.core.outcome import Usage
from batchmill.core.price import VENDORS, Written, price, stated, tariff, vendor_at

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
USAGE = Usage(input_tokens=1000, output_tokens=100, cached_tokens=200, reasoning_tokens=50)


def theirs(vendor: str, model: str, usage: Usage, *, at: float = NOW, batch: bool = False):
    return calc_price(
        TheirUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens,
            output_reasoning_tokens=usage.reasoning_tokens,
        ),
        model,
        provider_id=vendor,
        genai_request_timestamp=datetime.fromtimestamp(at, UTC),
        price_context={"processing": "batch"} if batch else None,
    ).total_price


def every_model() -> list[tuple[str, str]]:
    wanted = set(VENDORS.values())
    return [(p.id, m.id) for p in get_snapshot().providers if p.id in wanted for m in p.models]


@given(
    st.sampled_from(every_model()),
    st.sampled_from(["live", "batch"]),
    st.integers(0, 2_000_000),
    st.integers(0, 200_000),
    st.floats(0, 1),
    st.floats(1.6e9, 2e9),
)
def test_the_price_is_to_the_last_digit_what_the_table_itself_makes_of_it(
    model, lane, taken, given_, share, at
):
    # given a request of any size, at any time
    at = at // 60 * 60
    usage = Usage(taken, given_, int(taken * share), int(given_ * share))
    vendor, name = model
    # when
    found = tariff(vendor, name, lane, at)
    told = found.price(usage) if found else None
    # then
    if told is not None:
        assert told.paid_usd == theirs(vendor, name, usage, at=at, batch=lane == "batch")
        assert told.list_usd >= told.paid_usd
        assert told.basis == "table"


@pytest.mark.parametrize("lane", ["batch", "live"])
def test_no_model_costs_more_in_a_batch_than_its_list_price(lane):
    for vendor, name in every_model():
        found = tariff(vendor, name, lane, NOW, "50%")
        for _, paid, listed in found.steps if found else ():
            for kind in ("input", "cached", "written", "written_hour", "output", "request"):
                assert (getattr(paid, kind) or 0) <= (getattr(listed, kind) or 0), (name, kind)


def test_a_batch_costs_what_the_table_says_of_batches():
    found = price("openai", "gpt-4o-mini", "batch", Usage(1_000_000, 100_000), NOW)
    assert found == (Decimal("0.105"), Decimal("0.21"), "table")
    live = price("openai", "gpt-4o-mini", "live", Usage(1_000_000, 100_000), NOW)
    assert live == (Decimal("0.21"), Decimal("0.21"), "table")


def test_where_the_table_has_no_batch_price_the_vendors_own_word_counts_and_is_marked():
    # given a model that the table knows at full price only
    found = price("mistral", "mistral-large-latest", "batch", USAGE, NOW, discount="50%")
    assert found is not None
    assert (found.paid_usd * 2, found.basis) == (found.list_usd, "stated")


@pytest.mark.parametrize("words", ["", "up to 50%", "50% off selected models", "half", "150%"])
def test_a_vague_word_is_no_price(words):
    assert stated(words) is None
    assert price("mistral", "mistral-large-latest", "batch", USAGE, NOW, discount=words) is None


def test_before_the_table_had_batch_prices_the_vendors_word_counts():
    before = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    found = price("openai", "gpt-4o-mini", "batch", Usage(1000, 0), before, discount="50%")
    assert found == (Decimal("0.000075"), Decimal("0.00015"), "stated")


def test_a_long_prompt_is_priced_as_one_and_not_as_the_sum_of_short_ones():
    short, long = Usage(150_000, 0), Usage(900_000, 0)
    one = price("anthropic", "claude-sonnet-4-5", "live", short, NOW)
    six = price("anthropic", "claude-sonnet-4-5", "live", long, NOW)
    assert one is not None
    assert six is not None
    assert six.paid_usd == one.paid_usd * 6 * 2


def test_cached_tokens_have_their_own_price():
    plain = price("anthropic", "claude-haiku-4-5", "live", Usage(1000, 0), NOW)
    cached = price("anthropic", "claude-haiku-4-5", "live", Usage(1000, 0, 1000), NOW)
    assert plain is not None
    assert cached is not None
    assert cached.paid_usd * 10 == plain.paid_usd


def test_what_is_written_into_the_cache_has_its_own_price():
    found = tariff("anthropic", "claude-haiku-4-5", "live", NOW)
    assert found is not None
    assert found.writes
    told = found.price(Usage(1000, 0, 100), Written(200, 300))
    assert told is not None
    wanted = Decimal(400) * 1 + Decimal(100) / 10 + 200 * Decimal("1.25") + 300 * 2
    assert told.paid_usd == wanted / 1_000_000


def test_parts_that_are_more_than_the_whole_never_make_a_negative_price():
    found = tariff("anthropic", "claude-haiku-4-5", "live", NOW)
    assert found is not None
    told = found.price(Usage(10, 10, 99, 99), Written(50, 50))
    assert told is not None
    assert told.paid_usd == Decimal(10) * Decimal("0.1") / 1_000_000 + Decimal(50) / 1_000_000


def test_the_hour_counts_where_the_vendor_has_hours():
    by_day = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
    by_night = datetime(2026, 11, 20, 20, 0, tzinfo=UTC).timestamp()
    day = price("deepseek", "deepseek-chat", "live", USAGE, by_day)
    night = price("deepseek", "deepseek-chat", "live", USAGE, by_night)
    assert day is not None
    assert night is not None
    assert night.paid_usd < day.paid_usd
    for vendor, model, hours in [("deepseek", "deepseek-chat", True), ("openai", "gpt-5", False)]:
        found = tariff(vendor, model, "live", by_day)
        assert found is not None
        assert found.by_clock is hours


def test_a_fee_for_each_request_is_part_of_its_price():
    found = price("perplexity", "sonar", "live", Usage(), NOW)
    assert found is not None
    assert found.paid_usd == Decimal("0.012")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:acme::abc"),  # tuned ones cost otherwise
        ("nobody", "gpt-4o-mini"),
        ("perplexity", "sonar-deep-research"),  # charges for citations, which nobody counts for us
        ("mistral", "mistral-ocr-latest"),  # by the page
    ],
)
def test_what_nobody_can_know_has_no_price(provider, model):
    for lane in ("batch", "live"):
        assert price(provider, model, lane, USAGE, NOW, discount="50%") is None


def test_answers_of_a_model_that_has_a_price_for_questions_only_are_not_free():
    assert price("openai", "text-embedding-3-small", "live", Usage(1000, 0), NOW) is not None
    assert price("openai", "text-embedding-3-small", "live", Usage(1000, 1), NOW) is None


def test_googles_models_are_known_by_their_paths():
    for name in ("gemini-2.5-flash", "models/gemini-2.5-flash"):
        assert price("gemini", name, "batch", USAGE, NOW) is not None
    path = "publishers/google/models/gemini-2.5-flash"
    assert price("vertex", path, "batch", USAGE, NOW) is not None


def test_standard_prices_may_be_shared_and_batch_prices_are_not():
    # given a model that Azure's list takes over from OpenAI's
    shared = price("azure", "gpt-4o-mini-2024-07-18", "live", USAGE, NOW)
    assert shared == price("openai", "gpt-4o-mini-2024-07-18", "live", USAGE, NOW)
    # then its batch price is what Azure states
    batch = price("azure", "gpt-4o-mini-2024-07-18", "batch", USAGE, NOW, discount="50%")
    assert batch is not None
    assert (batch.paid_usd * 2, batch.basis) == (batch.list_usd, "stated")


def test_a_region_has_its_own_price():
    everywhere = price(
        "bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", "live", USAGE, NOW
    )
    profile = (
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
    )
    regional = price("bedrock", profile, "live", USAGE, NOW)
    assert everywhere is not None
    assert regional is not None
    assert regional.paid_usd > everywhere.paid_usd


def test_no_digit_is_lost():
    found = price("openai", "gpt-4o-mini", "batch", Usage(123_456_789_012_345, 7), NOW)
    assert found is not None
    assert str(found.paid_usd) == "9259259.175927975"


def test_an_address_tells_whose_prices_count():
    assert vendor_at("https://api.deepseek.com/v1") == "deepseek"
    assert vendor_at("http://127.0.0.1:8000/v1") is None
    assert vendor_at("https://gpu1.example.com/v1") is None


def test_every_vendor_of_ours_is_in_the_table():
    known = {p.id for p in get_snapshot().providers}
    assert set(VENDORS.values()) <= known


def test_a_price_of_too_many_digits_is_refused_and_not_rounded():
    with pytest.raises(AssertionError, match="decimals"):
        prices._whole(Decimal("1e-30"), 1_000_000)
