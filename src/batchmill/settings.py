"""Every knob: name, default, unit, one sentence. `docs/settings.md` is generated from this file."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batchmill.core.failure import POLICIES, Failure, Patience
from batchmill.errors import InvalidSetting

FILE = "batchmill.toml"
PREFIX = "BATCHMILL_"
#: What an error repeats of a value.
SHOWN_MAX = 60


class _Knobs(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _again(failure: Failure) -> Any:
    limit = POLICIES[failure].again_max
    words = "without limit" if limit is None else f"{limit} by default"
    return Field(default=limit, ge=0, description=f"further offers of `{failure}` rows; {words}")


class RetrySettings(_Knobs):
    """`[retry]`: how long and how often failed rows are offered again."""

    wait_s: Annotated[
        float,
        Field(
            ge=0, description="first wait of retried rows, held shards and busy providers, seconds"
        ),
    ] = 30.0
    expired: int | None = _again(Failure.EXPIRED)
    rate_limited: int | None = _again(Failure.RATE_LIMITED)
    quota: int | None = _again(Failure.QUOTA)
    server: int | None = _again(Failure.SERVER)
    missing: int | None = _again(Failure.MISSING)
    refused: int | None = _again(Failure.REFUSED)
    invalid_media: int | None = _again(Failure.INVALID_MEDIA)
    truncated: int | None = _again(Failure.TRUNCATED)
    schema_misfit: int | None = Field(
        default=POLICIES[Failure.SCHEMA].again_max,
        ge=0,
        alias="schema",
        description="further offers of `schema` rows; 2 by default",
    )
    too_long: int | None = _again(Failure.TOO_LONG)
    invalid_request: int | None = _again(Failure.INVALID_REQUEST)

    def patience(self) -> Patience:
        """Return the same in the form decisions need."""
        again = {f: p.again_max for f, p in POLICIES.items()}
        for failure in POLICIES:
            field = "schema_misfit" if failure is Failure.SCHEMA else failure.value
            if field in type(self).model_fields:
                again[failure] = getattr(self, field)
        return Patience(wait_s=self.wait_s, again_max=again)


class ProviderSettings(BaseModel):
    """`[providers.NAME]`: one provider. Further keys are its own (see `docs/providers.md`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str | None = Field(default=None, description="provider this one is a further instance of")
    base_url: str | None = Field(
        default=None, description="where it is; ends in `/v1` for OpenAI and live endpoints"
    )
    key_variable: str | None = Field(
        default=None, description="environment variable that holds the key"
    )
    key: str | None = Field(
        default=None, description="the key itself; an environment variable is better"
    )
    timeout_s: float | None = Field(
        default=None, gt=0, description="a creating or control call, seconds"
    )
    idle_timeout_s: float = Field(
        default=600.0, gt=0, description="longest silence of a transfer or live answer, seconds"
    )
    poll_s: float | None = Field(
        default=None, gt=0, description="between two looks at an upstream batch"
    )
    find_after_s: float | None = Field(
        default=None, ge=0, description="wait after a lease has ended before a look-up, seconds"
    )
    requests_max: int | None = Field(default=None, gt=0, description="most rows in one shard")
    enqueued_tokens_max: int | None = Field(
        default=None,
        gt=0,
        description="prompt tokens of one model that all upstream batches may hold together",
    )
    keep_upstream: bool = Field(
        default=False, description="leave uploads and result files at the provider, once settled"
    )

    @property
    def options(self) -> dict[str, object]:
        return dict(self.model_extra or {})


class Settings(_Knobs):
    """Everything that can be set: flags over environment (`BATCHMILL_…`) over `batchmill.toml`."""

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("batchmill", appauthor=False)),
        description="folder of the database, the segments and the providers' own files",
    )
    database_url: str | None = Field(
        default=None,
        description="`sqlite:///path` or `postgresql://…`; default: `batchmill.db` in home",
    )
    blobs_url: str | None = Field(
        default=None, description="folder or `s3://bucket/prefix` of the segments; default: in home"
    )
    allow_private_links: bool = Field(
        default=False,
        description="follow links of a table also to private, local and link-local addresses",
    )
    retry: RetrySettings = Field(default_factory=RetrySettings, description="see [retry]")
    providers: Mapping[str, ProviderSettings] = Field(
        default_factory=dict[str, ProviderSettings], description="see [providers.NAME]"
    )
    models: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description="what a model name without a provider means; `*` is every other name",
    )


def load(
    flags: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings; raise `InvalidSetting` naming file or variable, knob and what is wrong."""
    env = os.environ if env is None else env
    found = {k: v for k, v in (flags or {}).items() if v is not None}
    for knob in ("home", "database_url", "blobs_url"):
        if (value := env.get(PREFIX + knob.upper())) and knob not in found:
            found[knob] = value
    path = _file(found)
    if path is not None:
        return _checked({**_read(path), **found}, str(path))
    return _checked(found, "environment or flags")


def file_used(env: Mapping[str, str] | None = None) -> Path | None:
    """Return the settings file that counts: of the working directory, else of the home."""
    home = (os.environ if env is None else env).get(PREFIX + "HOME")
    return _file({"home": home} if home else {})


def _file(found: Mapping[str, object]) -> Path | None:
    home = Path(str(found["home"])).expanduser() if found.get("home") else Settings().home
    return next((path for path in (Path(FILE), home / FILE) if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path}: {error}. Expected TOML, see docs/settings.md.") from error


#: What a knob is to be, by how the names of pydantic's errors begin.
_EXPECTED = {
    "float": "a number",
    "finite": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text in quotes",
    "path": "a path in quotes",
    "model": "a section [NAME] with settings of its own",
    "dict": "a section [NAME] with settings of its own",
    "mapping": "a section [NAME] with settings of its own",
}


def _said(error: ValidationError) -> str:
    """Say in our words what is wrong with the first knob that is not as it should be."""
    first = error.errors()[0]
    *path, last = (str(part) for part in first["loc"])
    knob, kind = ".".join((*path, last)), first["type"]
    if kind == "extra_forbidden":
        known = RetrySettings if path == ["retry"] else Settings
        names = [field.alias or name for name, field in known.model_fields.items()]
        near = difflib.get_close_matches(last, names, n=1, cutoff=0.5)
        hint = f"Did you mean `{near[0]}`?" if near else f"There are: {', '.join(names)}"
        return f"there is no `{knob}`. {hint}"
    limits: dict[str, object] = first.get("ctx") or {}
    if kind in ("greater_than", "greater_than_equal"):
        least = f"more than {limits['gt']:g}" if "gt" in limits else f"at least {limits['ge']:g}"
        return f"`{knob}`: expected {least}, got {first['input']!r}"
    expected = _EXPECTED.get(kind.partition("_")[0])
    if expected is None:
        return f"`{knob}`: {first['msg']}"
    got = "" if last == "key" else f", got {_shown(first['input'])}"  # a key is never shown
    return f"`{knob}`: expected {expected}{got}"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN_MAX else shown[:SHOWN_MAX] + "…"


def _checked(found: dict[str, Any], where: str) -> Settings:
    try:
        settings = Settings.model_validate(found)
    except ValidationError as error:
        raise InvalidSetting(f"{where}: {_said(error)}. See docs/settings.md.") from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
