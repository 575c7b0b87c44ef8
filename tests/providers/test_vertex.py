"""What is particular to Vertex: a bucket on both sides, lines without a name, tokens that expire."""

import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.vertex import FakeVertex
from tests.providers.google_family import answers, offer
from tests.providers.openai_family import SHARD, Desk, desk

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import (
    InvalidSetting,
    MissingKey,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
    UserError,
)

House = tuple[Desk, FakeVertex]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.unknown == []


@pytest.fixture
def login(tmp_path: Path) -> Callable[..., str]:
    """Write a file of credentials and return its path."""

    def write(**more: Any) -> str:
        path = tmp_path / "credentials.json"
        path.write_text(json.dumps(more))
        return str(path)

    return write


def service_account(fake: FakeVertex) -> dict[str, Any]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "proj",
        "private_key_id": "k1",
        "private_key": pem.decode(),
        "client_email": "me@proj.iam.gserviceaccount.com",
        "token_uri": f"{fake.host}/token",
        "_public": key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }


def auth_of(at: Desk) -> Any:
    provider: Any = at.provider
    return provider._place.auth if hasattr(provider, "_place") else provider._endpoint._auth


async def test_a_shard_is_one_object_and_one_job_of_its_name(house: House) -> None:
    at, fake = house

    ready = await at.prepared(offer(at, "one", "zwei", "🦊"))
    [(key, data)] = fake.files.items()
    found = await answers(at, "one", "zwei", "🦊")

    assert [r.answer for r in found] == ["one", "zwei", "🦊"]
    assert ready.ref == f"gs://my-bucket/{key}"
    assert key == f"some/where/{SHARD}-token1/input.jsonl"
    label = {"labels": {"batchmill": f"{SHARD}-0"}}
    assert json.loads(data.splitlines()[0]) == {"request": fake.body("one") | label}
    [sold] = fake.sold
    assert sold.mark == SHARD
    assert sold.facts["job"]["model"] == "publishers/google/models/gemini-2.5-flash"


async def test_where_no_label_comes_back_a_row_is_known_by_what_it_asked(house: House) -> None:
    at, fake = house
    fake.labels_echoed = False
    fake.weather.foreign = 1

    bought = await at.ended(offer(at, "one", "same", "fail server", "same"))
    found = [r async for chunk in at.provider.results(bought) for r in chunk]

    rows = {r.custom_id.removeprefix(f"{SHARD}-"): r for r in found}
    assert (rows["0"].answer, rows["1"].answer, rows["3"].answer) == ("one", "same", "same")
    assert rows["2"].failure is Failure.SERVER
    assert len(found) == 5
    assert rows.keys() - {"0", "1", "2", "3"} != set()  # not ours, and under no name of ours


async def test_rows_that_failed_are_told_in_their_words(house: House) -> None:
    at, _ = house

    failed = await answers(at, "fail rate_limited", "fail invalid_media", "fail refused", "ok")

    assert [r.failure for r in failed] == [
        Failure.RATE_LIMITED,
        Failure.INVALID_MEDIA,
        Failure.REFUSED,
        None,
    ]
    assert failed[1].detail == "400 INVALID_ARGUMENT: Unable to process input image. Please retry."


@pytest.mark.parametrize(
    ("ending", "outcome"), [("expired", Outcome.EXPIRED), ("cancelled", Outcome.CANCELED)]
)
async def test_every_ending_keeps_what_was_run(house: House, ending: str, outcome: Outcome) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.run = ending, 0.5

    found = await answers(at, "one", "two", "three", "four")

    assert sorted(r.outcome for r in found) == sorted([outcome, outcome, "succeeded", "succeeded"])


async def test_a_job_whose_time_was_up_has_expired_though_it_is_called_cancelled(
    house: House,
) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.run = "cancelled", 0.0
    bought = await at.bought(offer(at, "one"))
    fake.sold[0].facts["says"] = {
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-02T00:00:00Z",
    }
    while not (await at.provider.check(bought)).ended:
        pass

    [row] = (await at.results(bought)).values()

    assert row.failure is Failure.EXPIRED


