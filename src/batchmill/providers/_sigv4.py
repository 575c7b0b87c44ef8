"""AWS: credentials wherever botocore finds them, and requests signed by its signer (SigV4)."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.errors import InvalidSetting, MissingExtra, NotSent, ProviderRefused
from batchmill.ports import Answer, Clock, Download, Http, Upload
from batchmill.wire.bedrock_failures import bare

#: How long the storage may use temporary credentials before it asks for them again. botocore
#: renews them at the latest ten minutes before they end.
KEPT_S: Final = 300.0
#: What the signature covers; whatever else is sent may be changed by a proxy on its way.
_SIGNED: Final = ("content-type",)
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
#: Sources of credentials that ask a server or start a program.
_NOT_TRIED: Final = ("iam-role", "container-role", "custom-process")

HOW_TO: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or profile"

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Aws:
    """Who we are at AWS, in one region."""

    def __init__(
        self,
        clock: Clock,
        *,
        name: str,
        profile: str | None,
        region: str | None,
        bearer: str | None = None,
    ) -> None:
        """
        Raise `MissingExtra`, or `InvalidSetting` where the profile or the region is unknown.

        *bearer* is an API key of Bedrock's own, taken in place of a signature (botocore 1.44.5
        lists `httpBearerAuth` beside SigV4 for both planes); the storage does not know it.
        """
        self._clock = clock
        self._bearer = (bearer or "").strip()
        self._name = name
        self._session = _session(profile, name)
        self.region = region or region_of(self._session)
        if not self.region:
            raise InvalidSetting(
                f"provider {name} needs a region: set region under [providers.{name}], or "
                f"AWS_REGION in the environment."
            )
        self._found: Any = None

    async def credentials(self) -> Any:
        """
        Return credentials that are good now, as botocore freezes them.

        Raises `ProviderRefused` with `account` where there are none, or none any more; `NotSent`
        where they could not be asked for.
        """
        found = self._found
        renews = getattr(found, "refresh_needed", None)
        if found is not None and (renews is None or not renews()):
            return found.get_frozen_credentials()
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from botocore.exceptions import ConnectionError as NoConnectionError

        try:
            if self._found is None:
                self._found = self._session.get_credentials()
            frozen = self._found and self._found.get_frozen_credentials()
        except (HTTPClientError, NoConnectionError) as error:
            raise NotSent(f"{self._name}: credentials cannot be asked for: {error}") from error
        except (BotoCoreError, ClientError) as error:
            raise ProviderRefused(f"{self._name}: {error}", failure=Failure.ACCOUNT) from error
        if frozen is None:
            raise ProviderRefused(
                f"{self._name}: no AWS credentials found ({HOW_TO})", failure=Failure.ACCOUNT
            )
        return frozen

    async def for_storage(self) -> dict[str, object]:
        """Return the credentials in the form obstore asks for."""
        frozen = await self.credentials()
        lasting = getattr(self._found, "refresh_needed", None) is None
        until = datetime.fromtimestamp(self._clock.now() + KEPT_S, UTC)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": None if lasting else until,
        }

    async def signed(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> dict[str, str]:
        """Return the headers of a call to Bedrock, with its signature."""
        if self._bearer:
            return {**headers, "authorization": f"Bearer {self._bearer}"}
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        covered = {name: headers[name] for name in _SIGNED if name in headers}
        request = AWSRequest(method, url, headers=covered, data=body or b"")
        SigV4Auth(await self.credentials(), "bedrock", self.region).add_auth(request)
        return {**headers, **dict(request.headers.items())}


class SignedHttp:
    """
    `ports.Http` whose calls are signed, and whose errors say in their body what they are.

    AWS names an error in the header `x-amzn-ErrorType`; whoever judges a body looks for `__type`.
    """

    def __init__(self, http: Http, aws: Aws) -> None:
        self._http = http
        self._aws = aws

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Upload | None = None,
        timeout_s: float,
        idle_timeout_s: float | None = None,
        send_before: float | None = None,
    ) -> Answer:
        assert not isinstance(body, Upload), "what is signed is known as a whole"
        answer = await self._http.request(
            method,
            url,
            headers=await self._aws.signed(method, url, headers, body),
            body=body,
            timeout_s=timeout_s,
            idle_timeout_s=idle_timeout_s,
            send_before=send_before,
        )
        kind = answer.headers.get("x-amzn-errortype")
        if answer.status < 400 or kind is None:
            return answer
        return Answer(answer.status, answer.headers, _typed(answer.body, bare(kind)))

    def download(
        self, method: str, url: str, *, headers: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[Download]:
        return self._download(method, url, headers, idle_timeout_s)

    @asynccontextmanager
    async def _download(
        self, method: str, url: str, headers: Mapping[str, str], idle_timeout_s: float
    ) -> AsyncIterator[Download]:
        signed = await self._aws.signed(method, url, headers, None)
        async with self._http.download(
            method, url, headers=signed, idle_timeout_s=idle_timeout_s
        ) as found:
            yield found


def _typed(body: bytes, kind: str) -> bytes:
    try:
        return _encode({"__type": kind, **_fields(body)})
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _encode({"__type": kind, "message": body.decode(errors="replace")})


def lacking(
    profile: str | None, region: str | None, name: str = "", *, signs: bool = True
) -> list[str]:
    """
    Return what is missing on this machine, in words. Asks no server, so it may miss a thing.

    Where nothing is signed (*signs*), a region is enough.
    """
    if find_spec("botocore") is None:
        return ["the package botocore (pip install 'batchmill[bedrock]')"]
    try:
        session = _session(profile, name)
    except InvalidSetting as error:
        return [str(error)]
    missing: list[str] = []
    if not (region or region_of(session)):
        missing.append("region (or AWS_REGION)")
    if signs and not _has_credentials(session):
        missing.append(f"AWS credentials ({HOW_TO})")
    return missing


def region_of(session: Any) -> str:
    """Return the region of the environment, else of the profile; empty where neither has one."""
    named = next((found for name in _REGIONS if (found := os.environ.get(name))), None)
    return named or session.get_config_variable("region") or ""


def _session(profile: str | None, name: str) -> Any:
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError as error:
        raise MissingExtra(
            f"provider {name} needs the package botocore: pip install 'batchmill[bedrock]'."
        ) from error
    session = Session(profile=profile)
    try:
        session.get_scoped_config()
    except BotoCoreError as error:
        raise InvalidSetting(f"[providers.{name}] profile = {profile!r}: {error}.") from error
    return session


def _has_credentials(session: Any) -> bool:
    from botocore.exceptions import BotoCoreError

    if os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or os.environ.get(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI"
    ):
        return True
    if "credential_process" in session.get_scoped_config():
        return True  # a program of the person's, that is not started merely to look
    chain = session.get_component("credential_provider")
    for source in chain.providers:
        if source.METHOD in _NOT_TRIED:
            continue
        try:
            if source.load() is not None:
                return True
        except BotoCoreError:
            return True  # there are some; what is wrong with them is told when they are used
    return _is_ec2()


def _is_ec2(vendor: Path = Path("/sys/class/dmi/id/board_vendor")) -> bool:
    """Say whether this is a machine of EC2, where a role may be attached to it."""
    try:
        return vendor.read_text().strip() == "Amazon EC2"
    except OSError:
        return False
