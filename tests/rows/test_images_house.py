"""From the front doors: flags and settings reach the links of a table."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.rows.strangers import Stranger, stranger

from batchmill.cli import batchmill
from batchmill.settings import load
from batchmill.wiring import SystemClock, web_for

SIM = "[providers.sim]\nturnaround_s = 0.05\npoll_s = 0.05\nfind_after_s = 0\n"


@pytest.fixture
def server() -> Iterator[Stranger]:
    with stranger() as found:
        yield found


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMILL_HOME", str(tmp_path / "home"))


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 300)).save(out, "JPEG")
    return out.getvalue()


def said(*command: str) -> tuple[int, str]:
    told = CliRunner().invoke(batchmill, command, catch_exceptions=True)
    return told.exit_code, told.output + (str(told.exception) if told.exception else "")


ASKED = ("--model", "sim/echo", "--prompt", "What is it?", "--image", "i")


def test_a_private_link_is_fetched_only_if_the_settings_say_so(server: Stranger) -> None:
    # given: a link that must be fetched, to a server of this machine
    link = server.shows("/i", picture(), "image/jpeg")
    Path("t.csv").write_text(f"i\n{link}\n")
    Path("batchmill.toml").write_text(SIM)

    # when / then: nobody goes there by mistake
    _, words = said("quote", "t.csv", *ASKED, "--image-max-side", "64", "--json")
    assert "allow_private_links = true" in words
    assert server.heard == []

    # when / then: it is meant
    Path("batchmill.toml").write_text("allow_private_links = true\n" + SIM)
    status, words = said("quote", "t.csv", *ASKED, "--image-max-side", "64", "--json")
    assert status == 0, words
    assert json.loads(words)["size_bytes"] < len(base64.b64encode(picture()))
    assert server.heard == ["GET /i"]


def test_a_link_that_the_vendor_follows_is_not_fetched_here(server: Stranger) -> None:
    Path("t.csv").write_text(f"i\n{server.shows('/i', picture())}\n")
    Path("batchmill.toml").write_text(SIM)

    status, words = said("quote", "t.csv", *ASKED, "--json")

    assert status == 0, words
    assert server.heard == []


def test_the_setting_is_off_where_nobody_says_anything(server: Stranger) -> None:
    web = web_for(load({}), SystemClock())()

    with web.fetching() as fetch, pytest.raises(Exception, match="private or local"):
        fetch(server.shows("/i", picture()))
