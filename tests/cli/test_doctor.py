"""`doctor` looks at everything that can be wrong, asks whoever is set up, and says what to do."""

import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from batchmill import providers
from batchmill.cli.probes import Heard
from batchmill.cli.probes import ask as ask_all
from batchmill.errors import (
    NotSent,
    ProviderBroke,
    ProviderBusy,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.settings import Settings
from batchmill.wiring import Market, SystemClock, SystemIds

from .conftest import Command, settings

KEY = "sk-very-secret"


class Vendor(BaseHTTPRequestHandler):
    """A vendor that lists its models to whoever has the key, and counts who asks."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        good = self.headers["Authorization"] == f"Bearer {KEY}"
        words = {"message": "Incorrect API key provided.", "code": "invalid_api_key"}
        body = {"object": "list", "data": [{"id": "m"}]} if good else {"error": words}
        text = json.dumps(body).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def vendor(here: Path) -> Iterator[type[Vendor]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Vendor.asked.clear()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with (here / "batchmill.toml").open("a") as file:
        file.write(f'[providers.openai]\nbase_url = "{url}"\n')
    yield Vendor
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_batch_is_not_called_batches(here: Path, ask: Command, call: Command) -> None:
    ask()
    assert "current, 1 batch\n" in call("doctor").out


def test_a_healthy_home_has_no_problem(here: Path, ask: Command, call: Command) -> None:
    ask()
    told = call("doctor")
    assert told.status == 0, told.out
    assert "all is well" in told.out
    assert {one["about"] for one in call("doctor", "--json").json} >= {
        *("python", "settings", "home", "disk", "database", "clock", "worker", "provider sim"),
    }


def test_the_doctor_says_what_is_wrong_and_what_to_do(
    here: Path, tmp_path: Path, ask: Command, call: Command
) -> None:
    settings(here)
    ask("--detach")
    told = call("doctor")
    assert told.status == 2
    assert "batchmill work" in told.out
    (tmp_path / "home" / "batchmill.db").write_bytes(b"rubbish" * 1000)
    told = call("doctor")
    assert told.status == 2
    assert "batchmill.db" in told.out


def finding(call: Command, about: str, *args: str) -> dict[str, Any]:
    return next(one for one in call("doctor", "--json", *args).json if one["about"] == about)


def test_who_is_set_up_is_asked_something_that_costs_nothing(
    vendor: type[Vendor], call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = finding(call, "provider openai")
    assert found["ok"], found
    assert "key is good" in found["found"]
    assert vendor.asked == ["/v1/models"]


def test_a_wrong_key_is_told_in_the_vendors_words_with_the_variable_that_holds_it(
    vendor: type[Vendor], call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    told = call("doctor")
    assert told.status == 2
    assert "Incorrect API key provided." in told.out
    assert "look at the key in OPENAI_API_KEY" in told.out
    assert "sk-wrong" not in told.out


def test_offline_nobody_is_asked(
    vendor: type[Vendor], call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    assert finding(call, "provider openai", "--offline")["ok"]
    assert not vendor.asked


def test_who_lacks_a_key_is_not_asked_but_named(vendor: type[Vendor], call: Command) -> None:
    # given a provider that the settings name, and others that nobody set up
    told = call("doctor")
    # then
    assert told.status == 2
    assert "→ set OPENAI_API_KEY" in told.out
    assert not vendor.asked
    assert "Not set up: " in told.out
    assert "live" in told.out.partition("Not set up: ")[2]
    assert not finding(call, "provider live")["matters"]


# -- each answer that a provider can give, over doubles in this process ---------------------------


class Asked:
    """A provider that answers a probe in one way."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def probe(self) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await SystemClock().sleep(60)
        return str(self.answer)


async def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *answers: object) -> list[Heard]:
    """Ask as many providers as there are answers, all at once."""
    names = [f"p{n}" for n in range(len(answers))]
    opened = dict(zip(names, answers, strict=True))
    spec = replace(
        providers.spec("sim"),
        title="A vendor",
        key_variable="A_KEY",
        base_url="http://127.0.0.1:1",
        open=lambda context: Asked(opened[context.name]),
    )
    monkeypatch.setattr(providers, "spec", lambda name: spec)
    async with AsyncExitStack() as stack:
        market = Market(
            settings=Settings(home=tmp_path),
            clock=SystemClock(),
            ids=SystemIds(),
            stack=stack,
            env={"A_KEY": KEY},
        )
        return list((await ask_all(market, names, within_s=0.2)).values())


@pytest.mark.parametrize(
    ("answer", "ok", "words", "todo"),
    [
        ("the key is good", True, "the key is good", ""),
        (ProviderBusy("slow down", retry_at=1.0), True, "is busy: slow down", ""),
        (ProviderRefused("no credit", failure="account"), False, "no credit", "the key in A_KEY"),
        (ProviderRefused("no such path"), False, "no such path", "base_url is right"),
        (ProviderBroke("a page of html"), False, "a page of html", "base_url is right"),
        (ProviderSilent("cut off"), False, "cut off", "look at the network"),
        (NotSent("no such host"), False, "no such host", "look at the network"),
        (None, False, "no answer within 0.2 s", "look at the network"),
        (ZeroDivisionError("oops"), False, "a bug in batchmill or in the provider", "report it"),
        (ProviderRefused(f"{KEY} is wrong", failure="account"), False, "… is wrong", "A_KEY"),
    ],
)
async def test_each_answer_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: object,
    ok: bool,
    words: str,
    todo: str,
) -> None:
    [found] = await heard(monkeypatch, tmp_path, answer)
    assert found.ok is ok
    assert words in found.words
    assert todo in found.todo
    assert bool(found.todo) is not ok
    assert KEY not in found.words


async def test_nobody_keeps_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # given four that never answer, and one that does
    began = SystemClock().awake()
    found = await heard(monkeypatch, tmp_path, None, None, "here", None, None)
    # then together they take no longer than one
    assert [one.ok for one in found] == [False, False, True, False, False]
    assert SystemClock().awake() - began < 4 * 0.2
