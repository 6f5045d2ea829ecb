import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.config import BUILT_IN, load_config, parse_override
from townlet_runtime.config.keys import known_keys
from townlet_runtime.config.schema import Config
from townlet_runtime.errors import ConfigError

SCENARIOS = sorted((Path(__file__).parent / "data" / "scenarios").glob("*.yaml"))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, [parse_override(text) for text in overrides])
    return str(caught.value)


def test_without_a_file_the_built_in_config_is_used() -> None:
    loaded = load_config(None)
    assert (loaded.source, loaded.warning) == (BUILT_IN, None)
    assert loaded.config.preset == "town"


def test_a_file_has_the_defaults_of_the_format_and_nothing_of_the_built_in_one(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "seed: 3\n")).config
    assert config.preset is None
    assert config.queue_fairness.cooldown_ticks == 60
    assert load_config(None).config.queue_fairness.cooldown_ticks == 5
    assert load_config(written(tmp_path, "")).config == Config()


def test_three_original_files_load_with_one_warning_each() -> None:
    assert len(SCENARIOS) == 3
    for path in SCENARIOS:
        loaded = load_config(path)
        assert loaded.warning is not None
        assert loaded.warning.startswith(f"{path}: without effect here: ")
        assert "features.training" in loaded.warning
        assert "world.weather_seed" in loaded.warning
        assert "rewards.needs_weights" not in loaded.warning


def test_what_a_scenario_plays_has_an_effect() -> None:
    for path in SCENARIOS:
        warning = load_config(path).warning
        assert warning is not None
        named = warning.partition("without effect here: ")[2].split(", ")
        played = ("scenario.", "features.stages", "conflict", "personalities", "rewards.social")
        assert [key for key in named if key.startswith(played)] == []


def test_an_unknown_section_is_a_warning_with_the_nearest_known_key(tmp_path: Path) -> None:
    loaded = load_config(written(tmp_path, "trainng: {source: bc}\nweb: 1\nseed: 4\n"))
    assert loaded.config.seed == 4
    assert loaded.warning is not None
    assert "unknown and left out: trainng (nearest known key: training), web (nearest known key: " in loaded.warning


def test_keys_in_sections_without_effect_warn_and_are_still_checked(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "telemetry: {colour: red}")).warning == (
        f"{tmp_path / 'c.yaml'}: without effect here: telemetry"
    )
    assert "telemetry.diff_enabled" in refusal(written(tmp_path, "telemetry: {diff_enabled: 3}"))


def test_a_value_that_says_what_happens_anyway_needs_no_warning(tmp_path: Path) -> None:
    text = "features: {systems: {lifecycle: 'on', observations: hybrid}, stages: {relationships: 'OFF'}}"
    assert load_config(written(tmp_path, text)).warning is None


def test_objects_that_the_town_does_not_have_are_named(tmp_path: Path) -> None:
    loaded = load_config(written(tmp_path, "scenario: {objects: [{id: s1, type: sofa}, {id: b, type: bed}]}"))
    assert loaded.warning is not None and loaded.warning.endswith("scenario.objects[s1] (type `sofa`)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ppo: {gama: 0.9}", "`ppo.gama`: unknown key; the nearest known key is `ppo.gamma`"),
        ("ppo: {lr: 0.9}", "`ppo.lr`: unknown key; the nearest known key is `ppo.learning_rate`"),
        ("town: {agent: 3}", "`town.agent`: unknown key; the nearest known key is `town.agents`"),
        ("jobs: {cook: {start: 3}}", "`jobs.cook.start`: unknown key; the nearest known key is `jobs.cook.start_tick`"),
        ("town: {required_passes: 3}", "nearest known key is `stability.promotion.required_passes`"),
        ("ppo: {gamma: 5}", "`ppo.gamma`: must be less than or equal to 1, got 5"),
        ("world: 3", "`world`: must be a section (`key: value` lines), got 3"),
        ("features: {systems: {lifecycle: on}}", "must be 'on' or 'off', got True (quote it"),
        ("policy_runtime: {option_commit_ticks: x}", "must be a valid integer or a valid dictionary, got 'x'"),
        ("scenario: {agents: [{position: [1, 1]}]}", "`scenario.agents.0.id`: Field required"),
        ("network: {hidden_sizes: [8, x]}", "`network.hidden_sizes.1`: must be a valid integer"),
        ("affordances: {runtime: {factory: 'os:system'}}", "a config must not name code to import"),
        ("affordances: {affordance_file: x}", "`affordances.affordance_file`: unknown key; the nearest known key is"),
        ("environment: {nam: town}", "nearest known key is `environment.name`"),
        ("environment: {settings: {a: [1]}}", "`environment.settings.a`: must be a valid string or a valid integer"),
        (
            "environment: {name: 'os:system'}",
            "`environment.name`: must be `town`, `gymnasium:ID` or `pettingzoo:NAME`, got 'os:system' (a config must",
        ),
        ("environment: {name: 'gymnasium:evil:CartPole-v1'}", "got 'gymnasium:evil:CartPole-v1'"),
        ("environment: {max_episode_ticks: 0}", "must be greater than or equal to 1, got 0"),
        ("lifecycle: {departure_rate: 2}", "must be less than or equal to 1, got 2"),
        ("conflict: {rivalry: {max_edges: 0}}", "must be greater than or equal to 1, got 0"),
        ("rewards: {social: {C1_chat: 0.1}}", "the nearest known key is `rewards.social.C1_chat_base`"),
        ("features: {stages: {relationships: off}}", "must be 'OFF', 'A', 'B', 'C1', 'C2' or 'C3', got False (quote"),
        ("[1, 2]", "expected sections"),
        (f"config_id: [{'x' * 200}]", "must be a valid string, got ['xxx"),
    ],
)
def test_a_wrong_key_or_value_is_one_error_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert message in said
    assert len(said) < 300 and "\n" not in said


