"""The tests of real vendors work, here against stand-ins; and they open no door for any other test."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from tests import fakes
from tests.live_vendors.vendors import MODELS, OPT_IN, Vendor, bill

ROOT = Path(__file__).parent.parent
GUARDED = "tests/test_live_vendors.py::test_every_other_test_is_guarded"


async def run(folder: Path, env: dict[str, str], *args: str) -> tuple[int | None, str]:
    """Run pytest on *args* with *env* in addition to what is there; it writes to *folder* alone."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={folder}", *args),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def test_every_other_test_is_guarded() -> None:
    """Also run by the one below, in a session in which the vendors' tests have run before."""
    assert not [name for name in os.environ if name.endswith("_API_KEY")]
    assert [name for name in os.environ if name.startswith("BATCHMILL_")] == ["BATCHMILL_HOME"]
    with (
        socket.socket() as sock,
        pytest.raises(RuntimeError, match="this machine only"),
    ):
        sock.connect(("192.0.2.1", 9))


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_vendors_tests_pass_against_its_stand_in(name: str, tmp_path: Path) -> None:
    stand_in = fakes.fake(name)
    stand_in.weather.polls = 2
    await stand_in.up()
    env = {
        OPT_IN: "1",
        f"{name.upper()}_API_KEY": stand_in.key,
        f"BATCHMILL_LIVE_{name.upper()}_BASE_URL": stand_in.base_url,
        f"BATCHMILL_LIVE_{name.upper()}_MODEL": stand_in.model,
        "BATCHMILL_LIVE_POLL_S": "0.01",
        "BATCHMILL_LIVE_WAIT_S": "20",
    }

    ended, said = await run(
        tmp_path, env, "tests/live_vendors", GUARDED, "-k", f"{name}- or guarded"
    )

    await stand_in.down()
    assert ended == 0, said
    assert "7 passed" in said, said
    assert f"{name}/{stand_in.model}, batch: 2 x 3 rows, " in said
    assert "at most $" in said
    assert stand_in.key not in said
    assert len(stand_in.ours) == 2
    assert stand_in.calls["create"] == 2
    assert stand_in.calls["live"] >= 3
    assert not stand_in.unknown
    assert not stand_in.complaints


async def test_a_batch_that_takes_too_long_is_cancelled_and_collected(tmp_path: Path) -> None:
    stand_in = fakes.fake("openai")
    stand_in.weather.polls = 10_000
    await stand_in.up()
    env = {
        OPT_IN: "1",
        "OPENAI_API_KEY": stand_in.key,
        "BATCHMILL_LIVE_OPENAI_BASE_URL": stand_in.base_url,
        "BATCHMILL_LIVE_OPENAI_MODEL": stand_in.model,
        "BATCHMILL_LIVE_POLL_S": "0.01",
        "BATCHMILL_LIVE_WAIT_S": "0.2",
    }

    ended, said = await run(tmp_path, env, "tests/live_vendors", "-k", "openai-batch and collected")

    await stand_in.down()
    assert ended == 0, said
    assert all(sold.cancelled for sold in stand_in.ours)


async def test_a_failure_shows_the_vendors_words_and_not_the_key(tmp_path: Path) -> None:
    stand_in = fakes.fake("openai")
    await stand_in.up()
    env = {
        OPT_IN: "1",
        "OPENAI_API_KEY": "sk-wrong-and-secret",
        "BATCHMILL_LIVE_OPENAI_BASE_URL": stand_in.base_url,
        "BATCHMILL_LIVE_POLL_S": "0.01",
        "BATCHMILL_LIVE_WAIT_S": "0.1",
    }

    ended, said = await run(tmp_path, env, "tests/live_vendors", "--showlocals", "-k", "openai-")

    await stand_in.down()
    assert ended == 1, said
    assert "Incorrect API key" in said
    assert "secret" not in said
    assert not stand_in.sold


@pytest.mark.parametrize("name", MODELS)
def test_a_skipped_vendor_names_the_variables_to_set(name: str) -> None:
    vendor = Vendor(name, "batch", {})

    assert OPT_IN in vendor.missing()
    if vendor.spec.key_required:
        assert vendor.spec.key_variable is not None
        assert vendor.spec.key_variable in vendor.missing()


def test_a_key_alone_is_no_wish() -> None:
    given = {"OPENAI_API_KEY": "sk-somebodys"}

    assert Vendor("openai", "batch", given).missing() == f"set {OPT_IN}=1"
    assert bill(given, 1_790_000_000.0) == ""


def test_what_it_costs_at_most_is_told_beforehand() -> None:
    given = {OPT_IN: "1", "OPENAI_API_KEY": "sk", "MISTRAL_API_KEY": "sk"}
    given["BATCHMILL_LIVE_MISTRAL_MODEL"] = "nobody-knows-me"

    words = bill(given, 1_790_000_000.0).splitlines()

    assert len(words) == 5
    assert words[0].startswith("openai/gpt-4.1-nano, batch: 2 x 3 rows, at most $0.000")
    assert words[2] == "mistral/nobody-knows-me, batch: 2 x 3 rows, unknown"
    assert words[4].endswith("and 2 unknown")


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model])
def test_every_vendor_is_asked_for_little(name: str) -> None:
    vendor = Vendor(name, "batch", {})
    bound = vendor.bound_usd(1_790_000_000.0)

    assert vendor.body(0)
    assert bound is None or 0 < bound < 1