@pytest.mark.parametrize(
    ("refusal", "failure"),
    [
        ("rate_limited", Failure.QUOTA),  # python-aiplatform#4485: a 429 fails the whole job
        ("account", Failure.ACCOUNT),
        ("", Failure.SERVER),
        ("Failed to import data.", Failure.NOT_RUN),
    ],
)
async def test_a_job_that_failed_as_a_whole_says_why(
    house: House, refusal: str, failure: Failure
) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.refusal = "failed", refusal

    assert [r.failure for r in await answers(at, "one", "two")] == [failure] * 2


async def test_a_lost_answer_is_looked_up_by_name(house: House) -> None:
    at, fake = house
    fake.stranger(1)
    fake.weather.lost["create"] = 1
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderSilent):
        await at.provider.submit(ready)

    assert await at.provider.find(ready) == Accepted(fake.ours[0].id)
    other = dataclasses.replace(ready, strangers=(fake.ours[0].id,))
    assert await at.provider.find(other) == NotThere()
    assert await at.provider.find(offer(at, "one", shard_id="batch_x-0002")) == NotThere()


async def test_an_input_that_is_gone_and_a_wrong_model_are_told_apart(house: House) -> None:
    at, fake = house
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderRefused, match="was not found or your project") as refused:
        await at.provider.submit(dataclasses.replace(ready, model="gpt-4"))
    fake.files.clear()
    with pytest.raises(ProviderGone):
        await at.provider.submit(ready)

    assert refused.value.failure == Failure.ACCOUNT
    assert fake.sold == []


async def test_states_nobody_knows_are_shown_and_waited_for(house: House) -> None:
    at, fake = house
    fake.weather.polls = 9
    bought = await at.bought(offer(at, "one"))

    fake.stated = "JOB_STATE_PAUSED"
    paused = await at.provider.check(bought)
    fake.stated = "JOB_STATE_PARTIALLY_SUCCEEDED"

    assert not paused.ended
    assert paused.progress.note == "vertex says: JOB_STATE_PAUSED"
    assert (await at.provider.check(bought)).ended


async def test_a_torn_object_is_never_half_used(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, *("word " * 50 for _ in range(50))))
    fake.weather.torn = 1

    try:
        found = await at.results(bought)
    except ProviderSilent:
        found = await at.results(bought)

    assert len(found) == 50


async def test_results_that_are_not_there_yet_are_waited_for_and_then_gone(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, "one"))
    await at.results(bought)
    fake.written.clear()

    with pytest.raises(ProviderBusy):
        await at.results(bought)
    fake.sold[0].facts["says"] = {"endTime": "2026-01-02T00:00:00Z"}
    with pytest.raises(ProviderGone):
        await at.results(bought)


async def test_afterwards_the_folder_is_empty_and_nothing_else_was_touched(house: House) -> None:
    at, fake = house
    fake.files["some/where/theirs.jsonl"] = b"{}"
    other = await at.prepared(offer(at, "two", shard_id="batch_x-00011"))
    bought = await at.ended(offer(at, "one"))
    await at.results(bought)

    for _ in range(2):
        await at.provider.tidy(bought)
    await at.provider.tidy(
        dataclasses.replace(bought, ref="gs://my-bucket/some/where/theirs.jsonl")
    )

    assert set(fake.files) == {"some/where/theirs.jsonl", (other.ref or "")[15:]}
    assert fake.written == {}


async def test_a_cancel_may_come_twice_and_too_late(house: House) -> None:
    at, fake = house
    bought = await at.bought(offer(at, "one"))

    await at.provider.cancel(bought)
    await at.provider.cancel(bought)
    while not (await at.provider.check(bought)).ended:
        pass
    await at.provider.cancel(bought)

    assert fake.sold[0].cancelled


# -- who we are ---------------------------------------------------------------------------------------