def test_overrides_are_checked_like_the_file_and_named_in_errors() -> None:
    assert refusal(None, "ppo.gamma=5").startswith("--set ppo.gamma=5: `ppo.gamma`: must be")
    assert "nearest known key is `town.agents`" in refusal(None, "town.agnts=5")
    assert refusal(None, "tow.agents=5").startswith("--set tow.agents=5: `tow.agents`: unknown key")
    assert refusal(None, "town=5").startswith("--set town=5: `town`: must be a section")
    assert refusal(None, "ppo.gamma=0.9", "ppo.gamma=7").startswith("--set ppo.gamma=7")


def test_what_the_file_got_wrong_is_not_blamed_on_an_override(tmp_path: Path) -> None:
    path = written(tmp_path, "ppo: {gamma: 5}")
    with pytest.raises(ConfigError) as caught:
        load_config(path, [parse_override("ppo.learning_rate=1.0")])
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.property
@given(
    st.sampled_from([key for key in known_keys() if len(key) > 1 and "*" not in key]),
    st.text(string.ascii_lowercase, min_size=1, max_size=6),
)
def test_a_key_that_is_not_known_never_passes_in_silence(key: tuple[str, ...], suffix: str) -> None:
    unknown = (*key[:-1], f"{key[-1]}_{suffix}")
    if unknown in known_keys():
        return
    try:
        said = load_config(None, [parse_override(f"{'.'.join(unknown)}=1")]).warning
    except ConfigError as error:
        said = f"{error}"
    assert said is not None
    assert f"`{'.'.join(unknown)}`" in said or f"without effect here: {key[0]}" in said


def test_an_affordance_file_is_read_where_the_config_names_one(tmp_path: Path) -> None:
    path = written(tmp_path, "affordances: {affordances_file: own.yaml}")
    assert refusal(path).startswith(f"{path}: `affordances.affordances_file`: expected an affordance file, found none")
    (tmp_path / "own.yaml").write_text("- {id: nap, object_type: bed, duration: 3, effects: {energy: 0.2}}")
    bed = load_config(path).config.town.affordances.bed
    assert (bed.id, bed.duration, bed.effects.energy, bed.cost) == ("nap", 3, 0.2, 0.0)
    (tmp_path / "own.yaml").write_text("- {id: nap, object_type: bed, duration: 0, effects: {}}")
    assert refusal(path).startswith(f"{tmp_path / 'own.yaml'}: `nap.duration`: must be greater than")
    elsewhere = written(tmp_path, "{environment: {name: 'pettingzoo:x'}, affordances: {affordances_file: own.yaml}}")
    assert load_config(elsewhere).warning == f"{elsewhere}: without effect here: affordances"


def test_environments_are_named_by_registry(tmp_path: Path) -> None:
    for name in ("town", "gymnasium:CartPole-v1", "gymnasium:ALE/Pong-v5", "pettingzoo:mpe2.simple_spread_v3"):
        path = written(tmp_path, f"environment: {{name: '{name}', settings: {{a: 1, b: x, c: null, d: 0.5, e: true}}}}")
        section = load_config(path).config.environment
        assert (section.name, section.is_town) == (name, name == "town")
        assert section.settings == {"a": 1, "b": "x", "c": None, "d": 0.5, "e": True}
