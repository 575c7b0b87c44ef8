"""What names and knobs mean, once settings and providers have met."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from batchmill import providers
from batchmill.errors import InvalidSetting, MissingKey, UnknownModel, UnknownProvider, UserError
from batchmill.providers import sim
from batchmill.settings import ProviderSettings, Settings, load
from batchmill.wiring import Market, SystemClock, SystemIds

SETTINGS = """
[models]
"gpt-4o-mini" = "gpu1/llama-3.1-8b"
"*" = "sim/echo"

[providers.gpu1]
kind = "live"
base_url = "http://gpu1:8000/v1/"
key_variable = "GPU1_KEY"
sensors = "vllm"
requests_max = 7

[providers.sim]
find_after_s = 0
"""


def market(settings: Settings, **env: str) -> Market:
    clock, ids = SystemClock(), SystemIds()
    return Market(settings=settings, clock=clock, ids=ids, stack=AsyncExitStack(), env=env)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "batchmill.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return load({"home": str(tmp_path / "home")})


@pytest.mark.parametrize(
    ("said", "provider", "model"),
    [
        ("sim/json", "sim", "json"),
        ("gpu1/a/b", "gpu1", "a/b"),
        ("gpt-4o-mini", "gpu1", "llama-3.1-8b"),
        ("claude", "sim", "echo"),
        ("nobody/claude", "sim", "echo"),
    ],
)
def test_a_name_means_what_the_settings_say(
    settings: Settings, said: str, provider: str, model: str
) -> None:
    named = market(settings).named(said)
    assert (named.provider, named.model) == (provider, model)


def test_without_a_rule_for_every_other_name_the_nearest_are_told() -> None:
    plain = market(Settings(home=Path("/nowhere")))
    with pytest.raises(UnknownProvider, match="Did you mean sim"):
        plain.named("simm/echo")
    with pytest.raises(UnknownModel, match="Did you mean sim/echo"):
        plain.named("sim/ecko")
    with pytest.raises(UnknownModel, match="PROVIDER/MODEL"):
        plain.named("echo")


def test_what_is_set_goes_over_what_the_spec_says(settings: Settings) -> None:
    here = market(settings, GPU1_KEY="secret")
    knobs = here.knobs("gpu1")
    assert (knobs.base_url, knobs.key) == ("http://gpu1:8000/v1", "secret")
    assert here.limits("gpu1").requests_max == 7
    assert here.knobs("sim").find_after_s == 0
    assert here.knobs("sim").poll_s == 0.2


def test_a_lane_a_provider_does_not_have_is_an_error_that_names_those_it_has(
    settings: Settings,
) -> None:
    with pytest.raises(InvalidSetting, match="no batch lane; it has: live"):
        market(settings).named("gpu1/x", "batch")
    assert market(settings).named("sim/echo").lane == "batch"


def test_a_key_that_is_required_and_missing_names_its_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = market(settings)
    spec = here.spec("sim")
    monkeypatch.setattr(Market, "spec", lambda *_: _with_key(spec))
    assert here.missing("sim") == "set SIM_KEY"
    with pytest.raises(MissingKey, match="SIM_KEY"):
        here.supplier("sim", "batch")


def _with_key(spec: object) -> object:
    from dataclasses import replace

    return replace(spec, key_variable="SIM_KEY", key_required=True)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[retry\n", "Expected TOML"),
        ("[retry]\nwait_s = -1\n", "retry.wait_s"),
        ("[retry]\nservr = 1\n", "retry.servr"),
        ("nonsense = 1\n", "nonsense"),
        ("[retry]\nservr = 1\n", r"no `retry.servr`. Did you mean `server`\?"),
        ("nonsense = 1\n", "no `nonsense`. There are: home, database_url"),
        ("[providers.sim]\npoll_s = 'often'\n", "providers.sim.poll_s"),
        ("[retry]\nwait_s = 'x'\n", "`retry.wait_s`: expected a number, got 'x'"),
        ("[retry]\nwait_s = -1\n", "`retry.wait_s`: expected at least 0, got -1"),
        ("[retry]\nserver = 1.5\n", "expected a whole number, got 1.5"),
        ("[providers.sim]\ntimeout_s = 0\n", "expected more than 0, got 0"),
        ("[providers.sim]\nkeep_upstream = 'x'\n", "expected true or false, got 'x'"),
        ("[models]\na = 1\n", "expected text in quotes, got 1"),
        ("[providers.sim]\nkey = 5\n", "`providers.sim.key`: expected text in quotes. See"),
        ("retry = 3\n", "`retry`: expected a section"),
    ],
)
def test_a_wrong_setting_names_file_and_knob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    (tmp_path / "batchmill.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        load()
    assert "batchmill.toml" in str(caught.value)


def test_the_environment_goes_over_the_file_and_a_flag_over_both(tmp_path: Path) -> None:
    env = {"BATCHMILL_HOME": str(tmp_path / "a"), "BATCHMILL_DATABASE_URL": "sqlite:///x.db"}
    assert load(env=env).home == tmp_path / "a"
    assert load(env=env).database_url == "sqlite:///x.db"
    assert load({"home": str(tmp_path / "b")}, env=env).home == tmp_path / "b"


def test_ids_sort_by_time_and_are_never_the_same() -> None:
    ids = SystemIds()
    made = [ids.batch() for _ in range(200)]
    assert len(set(made)) == 200
    assert ids.batch_at(1.0) < ids.batch_at(2.0) < min(made)
    assert all(len(f"{name}-00001-99999999") <= 64 for name in made)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("[providers.openai]\nbase_ulr = 'http://x/v1'\n", "'base_ulr'. Did you mean base_url?"),
        ("[providers.openai]\norganisation = 'x'\n", "Did you mean organization?"),
        ("[providers.x]\nkind = 'live'\nsensor = 'vllm'\n", "Did you mean sensors?"),
        ("[providers.sim]\nturnarund_s = 1\n", "Did you mean turnaround_s?"),
        ("[providers.local]\nthread = 1\n", "Did you mean threads?"),
    ],
)
def test_a_setting_that_a_provider_does_not_have_is_told_with_the_nearest_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, words: str
) -> None:
    (tmp_path / "batchmill.toml").write_text(section)
    monkeypatch.chdir(tmp_path)
    name = section.partition(".")[2].partition("]")[0]
    here = market(load({"home": str(tmp_path)}))
    for look in (lambda: here.named(f"{name}/m"), lambda: here.missing(name)):
        with pytest.raises(InvalidSetting) as caught:
            look()
        assert words in str(caught.value)


def test_a_section_that_means_nobody_is_an_error_whoever_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "batchmill.toml").write_text("[providers.opneai]\nbase_url = 'http://gate/v1'\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownProvider, match=r"Did you mean \[providers.openai\]\?"):
        market(load({"home": str(tmp_path)})).named("openai/gpt-4o-mini")


def test_what_every_provider_can_be_told_is_what_the_settings_have() -> None:
    assert set(providers.COMMON) == set(ProviderSettings.model_fields)


def test_a_provider_of_another_package_need_not_list_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def foreign(_: str) -> providers.ProviderSpec:
        return replace(sim.PROVIDER, options=())

    monkeypatch.setattr(providers, "spec", foreign)
    providers.check_options("mine", "elsewhere", {"whatever": 1})
    with pytest.raises(InvalidSetting, match="has no setting"):
        providers.check_options("mine", "sim", {"whatever": 1})
