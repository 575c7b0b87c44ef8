"""A quote, and the beginning of a run, say what of a table is bought, and in which lane."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Command, write_table

from batchmill.providers import LIVE_TERMS, sim

ASKED = ("--prompt", "Say {{ title }}")
PNG = b"\x89PNG\r\n\x1a\nrest"


@pytest.fixture
def at_least_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated vendor takes no batch of fewer than five rows."""
    limits = replace(sim.PROVIDER.limits, requests_min=5)
    monkeypatch.setattr(sim, "PROVIDER", replace(sim.PROVIDER, limits=limits))


def test_a_quote_cuts_as_its_lane_does(here: Path, call: Command) -> None:
    # given: a table with a row that a live call takes, and a batch with its smaller bound does not
    (here / "big.csv").write_text("title\n" + "x" * 80 + "\n")
    batch = replace(sim.PROVIDER.limits, request_bytes_max=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sim, "PROVIDER", replace(sim.PROVIDER, limits=batch, live=LIVE_TERMS))
        asked = ("quote", "big.csv", "--model", "sim/echo", *ASKED, "--json")

        assert call(*asked).status != 0
        told = call(*asked, "--lane", "live")

    assert (told.status, told.json["rows"], told.json["lane"]) == (0, 1, "live")


@pytest.mark.usefixtures("at_least_five")
def test_rows_that_are_too_few_for_a_batch_are_said_to_go_live_at_list_price(
    here: Path, call: Command
) -> None:
    write_table(here / "few.csv", 4)
    words = "4 rows go through the live lane, at list price: a batch of sim takes no fewer than 5."

    asked = ("few.csv", "--model", "sim/echo", *ASKED)
    assert call("quote", *asked, "--json").json["live_rows"] == 4
    assert words in call("quote", *asked).out
    assert words in call("run", *asked).err


@pytest.mark.usefixtures("at_least_five")
def test_enough_rows_and_rows_asked_for_live_are_no_news(here: Path, call: Command) -> None:
    assert call("quote", "t.csv", "--model", "sim/echo", *ASKED, "--json").json["live_rows"] == 0
    write_table(here / "few.csv", 4)
    told = call("quote", "few.csv", "--model", "sim/echo", *ASKED, "--lane", "live")
    assert (told.status, "list price" in told.out) == (0, False)


def test_rows_that_are_left_out_are_counted_apart(here: Path, call: Command) -> None:
    (here / "i.png").write_bytes(PNG)
    (here / "i.csv").write_text("i\ni.png\ngone.png\ni.png\n")
    asked = ("quote", "i.csv", "--model", "sim/echo", "--prompt", "?", "--image", "i")
    asked = (*asked, "--skip-bad-images", "--max-tokens", "10")

    told = call(*asked, "--json").json

    assert (told["rows"], told["left_out"], told["output_tokens_max"]) == (2, 1, 20)
    assert "1 row whose image cannot be read: not sent, not counted above" in call(*asked).out


def test_rows_that_were_left_out_are_not_said_to_be_worth_another_offer(
    here: Path, call: Command
) -> None:
    (here / "i.png").write_bytes(PNG)
    (here / "i.csv").write_text("i\ni.png\ngone.png\n")
    asked = ("--model", "sim/echo", "--prompt", "?", "--image", "i", "--skip-bad-images")

    told = call("run", "i.csv", *asked)

    assert "invalid_media 1" in told.out
    assert "Offer them again" not in told.out
    assert told.out.rstrip().endswith("mend table or flags, and run it again.")


def test_the_first_row_that_is_shown_is_one_that_is_sent(here: Path, call: Command) -> None:
    (here / "i.png").write_bytes(PNG)
    (here / "i.csv").write_text("i,n\ngone.png,zero\ni.png,one\n")
    asked = ("--model", "sim/echo", "--prompt", "{{ n }}", "--image", "i", "--skip-bad-images")

    told = call("quote", "i.csv", *asked).out

    assert ("one" in told, "zero" in told) == (True, False)


def test_a_limit_that_is_sent_unasked_is_told(
    here: Path, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    asked = ("quote", "t.csv", "--model", "anthropic/claude-haiku-4-5", *ASKED)
    assert "at most 24,576, 4,096 for each row" in call(*asked).out
    assert (
        "no limit set (--max-tokens)" in call("quote", "t.csv", "--model", "sim/echo", *ASKED).out
    )


def test_of_ready_made_lines_each_says_its_limit_itself(here: Path, call: Command) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 7}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (here / "r.jsonl").write_text(json.dumps(line) + "\n")
    told = call("quote", "r.jsonl", "--model", "sim/echo").out
    assert "tokens out  as each request says" in told


def test_a_window_beyond_the_vendors_own_is_told_before_anything_is_sent(
    here: Path, call: Command
) -> None:
    words = "sim ends a batch after 24h at the latest; rows without an answer by then are offered"
    asked = ("t.csv", "--model", "sim/echo", *ASKED, "--window")
    assert words in call("quote", *asked, "3d").out
    assert words in call("run", *asked, "3d").err
    assert "ends a batch" not in call("quote", *asked, "24h").out
    assert "ends a batch" not in call("quote", *asked, "3d", "--lane", "live").out
