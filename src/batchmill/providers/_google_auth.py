"""Who we are at Google: access tokens of a service account, of a login, or as given (OAuth)."""

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec

from batchmill.core.failure import Failure
from batchmill.errors import (
    InvalidSetting,
    MissingExtra,
    MissingKey,
    NotSent,
    ProviderBroke,
    ProviderSilent,
)
from batchmill.ports import Answer, Upload
from batchmill.providers import Context, Knobs
from batchmill.providers._rest import Rest, Words, text, whole
from batchmill.wire.google import status_of

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
#: A token is renewed when it has less than this to live; it would die on its way otherwise.
MARGIN_S: Final = 60.0
LIFE_S: Final = 3600.0
KINDS: Final = ("service_account", "authorized_user")
#: In place of a file: on Google's own machines, whoever the machine is.
METADATA: Final = "metadata"
METADATA_HOST: Final = "metadata.google.internal"
METADATA_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"


class GoogleAuth:
    """Access tokens, fetched when needed and kept until they are about to expire."""

    def __init__(self, context: Context) -> None:
        knobs = context.knobs
        self._name = context.name
        self._clock = context.clock
        self._given = knobs.key.strip() if knobs.key else None
        self._info = {} if self._given else read_credentials(context.name, knobs)
        self._rest = Rest(
            context.http(),
            context.clock,
            name=context.name,
            base_url="",
            headers={},
            reads=_reads,
            timeout_s=knobs.timeout_s,
            idle_timeout_s=knobs.idle_timeout_s,
        )
        self._token, self._until = "", 0.0
        self._one_at_a_time = asyncio.Lock()

    @property
    def project(self) -> str:
        """The project that the credentials belong to; empty where they do not say."""
        return text(self._info, "project_id") or text(self._info, "quota_project_id")

    async def token(self) -> str:
        """Return a token that is good for a while; raise `ProviderRefused` with `account`."""
        if self._given:
            return self._given
        async with self._one_at_a_time:
            if self._clock.now() >= self._until - MARGIN_S:
                try:
                    await self._renew()
                except ProviderSilent as silent:
                    # Whatever became of it, the call that the token is for has not left.
                    raise NotSent(f"no access token: {silent}") from silent
            return self._token

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Upload | None
    ) -> Mapping[str, str]:
        """Return the headers of a call with a token among them."""
        return {**headers, "authorization": f"Bearer {await self.token()}"}

    async def for_storage(self) -> dict[str, object]:
        """Return a token in the form that obstore asks for."""
        token = await self.token()
        # One that was given us may end at any time: obstore asks again each time.
        until = self._until - MARGIN_S if self._until else self._clock.now() + MARGIN_S
        return {"token": token, "expires_at": datetime.fromtimestamp(until, UTC)}

    async def _renew(self) -> None:
        if text(self._info, "type") == METADATA:
            host = os.environ.get("GCE_METADATA_HOST") or METADATA_HOST
            url, own = f"http://{host}{METADATA_PATH}", {"metadata-flavor": "Google"}
            return self._keep(await self._rest.call("GET", url, headers=own))
        uri = text(self._info, "token_uri") or TOKEN_URI
        if text(self._info, "type") == "service_account":
            assertion = await asyncio.to_thread(self._assertion, uri)
            grant = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": assertion,
            }
        else:
            own = ("client_id", "client_secret", "refresh_token")
            grant = {"grant_type": "refresh_token"} | {n: text(self._info, n) for n in own}
        answer = await self._rest.call(
            "POST",
            uri,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(grant).encode(),
        )
        return self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        found = self._rest.object(answer)
        token = text(found, "access_token")
        if not token:
            raise ProviderBroke(f"{self._name}: no access token came, though it was asked for")
        self._token = token
        self._until = self._clock.now() + (whole(found, "expires_in") or LIFE_S)

    def _assertion(self, audience: str) -> str:
        """Return what a service account shows to get a token (RFC 7523)."""
        try:
            from google.auth import crypt, jwt
        except ImportError as error:
            raise MissingExtra(
                f"provider {self._name}: signing in as a service account needs google-auth and "
                "cryptography: pip install 'batchmill[vertex]'."
            ) from error
        now = int(self._clock.now())
        claims = {
            "iss": text(self._info, "client_email"),
            "scope": SCOPE,
            "aud": audience,
            "iat": now,
            "exp": now + int(LIFE_S),
        }
        try:
            signer = crypt.RSASigner.from_service_account_info(self._info)
            return jwt.encode(signer, claims).decode()
        except (ValueError, KeyError) as error:
            raise InvalidSetting(
                f"provider {self._name}: the private key of its service account cannot be used "
                f"({type(error).__name__}). Download the key file again."
            ) from error


def missing(knobs: Knobs) -> bool:
    """Say whether nothing on this machine tells who we are."""
    wanted = knobs.options.get("credentials")
    return not knobs.key and wanted != METADATA and credentials_path(knobs) is None


def credentials_path(knobs: Knobs) -> Path | None:
    """Return the file of credentials: as set, as named in the environment, or of a login."""
    if named := str(knobs.options.get("credentials") or ""):
        return Path(named).expanduser()
    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return Path(named).expanduser()
    folder = os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud"
    login = Path(folder).expanduser() / "application_default_credentials.json"
    return login if login.is_file() else None


def read_credentials(name: str, knobs: Knobs) -> dict[str, object]:
    """Return what is in the file of credentials; raise a `UserError` that says what is missing."""
    if knobs.options.get("credentials") == METADATA:
        return {"type": METADATA}
    path = credentials_path(knobs)
    if path is None:
        raise MissingKey(
            f"provider {name} needs credentials: set GOOGLE_APPLICATION_CREDENTIALS to the key "
            "file of a service account, or log in: gcloud auth application-default login. On a "
            f'machine of Google\'s own, set credentials = "{METADATA}" under [providers.{name}].'
        )
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise InvalidSetting(f"{path}: cannot be read ({error.strerror}).") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path}: no file of Google credentials.") from error
    if found.get("type") not in KINDS:
        raise InvalidSetting(
            f"{path}: credentials of type {found.get('type')!r}; expected {' or '.join(KINDS)}."
        )
    return found


def _reads(status: int, body: bytes) -> Words:
    """Return what a refused token means: whatever is no outage concerns the account."""
    try:
        found = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = {}
    said = text(found, "error_description") or text(found, "error")
    words = f"{status}: {said}" if said else status_of(status, body).words
    ours = 400 <= status < 500 and status not in (408, 429)
    return Words(Failure.ACCOUNT if ours else Failure.SERVER, f"no access token: {words}")
