"""`providers` says who can be asked, on what terms, and what each still needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from batchmill import providers
from batchmill.cli.providers import _table
from batchmill.cli.words import windows as shown_windows

from .conftest import Command


def test_those_that_can_be_used_come_first(here: Path, call: Command) -> None:
    told = call("providers")
    assert told.status == 0
    names = [line.split()[0] for line in told.out.splitlines() if line[:1].isalpha()]
    usable, others = names[1:].index("sim"), names[1:].index("live")
    assert usable < others
    assert "✓ no key needed" in told.out
    assert "· set base_url" in told.out


@pytest.mark.parametrize("broken", ["", '[providers.mine]\nkind = "nobody"\n'])
def test_the_table_fits_a_hundred_columns(here: Path, call: Command, broken: str) -> None:
    (here / "batchmill.toml").write_text(broken)
    lines = call("providers").out.splitlines()
    assert max(map(len, lines)) <= 100
    for head in ("PROVIDER", "LANES", "WINDOW", "ROWS", "SIZE", "SAVES", "FOUND BY"):
        assert head in lines[0]


def test_every_provider_says_how_a_lost_submission_is_found_again(
    here: Path, call: Command
) -> None:
    for one in call("providers", "--json").json:
        assert one["found_by"], one["provider"]


def test_a_key_is_found_or_its_variable_named_and_never_shown(
    here: Path, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = replace(providers.spec("sim"), key_variable="SIM_API_KEY", free=False)
    real = providers.spec
    monkeypatch.setattr(providers, "spec", lambda name: locked if name == "sim" else real(name))
    assert "· set SIM_API_KEY" in call("providers").out
    monkeypatch.setenv("SIM_API_KEY", "sk-secret")
    for args in (("providers",), ("providers", "--json"), ("providers", "sim")):
        told = call(*args)
        assert "sk-secret" not in told.out + told.err
    assert "✓ SIM_API_KEY: key found" in call("providers").out
    assert "found (SIM_API_KEY)" in call("providers", "sim").out


def test_data_have_everything(here: Path, call: Command) -> None:
    data = {one["provider"]: one for one in call("providers", "--json").json}
    sim = data["sim"]
    assert sim["ready"] is True
    assert sim["lanes"] == ["batch", "live"]
    assert "echo" in sim["models"]
    for known in ("requests_max", "bytes_max", "windows", "discount", "found_by", "live", "free"):
        assert known in sim
    assert data["live"]["missing"].startswith("set base_url")


def test_everything_about_one_provider(here: Path, call: Command) -> None:
    told = call("providers", "sim")
    assert told.status == 0
    for words in ("Simulated provider", "can be used", "batch, live", "50,000 rows", "free"):
        assert words in told.out
    assert call("providers", "sim", "--json").json["provider"] == "sim"


def test_a_wrong_name_gets_the_nearest(here: Path, call: Command) -> None:
    told = call("providers", "sin")
    assert told.status == 2
    assert "sim" in told.err


def test_a_package_that_is_missing_is_told_as_what_to_install(
    here: Path, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(
        providers.spec("sim"), ready=lambda _: "pip install 'batchmill[bedrock]' for its signatures"
    )
    real = providers.spec
    monkeypatch.setattr(providers, "spec", lambda name: bare if name == "sim" else real(name))
    assert "· pip install 'batchmill[bedrock]' for its signatures" in call("providers").out


def test_one_broken_provider_does_not_hide_the_others(here: Path, call: Command) -> None:
    (here / "batchmill.toml").write_text('[providers.mine]\nkind = "nobody"\n')
    told = call("providers")
    assert told.status == 0
    assert "sim" in told.out
    assert "nobody" in told.out
    assert call("providers", "mine").status == 2


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([], "–"),
        (["24h"], "24h"),
        (["24h", "168h"], "24h–7d"),
        (["24h", "2d", "7d"], "24h–7d"),
        (["48h"], "48h"),
        (["96h"], "4d"),
        (["90m"], "90m"),
    ],
)
def test_windows_are_said_briefly(windows: list[str], said: str) -> None:
    assert shown_windows(windows) == said


def test_a_minimum_is_part_of_the_limit() -> None:
    one = {
        "provider": "far",
        "lanes": ["batch"],
        "ready": False,
        "missing": "set this, that and a number of other things, one of them rather long to say",
        "key_found": None,
        "windows": ["24h"],
        "requests_min": 100,
        "requests_max": 50_000,
        "bytes_max": 5 << 20,
        "found_by": "its token",
        "free": False,
        "discount": "50%",
    }
    _, row, *status = _table([one])
    assert "100–50,000" in row
    assert row.endswith("50%  its token")
    assert len(status) >= 2
    assert "rather long to say" in " ".join(" ".join(status).split())