async def test_a_service_account_signs_for_a_token_that_serves_every_call(
    tmp_path: Path, login: Callable[..., str]
) -> None:
    from google.auth import jwt

    fake = FakeVertex()
    await fake.up()
    account = service_account(fake)
    public = account.pop("_public")
    await fake.down()
    fake.tokens.clear()
    async with desk("vertex", tmp_path, fake=fake, key=None, credentials=login(**account)) as at:
        account["token_uri"] = f"{fake.host}/token"
        auth_of(at)._info.update(account)
        assert [r.answer for r in await answers(at, "one")] == ["one"]

    [shown] = fake.granted  # one token for all of it, the bucket included
    claims = jwt.decode(shown["assertion"], certs=public, audience=account["token_uri"])
    assert claims["iss"] == account["client_email"]
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600
    assert abs(claims["iat"] - time.time()) < 60


async def test_a_login_is_renewed_and_a_new_token_is_fetched_before_the_old_one_dies(
    tmp_path: Path, login: Callable[..., str]
) -> None:
    fake = FakeVertex()
    person = {"client_id": "c", "client_secret": "s", "refresh_token": "r"}
    path = login(type="authorized_user", **person)
    async with desk("vertex", tmp_path, fake=fake, key=None, credentials=path) as at:
        auth = auth_of(at)
        auth._info["token_uri"] = f"{fake.host}/token"
        await at.provider.probe()
        await at.provider.probe()
        auth._until = at.clock.now() + 59.0
        await at.provider.probe()

    assert fake.granted == [{"grant_type": "refresh_token", **person}] * 2


@pytest.mark.parametrize("lane", ["batch", "live"])
async def test_a_token_that_is_refused_holds_the_batch_in_the_vendors_words(
    tmp_path: Path, login: Callable[..., str], lane: str
) -> None:
    fake = FakeVertex()
    fake.grants = lambda _: None
    path = login(type="authorized_user", refresh_token="r-secret")
    async with desk("vertex", tmp_path, fake=fake, lane=lane, key=None, credentials=path) as at:
        auth = auth_of(at)
        auth._info["token_uri"] = f"{fake.host}/token"
        with pytest.raises(ProviderRefused, match=r"Invalid JWT Signature\.") as refused:
            await at.provider.probe()
        rows = await answers(at, "one", url=":generateContent") if lane == "live" else []

    assert refused.value.failure == Failure.ACCOUNT
    assert "r-secret" not in str(refused.value)
    assert [r.failure for r in rows] == [Failure.ACCOUNT] * len(rows)


async def test_a_wrong_token_is_said_of_the_account(tmp_path: Path) -> None:
    async with desk("vertex", tmp_path, fake=FakeVertex(), key="ya29.wrong") as at:
        with pytest.raises(ProviderRefused, match="invalid authentication") as refused:
            await at.provider.probe()
        with pytest.raises(ProviderRefused) as of_bucket:
            await at.provider.prepare(offer(at, "one"))

    assert refused.value.failure == of_bucket.value.failure == Failure.ACCOUNT
    assert "ya29.wrong" not in f"{refused.value}{of_bucket.value}"


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": ""},
        {"bucket": "bq://project"},
        {"bucket": "/tmp/here"},
        {"location": "../x"},
        {"project": ""},
        {"api_version": "one"},
        {"speed": 9},
        {"key": None, "credentials": "/nowhere.json"},
    ],
)
async def test_odd_settings_are_told(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises((InvalidSetting, UserError)):
        async with desk("vertex", tmp_path, fake=FakeVertex(), **options):
            pass


async def test_without_credentials_the_ways_to_have_some_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: Callable[..., str]
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(MissingKey, match="GOOGLE_APPLICATION_CREDENTIALS"):
        async with desk("vertex", tmp_path, fake=FakeVertex(), key=None):
            pass
    with pytest.raises(InvalidSetting, match="external_account"):
        async with desk(
            "vertex",
            tmp_path,
            fake=FakeVertex(),
            key=None,
            credentials=login(type="external_account"),
        ):
            pass


async def test_the_live_lane_answers_row_by_row(tmp_path: Path) -> None:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake, lane="live") as at:
        found = await answers(at, "one", "fail refused", url=":generateContent")
        said = await at.provider.probe()

    assert [r.answer for r in found] == ["one", "fail refused"]
    assert found[1].failure is Failure.REFUSED
    assert said == "answers, and the credentials are good"
    place = "/v1/projects/proj/locations/us-central1/publishers/google/models"
    assert f"POST {place}/gemini-2.5-flash:generateContent" in fake.asked
