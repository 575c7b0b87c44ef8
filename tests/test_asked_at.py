"""Each provider is asked in the dialect it speaks; an endpoint it lacks is told, with what it has."""

import json
from pathlib import Path

import pytest

from batchmill import providers
from batchmill.core.request import DIALECTS
from batchmill.errors import InvalidRecipe, InvalidTable
from batchmill.providers import Knobs
from batchmill.rows.blobs import open_blobs
from batchmill.rows.read import describe
from batchmill.wiring import Named, asked_at


def named(provider: str, model: str = "m") -> Named:
    spec = providers.spec(provider)
    return Named(
        provider=provider, model=model, lane="batch", spec=spec, knobs=Knobs(base_url="http://x")
    )


def asked(folder: Path, who: Named, lines: str | None, endpoint: str | None = None) -> str:
    table = folder / ("t.csv" if lines is None else "t.jsonl")
    table.write_text("a\n1\n" if lines is None else lines)
    blobs = open_blobs(str(folder / "blobs"))
    dialect, url = asked_at(who, describe(str(table)), blobs, endpoint)
    assert url == DIALECTS[dialect].url
    return dialect


def line(url: str) -> str:
    return (
        json.dumps({"custom_id": "a", "method": "POST", "url": url, "body": {"model": "g"}}) + "\n"
    )


@pytest.mark.parametrize(
    ("provider", "model", "endpoint", "dialect"),
    [
        ("openai", "gpt-4o", None, "openai.chat"),
        ("openai", "gpt-4o", "responses", "openai.responses"),
        ("anthropic", "claude-haiku-4-5", None, "anthropic.messages"),
        ("gemini", "gemini-2.5-flash", "chat", "gemini.generate"),
        ("gemini", "gemini-embedding-001", "embeddings", "gemini.embed"),
        ("mistral", "mistral-embed", "embeddings", "openai.embeddings"),
        ("bedrock", "us.anthropic.claude-haiku-4-5-v1:0", None, "anthropic.messages"),
        ("bedrock", "amazon.nova-lite-v1:0", None, "bedrock.converse"),
    ],
)
def test_a_provider_is_asked_in_its_own_dialect(
    tmp_path: Path, provider: str, model: str, endpoint: str | None, dialect: str
) -> None:
    assert asked(tmp_path, named(provider, model), None, endpoint) == dialect


def test_an_endpoint_that_a_provider_lacks_is_told_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=r"^--endpoint responses: gemini has none.*chat, embed"):
        asked(tmp_path, named("gemini"), None, "responses")


@pytest.mark.parametrize(
    ("provider", "url", "dialect"),
    [
        ("openai", "/v1/responses", "openai.responses"),
        ("gemini", "/v1/embeddings", "gemini.embed"),
        ("anthropic", "/v1/chat/completions", "anthropic.messages"),
        ("anthropic", "/v1/responses", "anthropic.messages"),
    ],
)
def test_ready_made_lines_say_themselves_where_they_want_to_go(
    tmp_path: Path, provider: str, url: str, dialect: str
) -> None:
    assert asked(tmp_path, named(provider), line(url)) == dialect


def test_a_line_for_an_endpoint_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidTable, match="no endpoint '/v1/songs'; expected one of /v1/chat"):
        asked(tmp_path, named("openai"), line("/v1/songs"))
