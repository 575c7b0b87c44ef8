"""Who we are at Google: tokens of service accounts, of logins, of machines; what is said of bad ones."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.vertex import FakeVertex
from tests.providers.google_family import answers, offer
from tests.providers.openai_family import Desk, desk

from batchmill.core.failure import Failure
from batchmill.errors import InvalidSetting, MissingKey, ProviderRefused
from batchmill.providers import Knobs, _vertex_setup


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


async def test_on_a_machine_of_googles_the_machine_itself_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake, key=None, credentials="metadata") as at:
        monkeypatch.setenv("GCE_METADATA_HOST", fake.host.removeprefix("http://"))
        assert [r.answer for r in await answers(at, "one")] == ["one"]

    assert fake.granted == [{"metadata-flavor": "Google"}]


def test_what_is_missing_is_said_without_asking_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))

    bare = _vertex_setup.ready(Knobs(base_url=""))
    machine = _vertex_setup.ready(
        Knobs(base_url="", options={"credentials": "metadata", "bucket": "bq://p.d"})
    )

    assert bare == "set GOOGLE_APPLICATION_CREDENTIALS, bucket (for batches)"
    assert machine is None
