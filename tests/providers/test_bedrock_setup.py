"""Bedrock's live lane, credentials of every kind, and what a person has to set."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import _aws
from tests.providers.bedrock_house import open_house

from batchmill import providers
from batchmill.core.failure import Failure
from batchmill.errors import InvalidSetting, MissingExtra, NotSent, ProviderRefused
from batchmill.providers import Knobs, _sigv4
from batchmill.providers._bedrock_setup import control_url, storage

ROLE = "arn:aws:iam::123456789012:role/batches"
WHOLE = {"bucket": "s3://bucket/p", "role_arn": ROLE, "region": "us-east-1"}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nobody has set anything up for AWS; returns its folder."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "DEFAULT_REGION", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def lacking(**options: Any) -> str:
    return providers.spec("bedrock").ready(Knobs(base_url="", options=options)) or ""


# -- live ------------------------------------------------------------------------------------------


async def test_live_claude_is_asked_natively_and_others_through_converse(tmp_path: Path) -> None:
    for converse, operation in ((False, "invoke"), (True, "converse")):
        async with open_house(tmp_path / operation, converse=converse, lane="live") as house:
            answers = await house.answers("one", "fail truncated", "fail refused")

            assert [(a.answer, a.failure) for a in answers] == [
                ("one", None),
                ("fail truncated", Failure.TRUNCATED),
                ("fail refused", Failure.REFUSED),
            ]
            assert all(a.model for a in answers)
            model = house.fake.model.replace(":", "%3A")
            assert f"POST /model/{model}/{operation}" in house.fake.asked
            assert house.fake.complaints == []


@pytest.mark.parametrize("failure", ["too_long", "invalid_media", "invalid_request", "server"])
async def test_a_live_row_fails_in_the_vendors_words(tmp_path: Path, failure: str) -> None:
    async with open_house(tmp_path, lane="live") as house:
        [answer] = await house.answers(f"fail {failure}")

    assert answer.failure == failure
    assert "Exception" in answer.detail


async def test_the_live_lane_needs_neither_a_bucket_nor_a_role(tmp_path: Path) -> None:
    async with open_house(tmp_path, lane="live", bucket=None, role_arn=None) as house:
        [answer] = await house.answers("one")

        assert answer.answer == "one"
        assert "good" in await house.at.provider.probe()


# -- credentials -----------------------------------------------------------------------------------


async def test_a_wrong_secret_is_the_accounts_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path) as house:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        offer = await house.at.prepared(house.offer())

        for call in (house.at.provider.submit(offer), house.at.provider.probe()):
            with pytest.raises(ProviderRefused, match="InvalidSignatureException") as refusal:
                await call
            assert refusal.value.failure == Failure.ACCOUNT
            assert "wrong" not in str(refusal.value)
        assert house.fake.sold == []


async def test_a_wrong_key_does_not_get_into_the_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path) as house:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY")

        with pytest.raises(ProviderRefused, match="InvalidAccessKeyId") as refusal:
            await house.at.provider.prepare(house.offer())

        assert refusal.value.failure == Failure.ACCOUNT


async def test_no_credentials_at_all_are_named_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path) as house:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        for call in (house.at.provider.prepare(house.offer()), house.at.provider.probe()):
            with pytest.raises(ProviderRefused, match="set AWS_ACCESS_KEY_ID") as refusal:
                await call
            assert refusal.value.failure == Failure.ACCOUNT


async def test_no_credentials_stop_a_live_run_and_are_no_rows_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path, lane="live") as house:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        answers = await house.answers("one", "two")

    assert {a.failure for a in answers} == {Failure.ACCOUNT}
    assert "set AWS_ACCESS_KEY_ID" in answers[0].detail


async def test_an_api_key_of_bedrocks_own_does_in_place_of_a_signature(tmp_path: Path) -> None:
    async with open_house(tmp_path, key=_aws.BEARER) as house:
        assert [a.answer for a in await house.answers("one")] == ["one"]
    async with open_house(tmp_path, key="wrong") as house:
        with pytest.raises(ProviderRefused, match="API Key") as refusal:
            await house.at.provider.probe()
        assert refusal.value.failure == Failure.ACCOUNT


async def test_credentials_of_a_profile_are_found(bare: Path) -> None:
    (bare / "config").write_text("[profile work]\nregion = us-east-1\n")
    (bare / "credentials").write_text(
        f"[work]\naws_access_key_id = {_aws.KEY_ID}\naws_secret_access_key = {_aws.SECRET}\n"
    )
    assert lacking(bucket="s3://b/p", role_arn=ROLE, profile="work") == ""

    clock = type("Clock", (), {"now": lambda _: 0.0})()
    found = _sigv4.Aws(clock, name="bedrock", profile="work", region=None)

    assert found.region == "us-east-1"
    assert (await found.credentials()).access_key == _aws.KEY_ID
    assert (await found.for_storage())["expires_at"] is None


async def test_credentials_that_end_are_asked_for_again(bare: Path) -> None:
    clock = type("Clock", (), {"now": lambda _: 1000.0})()
    found = _sigv4.Aws(clock, name="bedrock", profile=None, region="us-east-1")

    class Ending:
        asked = 0

        def refresh_needed(self) -> bool:
            return self.asked % 2 == 0

        def get_frozen_credentials(self) -> Any:
            self.asked += 1
            facts = {"access_key": "a", "secret_key": "b", "token": "t"}
            return type("Frozen", (), facts)

    found._found = Ending()

    given = await found.for_storage()

    assert given["token"] == "t"
    assert given["expires_at"].timestamp() == 1300.0  # pyright: ignore[reportAttributeAccessIssue]
    headers = await found.signed("GET", "https://x.example/", {}, None)
    assert headers["X-Amz-Security-Token"] == "t"


async def test_a_token_service_that_cannot_be_reached_is_not_the_accounts_fault(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import EndpointConnectionError

    clock = type("Clock", (), {"now": lambda _: 0.0})()
    found = _sigv4.Aws(clock, name="bedrock", profile=None, region="us-east-1")

    def unreachable() -> None:
        raise EndpointConnectionError(endpoint_url="https://sts.example")

    monkeypatch.setattr(found._session, "get_credentials", unreachable)

    with pytest.raises(NotSent, match=r"sts\.example"):
        await found.credentials()


def test_a_key_of_bedrocks_own_is_all_that_the_live_lane_needs_but_for_the_region(
    bare: Path,
) -> None:
    def missing(lane: str, key: str | None, **options: Any) -> str:
        knobs = Knobs(base_url="", key=key, lane=lane, options=options)
        return providers.spec("bedrock").ready(knobs) or ""

    assert missing("live", _aws.BEARER, region="us-east-1") == ""
    assert missing("live", _aws.BEARER) == "set region (or AWS_REGION)"
    assert "AWS credentials" in missing("live", None, region="us-east-1")
    assert "AWS credentials" in missing("batch", _aws.BEARER, **WHOLE)


# -- settings --------------------------------------------------------------------------------------


def test_what_is_missing_is_said_in_one_line(bare: Path) -> None:
    assert lacking() == (
        "set bucket, role_arn, region (or AWS_REGION), AWS credentials "
        "(set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or profile)"
    )
    assert "profile" in lacking(**WHOLE, profile="nobodys")


def test_nothing_is_missing_where_all_is_set(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")

    assert lacking(**WHOLE) == ""


def test_half_a_pair_of_keys_is_found_out_when_it_is_used(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")

    assert lacking(**WHOLE) == ""


def test_a_program_that_tells_credentials_is_not_started_to_look(bare: Path) -> None:
    (bare / "config").write_text("[default]\ncredential_process = /bin/false\n")

    assert lacking(**WHOLE) == ""


def test_a_container_with_a_role_has_credentials(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")

    assert lacking(**WHOLE) == ""


@pytest.mark.parametrize("vendor", ["Amazon EC2\n", "Somebody\n", None])
def test_a_machine_of_ec2_may_have_a_role(tmp_path: Path, vendor: str | None) -> None:
    board = tmp_path / "board_vendor"
    if vendor is not None:
        board.write_text(vendor)

    assert _sigv4._is_ec2(board) == (vendor == "Amazon EC2\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bucket": None}, "needs bucket for its batch lane"),
        ({"bucket": None, "role_arn": None}, "needs bucket and role_arn"),
        ({"bucket": "gs://b/p"}, "expected s3://bucket/prefix"),
        ({"bucket": "s3://b/a prefix"}, "expected s3://bucket/prefix"),
        ({"role_arn": "batches"}, "expected arn:aws:iam"),
        ({"timeout_hours": 12}, "from 24 to 168"),
        ({"timeout_hours": "24"}, "from 24 to 168"),
        ({"requests_min": 0}, "from 1 to"),
        ({"region": 7}, "expected a text"),
        ({"profile": "nobodys"}, "nobodys"),
        ({"bukket": "s3://b"}, "Did you mean bucket"),
    ],
)
async def test_a_wrong_setting_is_named(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidSetting, match=words):
        async with open_house(tmp_path, **options):
            pass


async def test_a_region_is_needed(tmp_path: Path, bare: Path) -> None:
    with pytest.raises(InvalidSetting, match="needs a region"):
        async with open_house(tmp_path, region=None):
            pass


def test_the_region_says_where_the_planes_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    settings: Any = type("Settings", (), {"s3_endpoint": None})()

    assert control_url(Knobs(base_url=""), "eu-west-1") == "https://bedrock.eu-west-1.amazonaws.com"
    assert control_url(Knobs(base_url="http://x"), "eu-west-1") == "http://x"
    assert storage(settings, "eu-west-1") == {
        "region": "eu-west-1",
        "endpoint": "http://127.0.0.1:9000",
    }


def test_without_botocore_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "botocore.session", None)
    clock = type("Clock", (), {"now": lambda _: 0.0})()

    with pytest.raises(MissingExtra, match=r"batchmill\[bedrock\]"):
        _sigv4.Aws(clock, name="bedrock", profile=None, region="us-east-1")


def test_an_error_says_in_its_body_what_it_is() -> None:
    assert json.loads(_sigv4._typed(b'{"message":"no"}', "A")) == {"__type": "A", "message": "no"}
    assert json.loads(_sigv4._typed(b"<html>", "A")) == {"__type": "A", "message": "<html>"}
    assert json.loads(_sigv4._typed(b'{"__type":"B"}', "A")) == {"__type": "B"}


async def test_a_path_before_the_planes_is_kept(tmp_path: Path) -> None:
    async with open_house(tmp_path, runtime_url="http://127.0.0.1:1/aws/", lane="live") as house:
        endpoint: Any = house.at.provider._endpoint  # pyright: ignore[reportAttributeAccessIssue]
        assert endpoint._base_url == "http://127.0.0.1:1/aws"
